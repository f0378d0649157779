"""Neighbours → hard negatives: near documents that a row learns to tell from its positive.

A row is an anchor with its positive. Among the anchor's nearest documents those that are forbidden are passed over; the
others have ranks, counted from 1. Negatives come from a range of ranks, and those that score too high are left out:
they may be positives that nobody has judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.index.forbidden import Forbidden
from textcl.index.search import neighbours
from textcl.index.store import Index
from textcl.progress import Progress, quiet
from textcl.randomness import RowRandom

SAMPLINGS = ("top", "random")
_CANDIDATES = 1_000_000  # candidates looked at together, over all rows: some 100 MB


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """Which candidates become negatives; scores are cosines.

    Args:
        first_rank: The best rank taken, from 1; what is forbidden has no rank.
        last_rank: The worst rank taken.
        margin: A negative scores at least so much below the row's positive; None for no such bound.
        relative_margin: The same as a share of the positive's score (of its size, where that is below 0).
        max_score: The highest score of a negative; None for no such bound.
        per_row: Negatives a row.
        sampling: `top` takes the best ranks that are left, `random` draws among them.
        seed: What `random` draws by.

    Raises:
        ConfigError: If a setting is out of range.
    """

    first_rank: int = 1
    last_rank: int = 100
    margin: float | None = None
    relative_margin: float | None = None
    max_score: float | None = None
    per_row: int = 1
    sampling: str = "top"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.first_rank < 1:
            raise ConfigError("first_rank", self.first_rank, "a rank, counted from 1")
        if self.last_rank < self.first_rank:
            raise ConfigError("last_rank", self.last_rank, f"a rank of at least first_rank, {self.first_rank}")
        if self.margin is not None and not 0 <= self.margin <= 2:
            raise ConfigError("margin", self.margin, "a difference of cosines in [0, 2]")
        if self.relative_margin is not None and not 0 <= self.relative_margin < 1:
            raise ConfigError("relative_margin", self.relative_margin, "a share in [0, 1)")
        if self.max_score is not None and not -1 <= self.max_score <= 1:
            raise ConfigError("max_score", self.max_score, "a cosine in [-1, 1]")
        ranks = self.last_rank - self.first_rank + 1
        if not 1 <= self.per_row <= ranks:
            raise ConfigError("per_row", self.per_row, f"a number in 1 … {ranks}, as many as there are ranks")
        if self.sampling not in SAMPLINGS:
            raise ConfigError("sampling", self.sampling, f"one of {', '.join(SAMPLINGS)}")


@dataclass(frozen=True, slots=True)
class Dropped:
    """Candidates that became no negatives, each counted once, under the first that holds.

    Args:
        forbidden: Passed over before the last rank was reached.
        margin: Within the ranks, but too near to the positive's score.
        max_score: Within the ranks and the margins, but above `max_score`.
    """

    forbidden: int = 0
    margin: int = 0
    max_score: int = 0

    def __add__(self, other: Dropped) -> Dropped:
        return Dropped(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """The negatives of N rows.

    Args:
        negatives: (N, H) int64 document numbers, best rank first or in the order they were drawn; -1 where a row has
            no more.
        scores: (N, H) float32, NaN where there is no negative.
        positive_scores: (N,) float32.
        dropped: What became no negative.
    """

    negatives: NDArray[np.int64]
    scores: NDArray[np.float32]
    positive_scores: NDArray[np.float32]
    dropped: Dropped


def select_negatives(
    scores: NDArray[np.float32],
    docs: NDArray[np.int64],
    positive_scores: NDArray[np.float32],
    forbidden: NDArray[np.bool_],
    settings: MiningSettings,
    rows: NDArray[np.int64],
) -> Mined:
    """Choose each row's negatives among its nearest documents.

    Args:
        scores: (N, K), falling along each row.
        docs: (N, K) document numbers, -1 where there is none.
        positive_scores: (N,) scores of the rows' own positives.
        forbidden: (N, K), true where a candidate is passed over.
        settings: Which candidates become negatives.
        rows: (N,) row numbers in the data set: what is drawn for a row depends on its number, and on no other row.

    Raises:
        ShapeError: If an array has another shape.
        DataError: If the scores of a row rise.
    """
    _check(scores, docs, positive_scores, forbidden, rows)
    real = docs >= 0
    allowed = real & ~forbidden
    ranks = np.cumsum(allowed, axis=1, dtype=np.int32)  # a forbidden one has the rank of the allowed one before it
    in_range = allowed & (ranks >= settings.first_rank) & (ranks <= settings.last_rank)
    # float64 on one side, lest NumPy rounds the bound to a float32.
    far = scores <= _bounds(positive_scores.astype(np.float64), settings)[:, None]
    low = scores <= np.float64(math.inf if settings.max_score is None else settings.max_score)
    chosen = in_range & far & low
    places = _first_places(chosen, settings, rows)
    there = np.take_along_axis(chosen, places, axis=1)
    missing = ((0, 0), (0, settings.per_row - places.shape[1]))
    negatives = np.where(there, np.take_along_axis(docs, places, axis=1), -1)
    negative_scores = np.where(there, np.take_along_axis(scores, places, axis=1), np.float32(math.nan))
    passed = real & forbidden & (ranks < settings.last_rank)
    return Mined(
        np.pad(negatives, missing, constant_values=-1),
        np.pad(negative_scores, missing, constant_values=math.nan),
        positive_scores,
        Dropped(int(passed.sum()), int((in_range & ~far).sum()), int((in_range & far & ~low).sum())),
    )


def _bounds(positive_scores: NDArray[np.float64], settings: MiningSettings) -> NDArray[np.float64]:
    """Return the highest score that a negative of each row may have, (N,), by the margins."""
    bounds = np.full(len(positive_scores), math.inf)
    if settings.margin is not None:
        bounds = np.minimum(bounds, positive_scores - settings.margin)
    if settings.relative_margin is not None:
        # A bound above the positive's own score, which the plain product is below 0, would be none.
        bounds = np.minimum(bounds, positive_scores * (1 - np.sign(positive_scores) * settings.relative_margin))
    return bounds


def _first_places(chosen: NDArray[np.bool_], settings: MiningSettings, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places (N, min(H, K)) of the candidates that are taken, those that are not chosen last."""
    keys = np.full(chosen.shape, math.inf)
    if settings.sampling == "random":
        ends = np.cumsum(chosen.sum(axis=1))
        keys[chosen] = RowRandom((settings.seed, "mine"), rows).per_token(np.concatenate([[0], ends]))
    else:
        keys[chosen] = np.nonzero(chosen)[1]
    order: NDArray[np.int64] = np.argsort(keys, axis=1, kind="stable")
    return order[:, : settings.per_row]


def _check(
    scores: NDArray[np.float32],
    docs: NDArray[np.int64],
    positive_scores: NDArray[np.float32],
    forbidden: NDArray[np.bool_],
    rows: NDArray[np.int64],
) -> None:
    if docs.ndim != 2:
        raise ShapeError("docs", docs.shape, "(N, K)")
    for name, array in (("scores", scores), ("forbidden", forbidden)):
        if array.shape != docs.shape:
            raise ShapeError(name, array.shape, f"{docs.shape}, as docs has")
    for name, vector in (("positive_scores", positive_scores), ("rows", rows)):
        if vector.shape != docs.shape[:1]:
            raise ShapeError(name, vector.shape, f"({len(docs)},), one a row")
    rising = np.flatnonzero(((scores[:, 1:] > scores[:, :-1]) & (docs[:, 1:] >= 0)).any(axis=1))
    if len(rising):
        raise DataError(f"row {rows[rising[0]]}: its scores rise; candidates come best first")


def mine_neighbours(
    index: Index,
    anchors: NDArray[np.float32],
    positive_scores: NDArray[np.float32],
    forbidden: Forbidden,
    settings: MiningSettings,
    rows: NDArray[np.int64],
    progress: Progress = quiet,
) -> Mined:
    """Search each row's neighbours, as deep as its last rank lies, and choose its negatives.

    Args:
        index: An open index of the documents, by whose rows they are numbered.
        anchors: (N, D) vectors, as `search` takes queries.
        positive_scores: (N,) scores of the rows' own positives.
        forbidden: Of the whole data set.
        settings: Which candidates become negatives.
        rows: (N,) row numbers in the data set.
        progress: Told of rows.

    Raises:
        ShapeError: If an array has another shape.
        DataError: If an anchor is not finite or not of length 1.
    """
    shape = (len(rows), settings.per_row)
    negatives, scores = np.full(shape, -1, dtype=np.int64), np.full(shape, math.nan, dtype=np.float32)
    dropped = Dropped()
    with progress("mining", len(rows)) as advance:
        for depth, some in _blocks(np.minimum(settings.last_rank + forbidden.counts(rows), index.rows)):
            docs, found = neighbours(index, anchors[some], depth)
            passed = forbidden.mask(rows[some], docs)
            mined = select_negatives(found, docs, positive_scores[some], passed, settings, rows[some])
            negatives[some], scores[some] = mined.negatives, mined.scores
            dropped += mined.dropped
            advance(len(some))
    return Mined(negatives, scores, positive_scores, dropped)


def _blocks(depths: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield places of rows that are searched together, and how deep: the deepest first, so that few go too deep."""
    order = np.argsort(-depths, kind="stable")
    start = 0
    while start < len(order):
        depth = int(depths[order[start]])
        some = order[start : start + max(1, _CANDIDATES // depth)]
        yield depth, some
        start += len(some)
