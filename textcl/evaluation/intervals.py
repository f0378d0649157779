"""Means over queries and their 95 % intervals, by a bootstrap that many measures share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from textcl.errors import ConfigError
from textcl.randomness import key_of

LEVEL = 0.95
_MOST_RESAMPLES, _FEWEST_RESAMPLES, _DRAWN_VALUES = 10_000, 1_000, 2_000_000
_BATCH_VALUES = 100_000  # places drawn at once: with their counts they stay in the processor's cache


@dataclass(frozen=True)
class Interval:
    """A mean over queries and its 95 % interval.

    Args:
        mean: The mean.
        low: Lower end of the interval.
        high: Its upper end.
        queries: How many queries the mean is of.
    """

    mean: float
    low: float
    high: float
    queries: int


def mean_intervals(values: NDArray[np.float64], *, seed: int, resamples: int | None = None) -> list[Interval]:
    """Return the mean of each column with its 95 % interval, the expanded percentile interval of the bootstrap.

    The plain percentiles are too narrow by sqrt((n - 1) / n) and by the ratio of the normal's quantile to Student's;
    the expanded ones make up for both, and stay between the smallest and the largest value. Columns of equal values
    have an interval of no width: the sample holds nothing from which to tell the spread. All columns see the same
    resamples, which depend on `seed` and n alone.

    Args:
        values: (n, M) finite, n at least 1: a row a query, a column a measure.
        seed: Of the resampling.
        resamples: At least 1. None takes 10,000 up to 200 queries, and with more of them fewer, down to 1,000: the ends
            of an interval of values in [0, 1] then err by at most some 0.0008, whatever n.

    Raises:
        ConfigError: If `resamples` is below 1.

    References:
        Hesterberg (2015), What teachers should know about the bootstrap, The American Statistician 69; section 4.3
        and formula (6).
    """
    count = len(values)
    if resamples is None:
        resamples = min(_MOST_RESAMPLES, max(_FEWEST_RESAMPLES, _DRAWN_VALUES // count))
    if resamples < 1:
        raise ConfigError("resamples", resamples, "a whole number of at least 1")
    means = values.mean(axis=0)
    if count == 1:
        return [Interval(float(mean), float(mean), float(mean), 1) for mean in means]
    resampled = _resampled_means(values, seed, resamples)
    stretched = np.sqrt(count / (count - 1)) * scipy.stats.t.ppf((1 + LEVEL) / 2, count - 1)
    tail = float(scipy.stats.norm.cdf(-stretched))
    lows, highs = np.quantile(resampled, [tail, 1 - tail], axis=0)
    for column in np.flatnonzero(np.ptp(values, axis=0) == 0):
        means[column] = lows[column] = highs[column] = values[0, column]
    rows = zip(means.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return [Interval(mean, low, high, count) for mean, low, high in rows]


def mean_interval(
    values: Sequence[float] | NDArray[np.float64], *, seed: int, resamples: int | None = None
) -> Interval:
    """Return the mean of `values` (n,) with its interval, as `mean_intervals` does for one column."""
    return mean_intervals(np.asarray(values, dtype=np.float64)[:, None], seed=seed, resamples=resamples)[0]


def _resampled_means(values: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """Return the means of each column in each resample, (resamples, M).

    A resample is how often it has each row; the means of all columns are then one matrix product.
    """
    rng = np.random.Generator(np.random.Philox(key=key_of(seed, "bootstrap")))
    count = len(values)
    narrow = np.uint16 if count <= 2**16 else np.int64  # four draws of a random word instead of one
    at_once = max(1, _BATCH_VALUES // count)
    means = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        drawn = rng.integers(0, count, size=(some, count), dtype=narrow) + np.arange(0, some * count, count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * count).reshape(some, count)
        means[start : start + some] = times.astype(np.float64) @ values
    return means / count
