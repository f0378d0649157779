from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ConfigError
from textcl.evaluation.significance import detectable_difference, holm, permutation_p

CHANGES = st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0])


@settings(deadline=None, max_examples=60)
@given(st.lists(CHANGES, min_size=1, max_size=8))
def test_the_p_value_of_few_queries_is_that_of_all_signs(differences):
    found = permutation_p(np.array(differences)[:, None])
    assert found == pytest.approx([oracles.sign_flip_p(differences)], abs=1e-12)


def test_each_column_has_its_own_p_value_and_zeros_have_1():
    columns = np.array([[0.5, 0.0, -1.0], [0.5, 0.0, 1.0], [1.0, 0.0, 0.0], [0.25, 0.0, 0.0]])
    expected = [oracles.sign_flip_p(column) for column in columns.T]
    assert expected[1] == 1
    assert permutation_p(columns) == pytest.approx(expected, abs=1e-12)
    assert permutation_p(np.zeros((5, 2))).tolist() == [1, 1]


def test_the_p_value_of_many_queries_is_near_that_of_the_t_test():
    differences = np.random.default_rng(0).normal([0.0, 0.03, 0.06], 0.3, size=(200, 3))
    expected = scipy.stats.ttest_1samp(differences, 0).pvalue
    assert permutation_p(differences, resamples=4000) == pytest.approx(expected, abs=0.02)


def test_a_p_value_is_never_0():
    found = permutation_p(np.full((100, 1), 0.5), resamples=500)
    assert found == pytest.approx([2 / 501])


def exchangeable_ndcg(rng, shape):
    """Two systems whose values come from one distribution that depends on how hard the query is."""
    hardness = rng.random(shape)
    systems = [np.where(rng.random(shape) < hardness, rng.beta(2, 2, shape), 1.0) for _system in range(2)]
    return systems[1] - systems[0]


def exchangeable_ranks(rng, shape):
    ranks = [rng.geometric(0.4, shape) for _system in range(2)]
    return 1 / ranks[1] - 1 / ranks[0]


@pytest.mark.parametrize("draw", [exchangeable_ndcg, exchangeable_ranks])
def test_the_test_says_yes_in_5_of_100_pairs_of_exchangeable_systems(draw):
    differences = draw(np.random.default_rng(1), (50, 2000))
    said = permutation_p(differences, resamples=999) < 0.05
    assert 0.035 <= said.mean() <= 0.065


def test_seed_and_resamples_matter():
    differences = np.random.default_rng(0).normal(0.05, 0.3, size=(40, 1))
    once = permutation_p(differences, seed=0, resamples=300)
    assert once == permutation_p(differences, seed=0, resamples=300)
    assert once != permutation_p(differences, seed=1, resamples=300)
    with pytest.raises(ConfigError, match=r"^resamples: .*, got 0"):
        permutation_p(differences, resamples=0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_correction_equals_its_definition(p_values):
    names = [f"m{number}" for number in range(len(p_values))]
    found = holm(dict(zip(names, p_values, strict=True)))
    assert list(found) == names
    assert list(found.values()) == pytest.approx(oracles.holm(p_values))


def test_holms_correction_of_an_example_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})


def test_the_detectable_difference_is_found_in_80_of_100_samples():
    rng = np.random.default_rng(0)
    found = detectable_difference(rng.normal(0, 0.3, size=40))
    deviation = found / detectable_difference(np.array([-1.0, 1.0] * 20)) * np.std([-1.0, 1.0] * 20, ddof=1)
    samples = rng.normal(found, deviation, size=(40, 4000))
    said = scipy.stats.ttest_1samp(samples, 0).pvalue < 0.05
    assert said.mean() == pytest.approx(0.8, abs=0.025)
    assert detectable_difference(np.array([0.5])) is None
