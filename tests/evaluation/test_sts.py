from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import DataError, ShapeError
from textcl.evaluation.sts import resampled_ranks, score_sts
from textcl.evaluation.vectors import pair_cosines


def pairs(seed, count):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, count, 5)).astype(np.float32)
    return first, second, rng.integers(0, 6, size=count).astype(np.float64)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(3, 20))
def test_correlations_equal_their_definitions_with_tied_gold(seed, count):
    first, second, gold = pairs(seed, count)
    gold[:2] = [0, 5]  # never all equal
    cosines = [oracles.cosine(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    result = score_sts(first, second, gold)
    assert result.pearson == pytest.approx(oracles.correlation(cosines, gold.tolist()), abs=1e-9)
    expected = oracles.correlation(oracles.ranks(cosines), oracles.ranks(gold.tolist()))
    assert result.spearman == pytest.approx(expected, abs=1e-9)
    assert result.pairs == count


def test_lengths_of_embeddings_do_not_matter():
    first, second, gold = pairs(0, 10)
    lengths = np.arange(1, 11, dtype=np.float32)[:, None]
    assert score_sts(first * lengths, second, gold).to_json() == pytest.approx(score_sts(first, second, gold).to_json())


def test_the_json_names_both_correlations_and_the_pairs():
    assert set(score_sts(*pairs(0, 5)).to_json()) == {"spearman", "pearson", "pairs"}


def test_constant_cosines_or_gold_scores_are_refused_rather_than_nan():
    first, second, gold = pairs(1, 6)
    with pytest.raises(DataError, match="all 6 cosine similarities are 1; a correlation needs values that differ"):
        score_sts(first, first, gold)
    with pytest.raises(DataError, match="all 6 gold scores are 2"):
        score_sts(first, second, np.full(6, 2.0))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_embedding_without_a_direction_names_its_pair_and_side(value):
    first, second, gold = pairs(2, 4)
    second[1] = value
    with pytest.raises(DataError, match="pair 2: the embedding of its second sentence is 0 or not finite"):
        score_sts(first, second, gold)


def test_a_gold_score_that_is_not_a_number_names_its_pair():
    first, second, gold = pairs(3, 4)
    gold[2] = np.nan
    with pytest.raises(DataError, match="pair 3: its gold score is nan"):
        score_sts(first, second, gold)


def test_shapes_that_do_not_agree_are_refused_by_name():
    first, second, gold = pairs(4, 4)
    with pytest.raises(ShapeError, match=r"^first"):
        score_sts(first[:1], second[:1], gold[:1])
    with pytest.raises(ShapeError, match=r"^second"):
        score_sts(first, second[:3], gold)
    with pytest.raises(ShapeError, match=r"^gold"):
        score_sts(first, second, gold[:3])


def test_intervals_are_those_of_resampled_pairs():
    first, second, gold = pairs(5, 40)
    gold = np.round(gold + 5 * np.einsum("nd,nd->n", first, second))
    found = score_sts(first, second, gold, resamples=4000)
    assert score_sts(first, second, gold).intervals is None
    cosines = [oracles.cosine(a, b) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    draws = np.random.default_rng(0).integers(0, 40, size=(2000, 40))
    pearson, spearman = [], []
    for rows in draws:
        some, grades = [cosines[row] for row in rows], gold[rows].tolist()
        pearson.append(oracles.correlation(some, grades))
        spearman.append(oracles.correlation(oracles.ranks(some), oracles.ranks(grades)))
    for name, values in (("pearson", pearson), ("spearman", spearman)):
        assert found.intervals[name] == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=0.025)
    assert found.to_json()["intervals"] == found.intervals
    assert score_sts(first, second, gold, seed=1, resamples=100) != score_sts(first, second, gold, resamples=100)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=12))
def test_ranks_of_a_resample_are_those_of_its_items_repeated(rows):
    groups, counts = (np.array(column) for column in zip(*rows, strict=True))
    repeated = [(group, place) for place, (group, count) in enumerate(rows) for _copy in range(count)]
    expected = oracles.ranks([group for group, _place in repeated])
    found = resampled_ranks(groups, counts.astype(np.float64))
    assert [found[place] for _group, place in repeated] == expected


def test_pairs_of_equal_vectors_tie_whatever_their_rounding():
    rows = np.random.default_rng(0).normal(size=(50, 96)).astype(np.float32)
    other = rows.copy()
    other[:10] = np.random.default_rng(1).normal(size=(10, 96))
    gold = np.r_[np.zeros(10), np.arange(40)]
    cosines = [*pair_cosines(rows[:10], other[:10]).tolist(), *[1.0] * 40]
    expected = scipy.stats.spearmanr(cosines, gold).statistic
    assert score_sts(rows, other, gold).spearman == pytest.approx(expected)
