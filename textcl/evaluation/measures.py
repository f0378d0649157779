"""What a ranking is worth: nDCG, MRR, recall, precision, MAP and hit rate, per judged query.

trec_eval's own code (pytrec-eval-terrier) computes all of them but MRR, for which it has no cutoff.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import pytrec_eval

from textcl.errors import ConfigError, DataError
from textcl.evaluation.ranking import Qrels, canonical_ranking

# Name → trec_eval's measure without and with a cutoff; None where textcl has no such form or computes it itself.
_TREC: dict[str, tuple[str | None, str | None]] = {
    "hit_rate": (None, "success"),
    "map": ("map", "map_cut"),
    "mrr": (None, None),
    "ndcg": ("ndcg", "ndcg_cut"),
    "precision": (None, "P"),
    "recall": (None, "recall"),
}
_NEED_CUTOFF = {"hit_rate", "precision", "recall"}  # of a whole ranking they say nothing about its order
_FORMS = "one of hit_rate@k, map, map@k, mrr, mrr@k, ndcg, ndcg@k, precision@k, recall@k, with k at least 1"


@dataclass(frozen=True)
class Measure:
    """One measure.

    Args:
        name: One of hit_rate, map, mrr, ndcg, precision, recall.
        cutoff: Ranks that count, at least 1; None for all.
    """

    name: str
    cutoff: int | None

    def __str__(self) -> str:
        return self.name if self.cutoff is None else f"{self.name}@{self.cutoff}"


def parse_measure(text: str) -> Measure:
    """Return the measure written as `name` or `name@cutoff`.

    Raises:
        ConfigError: If the name is unknown, or the cutoff is no number of at least 1 or missing where it is needed.
    """
    match = re.fullmatch(r"([a-z_]+)(?:@([1-9][0-9]{0,8}))?", text)
    if match is None or match[1] not in _TREC or (match[2] is None and match[1] in _NEED_CUTOFF):
        raise ConfigError("measures", text, _FORMS)
    return Measure(match[1], None if match[2] is None else int(match[2]))


def depth_of(measures: Iterable[str], whole: int = 1000) -> int:
    """Return how many documents a query a run needs for `measures`; `whole` for those without a cutoff."""
    return max((parse_measure(text).cutoff or whole for text in measures), default=whole)


def score_run(
    run: Mapping[str, Sequence[tuple[str, float]]], qrels: Qrels, measures: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return measure → query id → value in [0, 1], for every judged query in the order of `qrels`.

    A query counts 0 when the run does not answer it, or when none of its judgements is above 0. Queries without
    judgements are left out. Relevant is a gain of 1 or more; nDCG takes gains linearly; MAP and recall divide by all
    relevant documents, whatever the cutoff.

    Args:
        run: Query id → scored documents, in any order; the canonical one is made here.
        qrels: Query id → document id → gain.
        measures: As `parse_measure` reads them; each is a key of the result as `str(Measure)` writes it.

    Raises:
        ConfigError: If there is no measure or one is unknown.
        DataError: If there is no judged query, a score is NaN or a document is ranked twice.

    References:
        trec_eval 10 (m_ndcg_cut.c and its siblings); Järvelin and Kekäläinen (2002) for nDCG.
    """
    parsed = [parse_measure(text) for text in measures]
    if not parsed:
        raise ConfigError("measures", list(measures), "at least one measure")
    if not qrels:
        raise DataError("there is no judged query; the qrels are empty")
    rankings = {
        query_id: [doc_id for doc_id, _score in canonical_ranking(run.get(query_id, ()), query_id)]
        for query_id in qrels
    }
    by_trec = _score_by_trec(rankings, qrels, [measure for measure in parsed if measure.name != "mrr"])
    values: dict[str, dict[str, float]] = {}
    for measure in parsed:
        if measure.name == "mrr":
            values[str(measure)] = _mrr(rankings, qrels, measure.cutoff)
        else:
            key = _trec_name(measure).replace(".", "_")
            values[str(measure)] = {query_id: by_trec.get(query_id, {}).get(key, 0.0) for query_id in qrels}
    return values


def reciprocal_rank(ranking: Sequence[str], relevant: Set[str], k: int | None = None) -> float:
    """Return 1 / rank of the first relevant document in the top k (None for all), counted from 1, or 0.0."""
    return next((1 / rank for rank, doc_id in enumerate(ranking[:k], start=1) if doc_id in relevant), 0.0)


def _mrr(rankings: Mapping[str, Sequence[str]], qrels: Qrels, k: int | None) -> dict[str, float]:
    relevant = {query_id: {doc_id for doc_id, gain in of.items() if gain >= 1} for query_id, of in qrels.items()}
    return {query_id: reciprocal_rank(rankings[query_id], relevant[query_id], k) for query_id in qrels}


def _score_by_trec(
    rankings: Mapping[str, Sequence[str]], qrels: Qrels, measures: Sequence[Measure]
) -> dict[str, dict[str, float]]:
    # trec_eval sorts again: scores made from the ranks leave it one order only, ours.
    by_rank = {
        query_id: {doc_id: float(len(ranking) - place) for place, doc_id in enumerate(ranking)}
        for query_id, ranking in rankings.items()
        if ranking
    }
    if not by_rank or not measures:
        return {}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {_trec_name(measure) for measure in measures})
    return dict(evaluator.evaluate(by_rank))


def _trec_name(measure: Measure) -> str:
    whole, cut = _TREC[measure.name]
    return f"{whole}" if measure.cutoff is None else f"{cut}.{measure.cutoff}"
