"""The canonical order of scored documents.

The order is float32 score descending, then document id descending, as trec_eval has it. Strings compare by code
point, which is the byte order of UTF-8 and so trec_eval's. NaN has no place in it and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from textcl.errors import DataError

Qrels = dict[str, dict[str, int]]
"""Query id → document id → relevance; 1 and more is relevant."""
Ranking = list[tuple[str, float]]
"""(document id, score) in the canonical order; every score is exactly a float32."""
Run = Mapping[str, Ranking]
"""Query id → ranking."""


class SearchRun(Run):
    """A run as a search finds it, in arrays, in the canonical order; a query's ranking is made when it is asked for.

    Measures of it look up the judged documents alone, of which there are few, and no found one.

    Args:
        query_ids: Q different ids.
        doc_ids: N different ids.
        row_of: Their rows.
        rows: (Q, k) rows of the documents found, k at least 1.
        scores: (Q, k).
    """

    def __init__(
        self,
        query_ids: Sequence[str],
        doc_ids: Sequence[str],
        row_of: Mapping[str, int],
        rows: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> None:
        self.doc_ids, self.row_of, self.rows, self.scores = doc_ids, row_of, rows, scores
        self._places = {query_id: place for place, query_id in enumerate(query_ids)}

    def __getitem__(self, query_id: str) -> Ranking:
        place = self._places[query_id]
        rows, scores = self.rows[place].tolist(), self.scores[place].tolist()
        return [(self.doc_ids[row], score) for row, score in zip(rows, scores, strict=True)]

    def __contains__(self, query_id: object) -> bool:
        return query_id in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def part(self, query_ids: Sequence[str]) -> SearchRun:
        """Return the run of some of its queries."""
        places = [self._places[query_id] for query_id in query_ids]
        return SearchRun(query_ids, self.doc_ids, self.row_of, self.rows[places], self.scores[places])


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


def canonical_run(run: Mapping[str, Sequence[tuple[str, float]]], query_ids: Iterable[str]) -> Run:
    """Return the rankings of those of `query_ids` that the run has, each in the canonical order.

    Rankings that are canonical already, as searches and run files give them, are found by looking at all together.

    Raises:
        DataError: As `canonical_ranking`.
    """
    known = [query_id for query_id in query_ids if query_id in run]
    if isinstance(run, SearchRun):
        return run.part(known)
    lengths = np.array([len(run[query_id]) for query_id in known], dtype=np.int64)
    try:
        every = chain.from_iterable(map(run.__getitem__, known))
        scores = np.fromiter(map(itemgetter(1), every), np.float64, int(lengths.sum()))
    except (TypeError, ValueError):  # the way by single rankings names the score
        return {query_id: canonical_ranking(run[query_id], query_id) for query_id in known}
    with np.errstate(over="ignore"):
        narrow = scores.astype(np.float32)
    sound = (narrow == scores) & ~((scores == 0) & np.signbit(scores))
    first = np.zeros(len(scores), dtype=np.bool_)
    first[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    sound[1:] &= first[1:] | (narrow[1:] < narrow[:-1])
    faults = np.bincount(np.repeat(np.arange(len(known)), lengths), ~sound, len(known))
    rankings = {}
    for query_id, fault in zip(known, faults.tolist(), strict=True):
        pairs = run[query_id]
        canonical = not fault and len(dict(pairs)) == len(pairs)
        rankings[query_id] = list(pairs) if canonical else canonical_ranking(pairs, query_id)
    return rankings


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
