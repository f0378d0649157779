"""Scores and yes or no → average precision, AUROC, and the thresholds that divide best.

Items of equal score are one group: no threshold parts them, and their order changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textcl.errors import DataError, ShapeError
from textcl.evaluation.resampling import Counts


@dataclass(frozen=True)
class Best:
    """The threshold that does best, and what it gives: items that score at least `threshold` are said to be positive.

    Args:
        value: Of the measure.
        threshold: Halfway between two scores, or the lowest score; above all scores where nothing is said positive.
        precision: Share of positives among what is said positive; 0 where nothing is.
        recall: Share of what is said positive among the positives.
        place: How many groups of equal scores are said positive.
    """

    value: float
    threshold: float
    precision: float
    recall: float
    place: int


@dataclass(frozen=True)
class Curve:
    """What lies at and above each score of a sample.

    Args:
        found: (G,) positives that score at least as the g-th highest of G different scores.
        false: (G,) negatives that do.
        positives: All positives: those that have no score count as not found.
    """

    found: NDArray[np.int64]
    false: NDArray[np.int64]
    positives: int

    @property
    def average_precision(self) -> float:
        """Mean over positives of the precision where they are found, those of a group together; in [0, 1]."""
        said = np.maximum(self.found + self.false, 1)  # a resample may have nothing of the highest groups
        new = np.diff(self.found, prepend=0)
        return float((new * (self.found / said)).sum() / self.positives)

    @property
    def auroc(self) -> float:
        """Chance that a positive scores above a negative, ties counting one half; in [0, 1]."""
        new = np.diff(self.found, prepend=0)
        above = self.found - new / 2
        return float((np.diff(self.false, prepend=0) * above).sum() / (self.positives * self.false[-1]))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall for the first 0 … G groups said positive, (G + 1,)."""
        f1 = 2 * self.found / (self.found + self.false + self.positives)
        return np.concatenate([[0.0], f1])

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of right answers for the first 0 … G groups said positive, (G + 1,)."""
        right = np.concatenate([[0], self.found - self.false]) + self.false[-1]
        accuracy: NDArray[np.float64] = right / (self.positives + self.false[-1])
        return accuracy


class LabelledScores:
    """N scores with yes or no, in groups of equal scores, highest first.

    Args:
        scores: (N,) finite.
        positive: (N,) of 0 and 1.
        positives: All positives, where some have no score; None counts those of `positive`.
        kind: What an item is called in errors.

    Raises:
        ShapeError: If there are not as many labels as scores.
        DataError: If a score is not finite, a label is neither 0 nor 1, or, without `positives`, one label is all
            there is.
    """

    def __init__(
        self, scores: ArrayLike, positive: ArrayLike, *, positives: int | None = None, kind: str = "pair"
    ) -> None:
        known = np.asarray(scores, dtype=np.float64)
        labels = np.asarray(positive)
        if labels.shape != known.shape or known.ndim != 1:
            raise ShapeError("positive", labels.shape, f"({len(known)},), one label a score")
        if len(bad := np.flatnonzero(~np.isfinite(known))):
            raise DataError(f"{kind} {bad[0] + 1}: its score is {known[bad[0]]}; it needs a number")
        if len(bad := np.flatnonzero((labels != 0) & (labels != 1))):
            raise DataError(f"{kind} {bad[0] + 1}: expected a label of 0 or 1, got {labels[bad[0]]}")
        self.labels = labels.astype(bool)
        if positives is None and 0 < self.labels.sum() < len(labels):
            positives = int(self.labels.sum())
        if positives is None:
            only = int(labels[0]) if len(labels) else "missing"
            raise DataError(f"all {len(labels)} labels are {only}; nothing can be told apart without both 0 and 1")
        self.positives = positives
        self._order = np.argsort(-known, kind="stable")
        self._scores = known[self._order]
        self._ends = np.flatnonzero(np.append(np.diff(self._scores) != 0, True)) if len(known) else np.zeros(0, int)

    @cached_property
    def curve(self) -> Curve:
        """Of all items, each counted once."""
        return self.resampled(np.ones(len(self.labels), dtype=np.int64), self.positives)

    def resampled(self, counts: Counts, positives: int | None = None) -> Curve:
        """Return the curve of a sample that has item i `counts[i]` times; the groups stay those of all items."""
        yes = np.where(self.labels, counts, 0)
        found, false = (np.cumsum(part[self._order])[self._ends] for part in (yes, counts - yes))
        return Curve(found, false, int(yes.sum()) if positives is None else positives)

    @property
    def best_f1(self) -> Best:
        """The highest of the thresholds with the best F1."""
        return self._best(self.curve.f1)

    @property
    def best_accuracy(self) -> Best:
        """The highest of the thresholds with the best accuracy; saying that nothing is positive is one of them."""
        return self._best(self.curve.accuracy)

    def _best(self, values: NDArray[np.float64]) -> Best:
        place = int(np.argmax(values))
        found, false = (int(part[place - 1]) if place else 0 for part in (self.curve.found, self.curve.false))
        precision = found / (found + false) if place else 0.0
        return Best(float(values[place]), self._threshold(place), precision, found / self.positives, place)

    def _threshold(self, place: int) -> float:
        """Return what the first `place` groups reach and no other does."""
        levels = self._scores[self._ends]
        if place == 0:
            return float(np.nextafter(levels[0], np.inf)) if len(levels) else 0.0
        if place == len(levels):
            return float(levels[-1])
        above, below = levels[place - 1], levels[place]
        middle = below + (above - below) / 2
        return float(middle if middle > below else above)
