from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from textcl.errors import DataError
from textcl.evaluation.seeds import SeedSummary, compare_seeds, summarise_seeds

SCORES = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=8)


@given(SCORES)
def test_the_mean_and_the_deviation_are_those_of_a_loop(values):
    total = 0.0
    for value in values:
        total += value
    mean, squares = total / len(values), 0.0
    for value in values:
        squares += (value - mean) ** 2
    found = summarise_seeds({"ndcg@10": values})["ndcg@10"]
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.deviation == pytest.approx(math.sqrt(squares / (len(values) - 1)), abs=1e-12)
    assert (found.count, found.values) == (len(values), tuple(values))


@given(SCORES.filter(lambda values: np.ptp(values) > 1e-6))
def test_the_interval_is_scipys(values):
    found = summarise_seeds({"map": values})["map"]
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


def test_the_interval_of_three_seeds_by_hand():
    found = summarise_seeds({"mrr": [0.1, 0.2, 0.3]})["mrr"]
    half = 4.302653 * 0.1 / math.sqrt(3)  # the 97.5 % point of t with two degrees of freedom, from a printed table
    assert (found.mean, found.deviation) == (pytest.approx(0.2), pytest.approx(0.1))
    assert (found.low, found.high) == (pytest.approx(0.2 - half, abs=1e-7), pytest.approx(0.2 + half, abs=1e-7))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_interval_holds_the_true_mean_in_95_of_100_samples(count):
    rng = np.random.Generator(np.random.Philox(key=count))
    samples = {str(number): sample for number, sample in enumerate(rng.normal(0.6, 0.02, size=(3000, count)))}
    held = [found.low <= 0.6 <= found.high for found in summarise_seeds(samples).values()]
    assert np.mean(held) == pytest.approx(0.95, abs=0.016)  # four standard errors


def test_one_seed_has_no_interval():
    assert summarise_seeds({"ndcg@10": [0.5]}) == {"ndcg@10": SeedSummary(0.5, 0.0, None, None, 1, (0.5,))}


@given(st.floats(-1, 1), st.integers(2, 7))
def test_equal_values_deviate_by_exactly_nothing(value, count):
    assert summarise_seeds({"x": [value] * count})["x"] == SeedSummary(
        value, 0.0, value, value, count, (value,) * count
    )


def test_each_measure_is_summarised_on_its_own_and_in_order():
    found = summarise_seeds({"b": [0.1, 0.3], "a": [0.5]})
    assert list(found) == ["b", "a"]
    assert (found["b"].mean, found["a"].mean) == (0.2, 0.5)
    assert summarise_seeds({}) == {}


def test_the_json_has_every_number_by_its_name():
    values = np.array([0.25, 0.75], dtype=np.float32)  # a NumPy number is no JSON
    half = 12.706205 * math.sqrt(0.125) / math.sqrt(2)
    assert json.loads(json.dumps(summarise_seeds({"map": values})["map"].to_json())) == {
        "mean": 0.5,
        "deviation": pytest.approx(math.sqrt(0.125)),
        "low": pytest.approx(0.5 - half, abs=1e-6),
        "high": pytest.approx(0.5 + half, abs=1e-6),
        "count": 2,
        "values": [0.25, 0.75],
    }
    assert type(summarise_seeds({"map": values})["map"].to_json()["values"]) is list
    one = summarise_seeds({"map": [0.5]})["map"].to_json()
    assert (one["low"], one["high"]) == (None, None)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "ndcg@10: no value of any seed"),
        ([0.5, math.nan], "ndcg@10: nan is no finite number"),
        ([math.inf], "ndcg@10: inf is no finite number"),
    ],
)
def test_a_measure_without_a_number_is_refused(values, text):
    with pytest.raises(DataError, match=f"^{text}$"):
        summarise_seeds({"mrr": [0.5], "ndcg@10": values})


@given(*(2 * [SCORES.filter(lambda values: np.ptp(values) > 1e-6)]))
def test_the_interval_of_two_systems_over_seeds_is_scipys(before, after):
    found = compare_seeds(before, after)
    expected = scipy.stats.ttest_ind(after, before).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


def test_one_run_takes_the_spread_of_the_others_and_two_alone_have_none():
    found = compare_seeds([0.5], [0.6, 0.7, 0.8])
    half = 4.302653 * 0.1 * math.sqrt(1 + 1 / 3)  # two degrees of freedom
    assert (found.low, found.high) == (pytest.approx(0.2 - half, abs=1e-6), pytest.approx(0.2 + half, abs=1e-6))
    assert json.loads(json.dumps(found.to_json()))["after"]["count"] == 3
    with pytest.raises(DataError, match="two runs in all tell no spread"):
        compare_seeds([0.5], [0.6])
