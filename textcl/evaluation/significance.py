"""Whether a mean of paired differences is more than chance: permutation test, Holm's correction, what can be seen."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from textcl.errors import ConfigError
from textcl.randomness import key_of

ALPHA = 0.05
POWER = 0.8
_RESAMPLES = 10_000
_BATCH_VALUES = 2_000_000  # signed differences held at once: 16 MB
Name = TypeVar("Name", bound=Hashable)


def permutation_p(
    differences: NDArray[np.float64], *, seed: int = 0, resamples: int | None = None
) -> NDArray[np.float64]:
    """Return for each column the two-sided p value of its mean being 0.

    If two systems are exchangeable, each query's difference is as likely with the other sign. All 2**n signs are taken
    where they are at most `resamples`, otherwise so many are drawn, and the p value is then at least
    2 / (resamples + 1). A column of zeros has p 1. All columns see the same signs.

    Args:
        differences: (n, M) finite, n at least 1: a row a query.
        seed: Of the signs.
        resamples: At least 1; None for 10,000.

    Returns:
        (M,) in (0, 1].

    Raises:
        ConfigError: If `resamples` is below 1.

    References:
        Fisher (1935), The design of experiments, section 21; Phipson and Smyth (2010) for p values that are never 0;
        Smucker, Allan and Carterette (2007), A comparison of statistical significance tests for IR evaluation.
    """
    resamples = _RESAMPLES if resamples is None else resamples
    if resamples < 1:
        raise ConfigError("resamples", resamples, "a whole number of at least 1")
    p = np.ones(differences.shape[1])
    live = np.flatnonzero(differences.any(axis=0))
    if not len(live):
        return p
    # Queries without any difference have no sign; without them more cases are exact.
    sample = differences[differences.any(axis=1)][:, live].T
    if sample.shape[1] == 1:
        return p  # one query with a difference: both signs are as far from 0
    p[live] = scipy.stats.permutation_test(
        (sample,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        axis=-1,
        n_resamples=resamples,
        batch=max(1, _BATCH_VALUES // sample.size),
        rng=np.random.Generator(np.random.Philox(key=key_of(seed, "permutation"))),
    ).pvalue
    return p


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Return the p values after Holm's correction for all of them: at 0.05, at most one in 20 such families errs.

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    adjusted: dict[Name, float] = {}
    least = 0.0
    for place, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = least
    return {name: adjusted[name] for name in p_values}


def detectable_difference(differences: NDArray[np.float64]) -> float | None:
    """Return the true mean difference that a test of so many queries would find in 80 of 100 samples.

    It is (t(0.975) + t(0.8)) s / sqrt(n) with Student's quantiles at n - 1 degrees of freedom and s the deviation of
    the differences at hand: the two-sided paired t test at 0.05, alone, which the permutation test comes close to. A
    Holm correction over m measures asks for more. None for a single query, which tells no deviation.

    Args:
        differences: (n,) finite.

    References:
        Sakai (2018), Laboratory experiments in information retrieval, chapter 6.
    """
    count = len(differences)
    if count < 2:
        return None
    quantiles = scipy.stats.t.ppf([1 - ALPHA / 2, POWER], count - 1)
    return float(quantiles.sum() * differences.std(ddof=1) / np.sqrt(count))


def _mean(sample: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.mean(sample, axis=axis)
    return found
