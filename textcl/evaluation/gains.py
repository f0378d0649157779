"""Rankings and judgements → arrays of gains, which every measure is computed from, and their best and worst order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice, repeat
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from textcl.evaluation.ranking import Qrels, Ranking, Run, SearchRun

UNJUDGED = -(2**62)
"""The gain of a document without judgement, and of a place without document; below every judgement."""


@dataclass(frozen=True)
class Hits:
    """The relevant documents that rankings have: first those of the first query, in its order.

    Args:
        rows: (H,) row of the query.
        places: (H,) from 0.
        order: (H,) how many relevant documents stand before it.
        gains: (H,) at least 1.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    order: NDArray[np.int64]
    gains: NDArray[np.int64]

    def within(self, k: int | None) -> Hits:
        """Return those in the top k; None for all."""
        if k is None:
            return self
        top = self.places < k
        return Hits(self.rows[top], self.places[top], self.order[top], self.gains[top])


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

    @cached_property
    def hits(self) -> Hits:
        """Where relevant documents are; there are few of them, so that measures go through these alone."""
        rows, places = np.nonzero(self.found >= 1)
        counts = np.bincount(rows, minlength=len(self.found))
        order = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return Hits(rows, places, order, self.found[rows, places])

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


def gains_of(rankings: Run, qrels: Qrels, query_ids: Sequence[str], depth: int | None) -> Gains:
    """Return the gains of rankings in the canonical order, each with its query's judgements.

    Args:
        rankings: Query id → ranking.
        qrels: Query id → document id → gain.
        query_ids: Q queries, some maybe without a ranking.
        depth: Places that count, None for all; documents tied with the last of them are taken too.
    """
    judgements = [qrels[query_id] for query_id in query_ids]
    if isinstance(rankings, SearchRun) and all(query_id in rankings for query_id in query_ids):
        found, steps, lengths = _searched(rankings.part(query_ids), judgements, depth)
    else:
        found, steps, lengths = _listed([rankings.get(query_id, []) for query_id in query_ids], judgements, depth)
    judged = np.array([len(of_query) for of_query in judgements], dtype=np.int64)
    known = np.fromiter(chain.from_iterable(map(dict.values, judgements)), np.int64, int(judged.sum()))
    owners = np.repeat(np.arange(len(judgements)), judged)[known > 0]
    positive = known[known > 0]
    relevant = np.bincount(owners, minlength=len(judgements))
    ideal_query, ideal_place = _rows_and_places(relevant)
    return Gains(
        found=found,
        tied=np.cumsum(steps, axis=1),
        lengths=lengths,
        relevant=relevant,
        ideal=positive[np.lexsort((-positive, owners))],
        ideal_query=ideal_query,
        ideal_place=ideal_place,
    )


_Found = tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]
"""(Q, L) gains, (Q, L) whether a place's score differs from the one before, (Q,) documents."""


def _searched(run: SearchRun, judgements: Sequence[Mapping[str, int]], depth: int | None) -> _Found:
    scores, rows = run.scores, run.rows
    lengths = np.full(len(rows), rows.shape[1])
    if depth is not None and depth < rows.shape[1]:
        lengths = np.maximum(depth, (scores >= scores[:, depth - 1 : depth]).sum(axis=1))
        width = int(lengths.max(initial=1))
        scores, rows = scores[:, :width], rows[:, :width]
    found = np.full(rows.shape, UNJUDGED, dtype=np.int64)
    known = [
        (place, run.row_of[doc_id], gain)
        for place, of_query in enumerate(judgements)
        for doc_id, gain in of_query.items()
        if doc_id in run.row_of
    ]
    queries, documents, gains = np.array(known, dtype=np.int64).reshape(-1, 3).T
    which, places = np.nonzero(rows[queries] == documents[:, None])
    found[queries[which], places] = gains[which]
    steps = np.ones(rows.shape, dtype=np.bool_)
    steps[:, 1:] = scores[:, 1:] != scores[:, :-1]
    return found, steps, lengths  # what stands beyond a length is beyond every cutoff, and ties with nothing before it


def _listed(rankings: Sequence[Ranking], judgements: Sequence[dict[str, int]], depth: int | None) -> _Found:
    whole = np.array([len(ranking) for ranking in rankings], dtype=np.int64)
    every = map(itemgetter(1), chain.from_iterable(rankings))
    scores = np.fromiter(every, np.float32, int(whole.sum()))
    rows, places = _rows_and_places(whole)
    if depth is not None and len(scores):
        last = np.cumsum(whole) - whole + np.minimum(whole, depth) - 1
        taken = (places < depth) | (scores == scores[last[rows]])
        scores, rows, places = scores[taken], rows[taken], places[taken]
    lengths = np.bincount(rows, minlength=len(rankings))
    width = max(1, int(lengths.max(initial=0)))
    found = np.full((len(rankings), width), UNJUDGED, dtype=np.int64)
    gains = (
        map(of_query.get, map(itemgetter(0), islice(ranking, length)), repeat(UNJUDGED))
        for ranking, of_query, length in zip(rankings, judgements, lengths.tolist(), strict=True)
    )
    found[rows, places] = np.fromiter(chain.from_iterable(gains), np.int64, len(rows))
    steps = np.ones((len(rankings), width), dtype=np.bool_)  # not tied with the place before; nor are empty places
    steps[rows[1:], places[1:]] = (scores[1:] != scores[:-1]) | (places[1:] == 0)
    return found, steps, lengths


def _rows_and_places(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and place of each entry of rows of these lengths, one after the other."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
