from __future__ import annotations

import numpy as np
import pytest

from textcl.errors import ConfigError
from textcl.evaluation.intervals import mean_interval
from textcl.evaluation.resampling import bootstrap


def weighted_mean(values):
    return lambda counts: (counts * values).sum() / counts.sum()


def test_the_interval_of_a_mean_is_that_of_scipys_bootstrap():
    values = np.random.default_rng(0).normal(size=80)
    (ours,) = bootstrap(weighted_mean(values), 80, seed=0, resamples=20_000)
    theirs = mean_interval(values, seed=0, resamples=20_000)
    assert ours.value == pytest.approx(theirs.mean, abs=1e-12)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.01), pytest.approx(theirs.high, abs=0.01))


def test_intervals_of_a_proportion_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        sample = rng.random(100) < 0.4
        (found,) = bootstrap(weighted_mean(sample), 100, seed=trial, resamples=300)
        hits += found.low <= 0.4 <= found.high
    assert 0.90 <= hits / 300 <= 0.985


def test_strata_keep_their_sizes_and_others_do_not():
    labels = np.array([0, 1, 1, 0, 1, 2])

    def shares(counts):
        return [counts[labels == label].sum() for label in range(3)]

    kept = bootstrap(shares, 6, strata=labels, seed=0, resamples=50)
    assert [(one.low, one.value, one.high) for one in kept] == [(2, 2, 2), (3, 3, 3), (1, 1, 1)]
    free = bootstrap(shares, 6, seed=0, resamples=50)
    assert all(one.low < one.value < one.high for one in free)


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    values = np.arange(20.0)
    first, again, other = (bootstrap(weighted_mean(values), 20, seed=seed, resamples=99) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_resamples_without_a_value_are_left_out():
    def first_only(counts):
        return 1.0 if counts[0] else np.nan

    (found,) = bootstrap(first_only, 5, seed=0, resamples=100)
    assert (found.low, found.high) == (1.0, 1.0)
    assert found.to_json() == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_where_no_resample_has_a_value_the_interval_has_no_width():
    (found,) = bootstrap(lambda counts: 0.5 if (counts == 1).all() else np.nan, 30, seed=0, resamples=20)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_no_resamples_are_refused():
    with pytest.raises(ConfigError, match=r"^resamples: expected a whole number of at least 1, got 0"):
        bootstrap(weighted_mean(np.ones(3)), 3, seed=0, resamples=0)
