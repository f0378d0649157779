from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import scipy.stats

from textcl.errors import ConfigError
from textcl.evaluation import intervals
from textcl.evaluation.intervals import Interval, mean_interval, mean_intervals

SIMULATIONS, QUERIES = 2000, 100


def test_the_interval_is_the_expanded_percentile_bootstrap_of_the_mean():
    values = np.random.default_rng(0).random(20)
    interval = mean_interval(values, seed=0, resamples=40_000)
    draws = np.random.default_rng(1).integers(0, 20, size=(40_000, 20))
    tail = 100 * scipy.stats.norm.cdf(-scipy.stats.t.ppf(0.975, 19) * np.sqrt(20 / 19))
    assert tail < 2  # 2.5 would be the plain one, whose ends lie 0.014 further in
    low, high = np.percentile(values[draws].mean(axis=1), [tail, 100 - tail])
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == (pytest.approx(low, abs=5e-3), pytest.approx(high, abs=5e-3))


def ndcg_values(rng, shape):
    """Nothing found, the best order, or something between."""
    kind = rng.random(shape)
    return np.where(kind < 0.25, 0.0, np.where(kind < 0.7, 1.0, rng.beta(2, 2, shape))), 0.45 + 0.3 * 0.5


def reciprocal_ranks(rng, shape):
    """1 / rank of a geometric rank within the top 10."""
    ranks = rng.geometric(0.4, shape)
    true = sum(0.4 * 0.6 ** (rank - 1) / rank for rank in range(1, 11))
    return np.where(ranks <= 10, 1 / ranks, 0.0), true


def hits(rng, shape):
    return (rng.random(shape) < 0.8).astype(float), 0.8


def differences(rng, shape):
    """Of two systems that most queries do not tell apart."""
    changed = rng.random(shape) < 0.3
    return np.where(changed, rng.choice([-1, -0.5, -0.37, 0.37, 0.5, 1], size=shape), 0.0), 0.0


def small_values(rng, shape):
    return rng.beta(0.3, 3, shape), 0.3 / 3.3


@pytest.mark.parametrize("draw", [ndcg_values, reciprocal_ranks, hits, differences, small_values])
def test_the_interval_covers_the_true_mean_in_93_to_97_of_100_simulations(draw):
    values, true = draw(np.random.default_rng(3), (QUERIES, SIMULATIONS))
    found = mean_intervals(values, seed=0, resamples=1000)
    covered = np.mean([interval.low <= true <= interval.high for interval in found])
    assert 0.93 <= covered <= 0.97


def test_many_columns_are_what_each_is_alone_and_batches_change_nothing(monkeypatch):
    values = np.random.default_rng(0).random((30, 3))
    together = mean_intervals(values, seed=5, resamples=70)
    assert [asdict(one) for one in together] == [
        pytest.approx(asdict(mean_interval(column, seed=5, resamples=70))) for column in values.T
    ]
    monkeypatch.setattr(intervals, "_BATCH_VALUES", 7 * 30)
    assert [asdict(one) for one in mean_intervals(values, seed=5, resamples=70)] == [
        pytest.approx(asdict(one)) for one in together
    ]


def test_the_interval_stays_within_the_values():
    for values in ([0.0] * 9 + [1.0], [1.0] * 3 + [0.0]):
        interval = mean_interval(values, seed=0, resamples=500)
        assert 0 <= interval.low < interval.mean < interval.high <= 1


def test_seed_and_resamples_matter():
    values = np.random.default_rng(0).random(30)
    once = mean_interval(values, seed=0, resamples=500)
    assert once == mean_interval(values, seed=0, resamples=500)
    assert once != mean_interval(values, seed=1, resamples=500)
    assert once != mean_interval(values, seed=0, resamples=50)


def test_left_out_resamples_are_10000_and_fewer_with_many_queries():
    for queries, resamples in ((200, 10_000), (1000, 2000), (6000, 1000)):
        values = np.random.default_rng(0).random(queries)
        assert mean_interval(values, seed=0) == mean_interval(values, seed=0, resamples=resamples)


@pytest.mark.parametrize("values", [[0.1] * 10, [0.3]])
def test_equal_values_have_an_interval_of_no_width(values):
    assert mean_interval(values, seed=0, resamples=100) == Interval(values[0], values[0], values[0], len(values))


def test_no_resamples_are_refused():
    with pytest.raises(ConfigError, match=r"^resamples: .*, got 0"):
        mean_interval([1.0, 2.0], seed=0, resamples=0)
