from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator

from tests import oracles
from textcl.errors import DataError, ShapeError
from textcl.evaluation.pairs import score_labelled_pairs


def pairs(seed, count=60, width=6):
    """Pairs of which the labelled ones are nearer, with some rows repeated so that cosines tie."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(count, width)).astype(np.float32)
    labels = rng.integers(0, 2, count)
    second = (first * labels[:, None] + 1.5 * rng.normal(size=(count, width))).astype(np.float32)
    labels[:2] = [0, 1]
    copies = rng.integers(0, count, size=(2, count // 3))
    first[copies[0]], second[copies[0]] = first[copies[1]], second[copies[1]]
    return first, second, labels


@pytest.mark.parametrize("seed", range(5))
def test_every_value_is_that_of_sentence_transformers(seed):
    first, second, labels = pairs(seed)
    pairs_of = zip(first.tolist(), second.tolist(), strict=True)
    cosines = np.array([oracles.grain(oracles.cosine(*pair)) for pair in pairs_of])
    found = score_labelled_pairs(first, second, labels, resamples=20)
    theirs = BinaryClassificationEvaluator
    f1, precision, recall, threshold = theirs.find_best_f1_and_threshold(cosines, labels, True)
    assert (found.f1.value, found.best_f1.precision, found.best_f1.recall) == pytest.approx((f1, precision, recall))
    assert found.best_f1.threshold == pytest.approx(threshold, abs=1e-6)
    accuracy, threshold = theirs.find_best_acc_and_threshold(cosines, labels, True)
    assert (found.accuracy.value, found.best_accuracy.threshold) == pytest.approx((accuracy, threshold), abs=1e-6)


def test_a_threshold_classifies_pairs_as_it_says():
    first, second, labels = pairs(7)
    found = score_labelled_pairs(first, second, labels, resamples=20)
    cosines = [oracles.cosine(*pair) for pair in zip(first.tolist(), second.tolist(), strict=True)]
    guesses = np.array([oracles.grain(cosine) >= found.best_accuracy.threshold for cosine in cosines])
    assert (guesses == labels).mean() == pytest.approx(found.accuracy.value)


def test_cosines_that_differ_by_rounding_alone_are_one_score():
    rows = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    longer = rows * np.arange(1, 7, dtype=np.float32)[:, None] / 3  # every cosine is 1 but for rounding
    found = score_labelled_pairs(rows, longer, [0, 1, 0, 1, 0, 1], resamples=20)
    assert (found.average_precision.value, found.accuracy.value) == (0.5, 0.5)


def test_intervals_hold_their_values_and_more_pairs_make_them_narrower():
    few, many = (score_labelled_pairs(*pairs(1, count), resamples=300) for count in (60, 2000))
    for name in ("average_precision", "f1", "accuracy"):
        narrow, wide = getattr(many, name), getattr(few, name)
        assert narrow.low < narrow.value < narrow.high
        assert narrow.high - narrow.low < (wide.high - wide.low) / 3


def test_the_interval_depends_on_its_seed_and_the_value_does_not():
    first, other = (score_labelled_pairs(*pairs(2), seed=seed, resamples=50).average_precision for seed in (0, 1))
    assert first.value == other.value
    assert first != other


def test_the_json_has_each_measure_with_its_threshold():
    found = json.loads(json.dumps(score_labelled_pairs(*pairs(3), resamples=20).to_json()))
    assert set(found) == {"average_precision", "f1", "accuracy", "pairs", "positives"}
    assert set(found["f1"]) == {"value", "low", "high", "threshold", "precision", "recall"}
    assert found["positives"] == int(pairs(3)[2].sum())


def test_pairs_that_cannot_be_scored_are_named():
    first, second, labels = pairs(4)
    with pytest.raises(DataError, match=r"^all 60 labels are 1; "):
        score_labelled_pairs(first, second, np.ones(60))
    with pytest.raises(DataError, match=r"^pair 3: expected a label of 0 or 1, got 5"):
        score_labelled_pairs(first, second, [0, 1, 5, *labels[3:]])
    broken = second.copy()
    broken[4] = np.nan
    with pytest.raises(DataError, match=r"^pair 5: the embedding of its second sentence is 0 or not finite"):
        score_labelled_pairs(first, broken, labels)
    with pytest.raises(ShapeError, match=r"^second"):
        score_labelled_pairs(first, second[:9], labels)
    with pytest.raises(ShapeError, match=r"^positive"):
        score_labelled_pairs(first, second, labels[:9])


def test_every_resample_has_pairs_of_both_labels():
    first = np.eye(4, dtype=np.float32)
    second = first[[0, 2, 3, 1]]  # one pair of equals among four
    found = score_labelled_pairs(first, second, [1, 0, 0, 0], resamples=200)
    assert (found.average_precision.low, found.f1.low, found.accuracy.low) == (1.0, 1.0, 1.0)
