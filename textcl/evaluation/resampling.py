"""95 % bootstrap intervals of whatever is no mean: average precision, AUROC, F1, correlations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textcl.errors import ConfigError
from textcl.randomness import key_of

Counts = NDArray[np.int64]
"""(N,) how many times each item stands in a sample."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval, the 2.5th to the 97.5th percentile of its resampled values."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return {"value", "low", "high"}."""
        return asdict(self)


def bootstrap(
    statistic: Callable[[Counts], ArrayLike], items: int, *, strata: ArrayLike | None = None, seed: int, resamples: int
) -> list[Estimate]:
    """Return M values of a sample with their percentile intervals, from the same resamples.

    Args:
        statistic: (N,) counts → M numbers. It is asked once with every count 1, whose answer are the values. Where a
            resample has no value, NaN; it is left out.
        items: N, at least 1.
        strata: (N,) labels: items are drawn in place of items of the same label, so that a resample has as many of each
            as the sample; None draws from all.
        seed: Equal seeds give equal resamples.
        resamples: At least 1.

    Raises:
        ConfigError: If `resamples` is below 1.

    References:
        Efron and Tibshirani (1993), An introduction to the bootstrap, section 13.3; strata as Robin et al. (2011),
        pROC, doi 10.1186/1471-2105-12-77, draw them for ROC curves.
    """
    if resamples < 1:
        raise ConfigError("resamples", resamples, "a whole number of at least 1")
    values = np.atleast_1d(np.asarray(statistic(np.ones(items, dtype=np.int64)), dtype=np.float64))
    labels = np.zeros(items, dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    groups = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    generator = np.random.Generator(np.random.Philox(key=key_of(seed, "bootstrap")))
    drawn = np.empty((resamples, len(values)))
    counts = np.empty(items, dtype=np.int64)
    for resample in range(resamples):
        for rows in groups:
            counts[rows] = np.bincount(generator.integers(len(rows), size=len(rows)), minlength=len(rows))
        drawn[resample] = statistic(counts)
    return [_estimate(float(value), column[np.isfinite(column)]) for value, column in zip(values, drawn.T, strict=True)]


def _estimate(value: float, resampled: NDArray[np.float64]) -> Estimate:
    if not len(resampled):  # nothing to tell the spread from
        return Estimate(value, value, value)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(value, float(low), float(high))
