"""Sentence similarity: how well cosines of pairs follow what people said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from textcl.errors import DataError, ShapeError
from textcl.evaluation.resampling import Counts, bootstrap
from textcl.evaluation.vectors import grains, pair_cosines

_CONSTANT = 1e-12  # cosines below this apart differ by rounding only


@dataclass(frozen=True)
class StsResult:
    """Correlations in [-1, 1] of cosine similarities with gold scores over `pairs` pairs.

    Args:
        spearman: Of ranks, ties sharing the mean of theirs.
        pearson: Of the values.
        pairs: How many there are.
        intervals: Low and high end of the 95 % bootstrap interval of each, by its name; None where none was asked for.
    """

    spearman: float
    pearson: float
    pairs: int
    intervals: dict[str, tuple[float, float]] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the three values by their names, and the intervals where there are some."""
        values = {"spearman": self.spearman, "pearson": self.pearson, "pairs": self.pairs}
        return values if self.intervals is None else {**values, "intervals": self.intervals}


def score_sts(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    gold: NDArray[np.float64],
    *,
    seed: int = 0,
    resamples: int | None = None,
) -> StsResult:
    """Return how the cosines of `first` and `second`, row by row, correlate with `gold`.

    Args:
        first: (N, D) embeddings of the first sentences, of any length but 0; N at least 2.
        second: (N, D) embeddings of the second sentences.
        gold: (N,) similarities given by people, on any scale; higher is more alike.
        seed: Of the intervals.
        resamples: Of the intervals' bootstrap over pairs, at least 1; None leaves them out.

    Raises:
        ConfigError: If `resamples` is below 1.
        ShapeError: If the shapes do not agree or N is below 2.
        DataError: If a value is not finite, an embedding is 0, or the cosines or gold scores are all equal, where no
            correlation exists.

    References:
        Cer et al. (2017), SemEval-2017 task 1 (Pearson); Reimers et al. (2016), Task-oriented intrinsic evaluation of
        semantic textual similarity (Spearman).
    """
    cosines = pair_cosines(first, second, least=2)
    if gold.shape != (len(first),):
        raise ShapeError("gold", gold.shape, f"({len(first)},), one score a pair")
    scores = np.asarray(gold, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise DataError(f"pair {bad[0] + 1}: its gold score is {scores[bad[0]]}; give every pair a number")
    for name, values in (("cosine similarities", cosines), ("gold scores", scores)):
        if np.ptp(values) <= _CONSTANT:
            raise DataError(f"all {len(values)} {name} are {values[0]:.6g}; a correlation needs values that differ")
    return StsResult(
        spearman=float(scipy.stats.spearmanr(grains(cosines), scores).statistic),
        pearson=float(scipy.stats.pearsonr(cosines, scores).statistic),
        pairs=len(scores),
        intervals=None if resamples is None else _intervals(cosines, scores, seed, resamples),
    )


def _intervals(
    cosines: NDArray[np.float64], scores: NDArray[np.float64], seed: int, resamples: int
) -> dict[str, tuple[float, float]]:
    groups = [np.unique(values, return_inverse=True)[1] for values in (grains(cosines), scores)]

    def statistic(counts: Counts) -> tuple[float, float]:
        weights = counts.astype(np.float64)
        first, second = (resampled_ranks(one, weights) for one in groups)
        return _correlation(first, second, weights), _correlation(cosines, scores, weights)

    found = bootstrap(statistic, len(scores), seed=seed, resamples=resamples)
    return {name: (one.low, one.high) for name, one in zip(("spearman", "pearson"), found, strict=True)}


def resampled_ranks(groups: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each item, (N,), in a sample that has it `weights` times; equal values share their mean.

    Args:
        groups: (N,) whole numbers that compare as the values do.
        weights: (N,) how many times each item is in the sample.
    """
    totals = np.bincount(groups, weights=weights)
    ranks: NDArray[np.float64] = (np.cumsum(totals) - totals / 2 + 0.5)[groups]
    return ranks


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return Pearson's of a weighted sample; NaN where all values of a side are equal."""
    first, second = (values - np.average(values, weights=weights) for values in (first, second))
    spread = float((weights * first**2).sum() * (weights * second**2).sum())
    return float((weights * first * second).sum()) / spread**0.5 if spread > _CONSTANT**2 else float("nan")
