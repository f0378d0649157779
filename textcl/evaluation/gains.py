"""Rankings and judgements → arrays of gains, which every measure is computed from, and their best and worst order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from textcl.evaluation.ranking import Qrels, Ranking

UNJUDGED = -(2**62)
"""The gain of a document without judgement, and of a place without document; below every judgement."""


@dataclass(frozen=True)
class Gains:
    """What Q judged queries found, L places a query.

    Args:
        found: (Q, L) int64, the gain at each place in the canonical order; UNJUDGED also behind the last document.
        tied: (Q, L) int64, places of a query with one number have equal scores; numbers grow along the row.
        lengths: (Q,) documents ranked, at most L.
        relevant: (Q,) documents judged 1 or more, found or not.
        ideal: (J,) int64, all positive gains of the first query in falling order, then those of the second, …
        ideal_query: (J,) row of the query.
        ideal_place: (J,) place in the ideal ranking, from 0.
    """

    found: NDArray[np.int64]
    tied: NDArray[np.int64]
    lengths: NDArray[np.int64]
    relevant: NDArray[np.int64]
    ideal: NDArray[np.int64]
    ideal_query: NDArray[np.int64]
    ideal_place: NDArray[np.int64]

    def rows_with_ties(self) -> NDArray[np.int64]:
        """Return the rows in which documents with equal scores have different gains; all other orders are alike."""
        level = self.tied[:, 1:] == self.tied[:, :-1]
        lost = level & (self.found[:, 1:] != self.found[:, :-1])
        return np.flatnonzero(lost.any(axis=1))

    def take(self, rows: NDArray[np.int64]) -> Gains:
        """Return the queries in `rows`, which rise."""
        place_of = np.full(len(self.lengths), -1)
        place_of[rows] = np.arange(len(rows))
        owner = place_of[self.ideal_query]
        own = owner >= 0
        return Gains(
            self.found[rows],
            self.tied[rows],
            self.lengths[rows],
            self.relevant[rows],
            self.ideal[own],
            owner[own],
            self.ideal_place[own],
        )

    def best(self) -> Gains:
        """Return the same with greater gains first among equal scores: no order gives any measure more."""
        return self._reordered(-self.found)

    def worst(self) -> Gains:
        """Return the same with smaller gains first among equal scores: no order gives any measure less."""
        return self._reordered(self.found)

    def _reordered(self, key: NDArray[np.int64]) -> Gains:
        order = np.lexsort((key, self.tied), axis=1)
        return replace(self, found=np.take_along_axis(self.found, order, axis=1))


def gains_of(rankings: Sequence[Ranking], judgements: Sequence[Mapping[str, int]], depth: int | None) -> Gains:
    """Return the gains of rankings in the canonical order, each with its query's judgements.

    Args:
        rankings: Q of them, some maybe empty.
        judgements: Q of them: document id → gain.
        depth: Places that count, None for all; documents tied with the last of them are taken too.
    """
    scores = [np.array([score for _doc_id, score in ranking], dtype=np.float32) for ranking in rankings]
    lengths = np.array([_end(row, depth) for row in scores], dtype=np.int64)
    width = max(1, int(lengths.max(initial=0)))
    found = np.full((len(rankings), width), UNJUDGED, dtype=np.int64)
    tied = np.zeros((len(rankings), width), dtype=np.int64)
    for row, (ranking, of_query, length) in enumerate(zip(rankings, judgements, lengths.tolist(), strict=True)):
        found[row, :length] = [of_query.get(doc_id, UNJUDGED) for doc_id, _score in ranking[:length]]
        tied[row, length:] = 1  # a place without document follows all others
        np.not_equal(
            scores[row][1:length], scores[row][: max(length - 1, 0)], out=tied[row, 1:length], casting="unsafe"
        )
    ideal = [sorted((gain for gain in of_query.values() if gain > 0), reverse=True) for of_query in judgements]
    relevant = np.array([len(gains) for gains in ideal], dtype=np.int64)
    return Gains(
        found=found,
        tied=np.cumsum(tied, axis=1),
        lengths=lengths,
        relevant=relevant,
        ideal=np.array([gain for gains in ideal for gain in gains], dtype=np.int64),
        ideal_query=np.repeat(np.arange(len(ideal)), relevant),
        ideal_place=np.array([place for gains in ideal for place in range(len(gains))], dtype=np.int64),
    )


def judged_fraction(rankings: Mapping[str, Ranking], qrels: Qrels, k: int) -> float:
    """Return the share of judged documents among all documents ranked in the top k; 0 where nothing is ranked."""
    top = [(doc_id in qrels[query_id]) for query_id, ranking in rankings.items() for doc_id, _score in ranking[:k]]
    return sum(top) / len(top) if top else 0.0


def _end(scores: NDArray[np.float32], depth: int | None) -> int:
    if depth is None or len(scores) <= depth:
        return len(scores)
    return depth + int(np.searchsorted(-scores[depth:], -scores[depth - 1], side="right"))
