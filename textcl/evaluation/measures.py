"""What a ranking is worth: nDCG, MRR, MAP, recall, precision, hit rate and R-precision, per judged query.

All queries are computed at once, from arrays of gains. The definitions are trec_eval's where it has the measure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError
from textcl.evaluation.gains import UNJUDGED, Gains, Hits, gains_of
from textcl.evaluation.ranking import Qrels, Run, canonical_run

Values = NDArray[np.float64]
"""(Q,) one value in [0, 1] a query."""

DEFAULT_MEASURES = ("ndcg@10", "mrr@10", "recall@10", "recall@100")
_BLOCK_QUERIES = 1024  # at a depth of 1,000 some 40 MB at once
_NEED_CUTOFF = {"hit_rate", "judged", "precision", "recall"}  # of a whole ranking they say nothing about its order
_NEVER_CUT = {"r_precision"}  # each query has its own
_FORMS = (
    "hit_rate@k, judged@k, map, map@k, mrr, mrr@k, ndcg, ndcg@k, precision@k, r_precision, recall@k, with k at least 1"
)
# Other tools' names, for the error alone: trec_eval's, ranx's, sentence-transformers'.
_ELSEWHERE = {
    "accuracy": "hit_rate",
    "average_precision": "map",
    "hits": "hit_rate",
    "hit": "hit_rate",
    "map_cut": "map",
    "ndcg_cut": "ndcg",
    "p": "precision",
    "recip_rank": "mrr",
    "rprec": "r_precision",
    "rr": "mrr",
    "success": "hit_rate",
}


@dataclass(frozen=True)
class Measure:
    """One measure.

    Args:
        name: One of hit_rate, judged, map, mrr, ndcg, precision, r_precision, recall.
        cutoff: Ranks that count, at least 1; None for all.
    """

    name: str
    cutoff: int | None

    def __str__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name}@{self.cutoff}"


@dataclass(frozen=True)
class Scores:
    """Every measure for every judged query, and what other orders of equal scores would give.

    Args:
        query_ids: Q ids, in the order of the qrels.
        values: Measure → values in the canonical order.
        worst: The same in the order of ties that is worst for the measure.
        best: The same in the best one.
        answered: (Q,) whether the run has a document for the query.
    """

    query_ids: list[str]
    values: dict[str, Values]
    worst: dict[str, Values]
    best: dict[str, Values]
    answered: NDArray[np.bool_]

    def per_query(self, names: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
        """Return measure → query id → value in the canonical order, of some measures or all."""
        chosen = self.values if names is None else names
        return {name: dict(zip(self.query_ids, self.values[name].tolist(), strict=True)) for name in chosen}


def parse_measure(text: str) -> Measure:
    """Return the measure written as `name` or `name@cutoff`.

    Raises:
        ConfigError: If the name is unknown, or the cutoff is no number of at least 1, missing where it is needed or
            given where there is none; with the nearest measure.
    """
    match = re.fullmatch(r"([a-z_]+)(?:@([1-9][0-9]{0,8}))?", text)
    if match is None or not _is_measure(match[1], match[2]):
        raise ConfigError("measures", problem=f"{text!r} is no measure;{_nearest(text)} there are: {_FORMS}")
    return Measure(match[1], None if match[2] is None else int(match[2]))


def depth_of(measures: Iterable[str], whole: int = 1000) -> int:
    """Return how many documents a query a run needs for `measures`; `whole` for those without a cutoff."""
    return max((parse_measure(text).cutoff or whole for text in measures), default=whole)


def score_run(
    run: Mapping[str, Sequence[tuple[str, float]]], qrels: Qrels, measures: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return measure → query id → value in [0, 1], for every judged query in the order of `qrels`.

    The run may be in any order; the canonical one is made here. Errors and meaning are those of `score_rankings`.
    """
    return score_rankings(canonical_run(run, qrels), qrels, measures).per_query()


def score_rankings(rankings: Run, qrels: Qrels, measures: Sequence[str]) -> Scores:
    """Return every measure for every judged query.

    A query counts 0 when no ranking answers it, or when none of its judgements is above 0. Queries without judgements
    are left out. Relevant is a gain of 1 or more; nDCG takes gains linearly; MAP and recall divide by all relevant
    documents, whatever the cutoff; judged is the share of judged documents among those ranked within the cutoff. Of
    ties only those within a ranking are seen, not those that its end cut off.

    Args:
        rankings: Query id → ranking in the canonical order.
        qrels: Query id → document id → gain.
        measures: As `parse_measure` reads them; each is a key of the result as `str(Measure)` writes it.

    Raises:
        ConfigError: If there is no measure or one is unknown.
        DataError: If there is no judged query.

    References:
        trec_eval 10 (m_ndcg_cut.c and its siblings); Järvelin and Kekäläinen (2002) for nDCG.
    """
    parsed = list(dict.fromkeys(parse_measure(text) for text in measures))
    if not parsed:
        raise ConfigError("measures", list(measures), "at least one measure")
    if not qrels:
        raise DataError("there is no judged query; the qrels are empty")
    query_ids = list(qrels)
    cutoffs = [measure.cutoff for measure in parsed]
    depth = None if None in cutoffs else max(cutoff for cutoff in cutoffs if cutoff is not None)
    # In the canonical order, and in the worst and the best order of ties.
    kinds: list[dict[str, list[Values]]] = [{str(measure): [] for measure in parsed} for _order in range(3)]
    answered: list[NDArray[np.bool_]] = []
    for start in range(0, len(query_ids), _BLOCK_QUERIES):
        block = query_ids[start : start + _BLOCK_QUERIES]
        gains = gains_of(rankings, qrels, block, depth)
        answered.append(gains.lengths > 0)
        rows = gains.rows_with_ties()
        touched = gains.take(rows)
        bounds = touched.worst(), touched.best()
        for measure in parsed:
            values = _value(measure, gains)
            kinds[0][str(measure)].append(values)
            for kind, bound in zip(kinds[1:], bounds, strict=True):
                other = values.copy()
                other[rows] = _value(measure, bound)
                kind[str(measure)].append(other)
    values_of, worst, best = ({name: np.concatenate(parts) for name, parts in kind.items()} for kind in kinds)
    return Scores(query_ids, values_of, worst, best, np.concatenate(answered))


def _is_measure(name: str, cutoff: str | None) -> bool:
    return name in _DEFINITIONS and name not in (_NEED_CUTOFF if cutoff is None else _NEVER_CUT)


def _nearest(text: str) -> str:
    """Return " did you mean …?" with the measure that `text` is nearest to, or nothing where none is near."""
    match = re.fullmatch(r"\s*([a-z_\- ]*?[a-z])[\s@_]*([0-9]*)\s*", text.lower())
    if match is None:
        return ""
    plain = re.sub(r"[\- ]+", "_", match[1])
    close = difflib.get_close_matches(plain, [*_DEFINITIONS, *_ELSEWHERE], n=1)
    if not close:
        return ""
    name = _ELSEWHERE.get(close[0], close[0])
    cutoff = "" if name in _NEVER_CUT else match[2].lstrip("0") or ("10" if name in _NEED_CUTOFF else "")
    return f" did you mean {name}{'@' if cutoff else ''}{cutoff}?"


def _value(measure: Measure, gains: Gains) -> Values:
    return _DEFINITIONS[measure.name](gains, measure.cutoff)


def _ratio(above: NDArray[np.float64] | NDArray[np.int64], below: NDArray[np.float64] | NDArray[np.int64]) -> Values:
    """Return above / below, and 0 where below is 0."""
    ratio: Values = np.divide(above, below, out=np.zeros(len(below)), where=below > 0)
    return ratio


def _sums(gains: Gains, k: int | None, worth: Callable[[Hits], NDArray[np.float64]] | None = None) -> Values:
    """Return for each query the sum over its relevant documents in the top k of what one is worth; 1 if left out."""
    hits = gains.hits.within(k)
    weights = np.ones(len(hits.rows)) if worth is None else worth(hits)
    return np.bincount(hits.rows, weights, len(gains.found)).astype(np.float64)


def _hit_rate(gains: Gains, k: int | None) -> Values:
    return np.minimum(_sums(gains, k), 1.0)


def _judged(gains: Gains, k: int | None) -> Values:
    assert k is not None  # as in _NEED_CUTOFF
    return _ratio((gains.found[:, :k] != UNJUDGED).sum(axis=1), np.minimum(gains.lengths, k))


def _precision(gains: Gains, k: int | None) -> Values:
    assert k is not None  # as in _NEED_CUTOFF
    return _sums(gains, k) / k


def _recall(gains: Gains, k: int | None) -> Values:
    return _ratio(_sums(gains, k), gains.relevant)


def _r_precision(gains: Gains, _k: int | None) -> Values:
    return _ratio(
        _sums(gains, None, lambda hits: (hits.places < gains.relevant[hits.rows]).astype(np.float64)), gains.relevant
    )


def _mrr(gains: Gains, k: int | None) -> Values:
    return _sums(gains, k, lambda hits: np.where(hits.order == 0, 1 / (hits.places + 1), 0.0))


def _map(gains: Gains, k: int | None) -> Values:
    return _ratio(_sums(gains, k, lambda hits: (hits.order + 1) / (hits.places + 1)), gains.relevant)


def _ndcg(gains: Gains, k: int | None) -> Values:
    within = slice(None) if k is None else gains.ideal_place < k
    discounted = gains.ideal[within] / np.log2(gains.ideal_place[within] + 2)
    ideal = np.bincount(gains.ideal_query[within], discounted, len(gains.found))
    return _ratio(_sums(gains, k, lambda hits: hits.gains / np.log2(hits.places + 2)), ideal)


_DEFINITIONS: dict[str, Callable[[Gains, int | None], Values]] = {
    "hit_rate": _hit_rate,
    "judged": _judged,
    "map": _map,
    "mrr": _mrr,
    "ndcg": _ndcg,
    "precision": _precision,
    "r_precision": _r_precision,
    "recall": _recall,
}
