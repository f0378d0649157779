"""Queries with their exact answers → the recall of a search, with its interval.

Recall at k of a query is the share of its exact k best documents that are found; a document that scores as much as the
k-th counts as found, whichever of them it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from textcl.index.search import neighbours
from textcl.index.store import Index
from textcl.randomness import key_of

_RESAMPLES = 1000
_TOLERANCE = 1e-6  # between a sum in float32 and one in float64, of vectors of length 1


@dataclass(frozen=True)
class Asked:
    """Queries with their exact answers.

    Args:
        queries: (Q, D).
        bounds: (Q,) the score of the k-th best document.
        at: k.
        own: (Q,) the document that a query was made from, which does not count; None without.
        index: Tells documents apart.
    """

    queries: NDArray[np.float32]
    bounds: NDArray[np.float32]
    at: int
    own: NDArray[np.int64] | None
    index: Index

    def recall(self, rows: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the recall of each query, (Q,)."""
        good = scores >= self.bounds[:, None] - _TOLERANCE
        if self.own is not None:
            good &= _documents(self.index, rows) != self.own[:, None]
        shares: NDArray[np.float64] = np.minimum(good.sum(axis=1), self.at) / self.at
        return shares

    def part(self, places: NDArray[np.int64]) -> Asked:
        """Return some of the queries."""
        own = None if self.own is None else self.own[places]
        return replace(self, queries=self.queries[places], bounds=self.bounds[places], own=own)

    @property
    def fetched(self) -> int:
        """How many hits a query asks for: one more where it must pass over itself."""
        return self.at + (self.own is not None)


def answered(index: Index, queries: NDArray[np.float32], at: int, own: NDArray[np.int64] | None) -> Asked:
    """Return queries (Q, D) with their exact answers; `own` (Q,) is the row that each was made from, or None."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    rows, scores = neighbours(index, queries, at + (own is not None), exact=True)
    if own is None:
        return Asked(queries, scores[:, -1], at, None, index)
    own = index.documents_of(own)
    # A query that did not find itself loses its last hit instead.
    before = (_documents(index, rows) == own[:, None])[:, :at].any(axis=1)
    return Asked(queries, np.where(before, scores[:, at], scores[:, at - 1]), at, own, index)


def _documents(index: Index, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return index.documents_of(rows.reshape(-1)).reshape(rows.shape)


def recall_interval(values: NDArray[np.float64], seed: int, level: float = 95.0) -> tuple[float, float]:
    """Return the expanded percentile interval of the mean over queries, by a bootstrap.

    It is wider than plain percentiles by what few queries hide (Hesterberg 2015, section 4.3). Of queries that all
    found everything it has no width: how much others would find is not in them.

    Args:
        values: (Q,) recall of each.
        seed: Of the resampling.
        level: In percent.
    """
    key = key_of("tuning interval", seed)
    draws = np.random.Generator(np.random.Philox(key=key)).integers(len(values), size=(_RESAMPLES, len(values)))
    count = len(values)
    stretched = math.sqrt(count / (count - 1)) * scipy.stats.t.ppf(0.5 + level / 200, count - 1)
    tail = float(scipy.stats.norm.cdf(-stretched))
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
