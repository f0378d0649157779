from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from textcl.errors import DataError, ShapeError
from textcl.evaluation.curves import LabelledScores

# Few values, so that most samples have ties.
SAMPLES = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=15).filter(
    lambda rows: len({label for _score, label in rows}) == 2
)


def of(rows):
    return LabelledScores([score / 3 for score, _label in rows], [label for _score, label in rows])


def said(rows, threshold):
    """True positives, false positives, false negatives and true negatives of a threshold."""
    table = {(guess, label): 0 for guess in (True, False) for label in (True, False)}
    for score, label in rows:
        table[score / 3 >= threshold, label] += 1
    return table[True, True], table[True, False], table[False, True], table[False, False]


def f1(rows, threshold):
    tp, fp, fn, _tn = said(rows, threshold)
    return 2 * tp / (2 * tp + fp + fn)


def accuracy(rows, threshold):
    tp, _fp, _fn, tn = said(rows, threshold)
    return (tp + tn) / len(rows)


def average_precision(rows):
    positives, total, before = sum(label for _score, label in rows), 0.0, 0.0
    for threshold in sorted({score / 3 for score, _label in rows}, reverse=True):
        tp, fp, _fn, _tn = said(rows, threshold)
        total += (tp / positives - before) * tp / (tp + fp)
        before = tp / positives
    return total


def auroc(rows):
    wins = [
        1.0 if yes > no else 0.5 if yes == no else 0.0
        for yes, label in rows if label
        for no, other in rows if not other
    ]  # fmt: skip
    return sum(wins) / len(wins)


@given(SAMPLES)
def test_areas_equal_their_definitions_and_scikit_learns(rows):
    scores, labels = [score / 3 for score, _label in rows], [label for _score, label in rows]
    curve = of(rows).curve
    assert curve.average_precision == pytest.approx(average_precision(rows), abs=1e-12)
    assert curve.average_precision == pytest.approx(sklearn.metrics.average_precision_score(labels, scores), abs=1e-12)
    assert curve.auroc == pytest.approx(auroc(rows), abs=1e-12)
    assert curve.auroc == pytest.approx(sklearn.metrics.roc_auc_score(labels, scores), abs=1e-12)


@given(SAMPLES)
def test_no_threshold_does_better_and_the_one_named_does_what_is_said(rows):
    levels = sorted({score / 3 for score, _label in rows})
    thresholds = [*levels, levels[-1] + 1]
    for best, measure in ((of(rows).best_f1, f1), (of(rows).best_accuracy, accuracy)):
        assert best.value == pytest.approx(max(measure(rows, threshold) for threshold in thresholds), abs=1e-12)
        assert measure(rows, best.threshold) == pytest.approx(best.value, abs=1e-12)
        tp, fp, fn, _tn = said(rows, best.threshold)
        assert best.recall == pytest.approx(tp / (tp + fn))
        assert best.precision == pytest.approx(tp / (tp + fp) if tp + fp else 0.0)
        higher = [threshold for threshold in thresholds if threshold > best.threshold]
        # The next level is what the halfway threshold stands for; those above it do worse.
        assert all(measure(rows, threshold) < best.value - 1e-12 for threshold in higher[1:])


@given(SAMPLES, st.randoms(use_true_random=False))
def test_the_order_of_equal_scores_changes_nothing(rows, rng):
    shuffled = rng.sample(rows, len(rows))
    assert of(rows).best_f1 == of(shuffled).best_f1
    assert of(rows).best_accuracy == of(shuffled).best_accuracy
    assert of(rows).curve.average_precision == of(shuffled).curve.average_precision


@given(SAMPLES, st.data())
def test_a_resample_is_the_sample_with_its_items_repeated(rows, data):
    counts = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    repeated = [row for row, count in zip(rows, counts, strict=True) for _copy in range(count)]
    if len({label for _score, label in repeated}) < 2:
        return
    curve = of(rows).resampled(np.array(counts))
    assert curve.average_precision == pytest.approx(average_precision(repeated), abs=1e-12)
    assert curve.auroc == pytest.approx(auroc(repeated), abs=1e-12)
    thresholds = [math.inf, *sorted({score / 3 for score, _label in rows}, reverse=True)]
    assert curve.f1 == pytest.approx([f1(repeated, threshold) for threshold in thresholds])
    assert curve.accuracy == pytest.approx([accuracy(repeated, threshold) for threshold in thresholds])


def test_one_tied_score_tells_nothing_apart():
    tied = LabelledScores([0.5] * 10, [1] * 3 + [0] * 7)
    assert (tied.curve.average_precision, tied.curve.auroc) == (pytest.approx(0.3), 0.5)
    assert tied.best_f1.threshold == 0.5
    best = tied.best_accuracy  # nothing is said to be positive
    assert (best.value, best.precision, best.recall) == (0.7, 0.0, 0.0)
    assert best.threshold > 0.5


def test_positives_without_a_score_count_as_not_found():
    some = LabelledScores([0.9, 0.8, 0.7], [1, 0, 1], positives=4)
    assert some.curve.average_precision == pytest.approx((1 + 2 / 3) / 4)
    assert (some.best_f1.value, some.best_f1.recall) == (pytest.approx(4 / 7), 0.5)


def test_nothing_scored_finds_nothing():
    none = LabelledScores([], [], positives=3)
    assert (none.curve.average_precision, none.best_f1.value, none.best_f1.recall) == (0.0, 0.0, 0.0)


def test_a_threshold_between_neighbouring_floats_parts_them():
    low = 0.1
    high = float(np.nextafter(low, 1))
    best = LabelledScores([high, low], [1, 0]).best_f1
    assert (best.value, best.threshold) == (1.0, high)


@pytest.mark.parametrize(
    ("scores", "labels", "fault"),
    [
        ([0.1, np.nan], [0, 1], "pair 2: its score is nan; it needs a number"),
        ([0.1, 0.2], [0, 2], "pair 2: expected a label of 0 or 1, got 2"),
        ([0.1, 0.2], [1, 1], "all 2 labels are 1; nothing can be told apart without both 0 and 1"),
        ([0.1, 0.2, 0.3], [0, 0, 0], "all 3 labels are 0; nothing can be told apart without both 0 and 1"),
        ([], [], "all 0 labels are missing"),
    ],
)
def test_labels_and_scores_without_a_curve_are_refused(scores, labels, fault):
    with pytest.raises(DataError, match=rf"^{fault}"):
        LabelledScores(scores, labels)


def test_other_lengths_are_refused():
    with pytest.raises(ShapeError, match=r"^positive: expected shape \(2,\), one label a score, got \(3,\)"):
        LabelledScores([0.1, 0.2], [0, 1, 1])
