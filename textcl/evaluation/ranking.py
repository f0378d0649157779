"""The canonical order of scored documents.

The order is float32 score descending, then document id descending, as trec_eval has it. Strings compare by code
point, which is the byte order of UTF-8 and so trec_eval's. NaN has no place in it and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from textcl.errors import DataError

Qrels = dict[str, dict[str, int]]
"""Query id → document id → relevance; 1 and more is relevant."""
Ranking = list[tuple[str, float]]
"""(document id, score) in the canonical order; every score is exactly a float32."""
Run = dict[str, Ranking]
"""Query id → ranking."""


class CanonicalRun(Run):
    """A run whose rankings are in the canonical order.

    Args:
        rankings: Query id → ranking.
        scores: All scores, those of the first query first; None where they were not gathered.
    """

    def __init__(self, rankings: Run, scores: NDArray[np.float32] | None = None) -> None:
        super().__init__(rankings)
        self.scores = scores


def canonical_ranking(scored: Iterable[tuple[str, float]], query_id: str) -> Ranking:
    """Return scored documents in the canonical order, each score rounded to float32 and -0.0 made 0.0.

    Args:
        scored: (document id, score) in any order.
        query_id: Named in errors.

    Raises:
        DataError: If a score is NaN or no number, or a document comes twice.
    """
    pairs = list(scored)
    doc_ids = [pair[0] for pair in pairs]
    with np.errstate(over="ignore"):  # beyond float32 is infinite, as in trec_eval
        scores = _numbers(pairs, query_id).astype(np.float32) + np.float32(0)
    if len(set(doc_ids)) < len(doc_ids):
        twice = next(one for place, one in enumerate(doc_ids) if one in doc_ids[:place])
        raise DataError(f"query {query_id!r}: document {twice!r} is ranked twice; keep one of them")
    ranking = list(zip(doc_ids, scores.tolist(), strict=True))
    if not (scores[1:] < scores[:-1]).all():  # most runs come in order
        ranking.sort(key=lambda pair: pair[0], reverse=True)
        ranking.sort(key=lambda pair: pair[1], reverse=True)  # stable also in reverse: ids stay descending among ties
    return ranking


def canonical_run(run: Mapping[str, Sequence[tuple[str, float]]], query_ids: Iterable[str]) -> CanonicalRun:
    """Return the rankings of those of `query_ids` that the run has, each in the canonical order.

    Rankings that are canonical already, as searches and run files give them, are found by looking at all together.

    Raises:
        DataError: As `canonical_ranking`.
    """
    known = [query_id for query_id in query_ids if query_id in run]
    lengths = np.array([len(run[query_id]) for query_id in known], dtype=np.int64)
    try:
        every = chain.from_iterable(map(run.__getitem__, known))
        scores = np.fromiter(map(itemgetter(1), every), np.float64, int(lengths.sum()))
    except (TypeError, ValueError):  # the way by single rankings names the score
        return CanonicalRun({query_id: canonical_ranking(run[query_id], query_id) for query_id in known})
    with np.errstate(over="ignore"):
        narrow = scores.astype(np.float32)
    sound = (narrow == scores) & ~((scores == 0) & np.signbit(scores))
    first = np.zeros(len(scores), dtype=np.bool_)
    first[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    sound[1:] &= first[1:] | (narrow[1:] < narrow[:-1])
    faults = np.bincount(np.repeat(np.arange(len(known)), lengths), ~sound, len(known))
    rankings: Run = {}
    all_canonical = True
    for query_id, fault in zip(known, faults.tolist(), strict=True):
        pairs = run[query_id]
        canonical = not fault and len(dict(pairs)) == len(pairs)
        all_canonical &= canonical
        rankings[query_id] = list(pairs) if canonical else canonical_ranking(pairs, query_id)
    return CanonicalRun(rankings, narrow if all_canonical else None)


def _numbers(pairs: Sequence[tuple[str, float]], query_id: str) -> NDArray[np.float64]:
    try:
        numbers = np.array([score for _doc_id, score in pairs], dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([_number(score) for _doc_id, score in pairs])
    for place in np.flatnonzero(np.isnan(numbers)).tolist():
        doc_id, score = pairs[place]
        shown = "NaN" if isinstance(score, float | np.floating) else f"{score!r}, no number"
        raise DataError(f"query {query_id!r}: the score of document {doc_id!r} is {shown}; it has no rank")
    return numbers


def _number(score: object) -> float:
    return float(score) if isinstance(score, int | float | np.number) else np.nan
