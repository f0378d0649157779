from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation.anomalies import neighbour_distances, score_anomalies


def texts(seed, tested=40, reference=25, shift=1.0):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=5)
    labels = (np.arange(tested) % 4 == 0).astype(int)
    rows = centre * np.where(labels, 1 - shift, 1)[:, None] + 0.7 * rng.normal(size=(tested, 5))
    return rows.astype(np.float32), labels, (centre + 0.7 * rng.normal(size=(reference, 5))).astype(np.float32)


@given(st.integers(0, 5000), st.integers(1, 8))
def test_distances_equal_a_sort_of_all(seed, k):
    rows, _labels, reference = texts(seed, tested=6, reference=8)
    found = neighbour_distances(rows, reference, k)
    for row, distance in zip(rows.tolist(), found.tolist(), strict=True):
        expected = sorted(1 - oracles.cosine(row, other) for other in reference.tolist())[:k]
        assert distance == pytest.approx(sum(expected) / k, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_areas_are_those_of_scikit_learn_on_the_distances(seed):
    rows, labels, reference = texts(seed)
    found = score_anomalies(rows, labels, reference, k=3, resamples=50)
    distances = neighbour_distances(rows, reference, 3)
    assert found.distances == pytest.approx(distances)
    assert found.auroc.value == pytest.approx(sklearn.metrics.roc_auc_score(labels, distances), abs=1e-12)
    expected = sklearn.metrics.average_precision_score(labels, distances)
    assert found.average_precision.value == pytest.approx(expected, abs=1e-12)
    assert (found.texts, found.anomalies, found.reference, found.k) == (40, 10, 25, 3)


def test_what_lies_elsewhere_is_found_and_what_does_not_is_not():
    far = score_anomalies(*texts(0, tested=400, shift=2.0), resamples=200)
    assert far.auroc.low > 0.85
    same = score_anomalies(*texts(0, tested=400, shift=0.0), resamples=200)
    assert same.auroc.low < 0.5 < same.auroc.high


def test_every_setting_matters():
    base = score_anomalies(*texts(1), resamples=50)
    assert score_anomalies(*texts(1), k=1, resamples=50).auroc.value != base.auroc.value
    assert score_anomalies(*texts(1), seed=1, resamples=50).auroc != base.auroc


def test_the_json_has_both_areas_and_the_counts():
    found = json.loads(json.dumps(score_anomalies(*texts(2), resamples=20).to_json()))
    assert set(found) == {"auroc", "average_precision", "texts", "anomalies", "reference", "k"}
    assert set(found["auroc"]) == {"value", "low", "high"}


def test_what_cannot_be_scored_is_refused():
    rows, labels, reference = texts(3)
    with pytest.raises(ConfigError, match=r"^k: expected a number of neighbours from 1 to 25"):
        score_anomalies(rows, labels, reference, k=26)
    with pytest.raises(DataError, match=r"^all 40 labels are 0"):
        score_anomalies(rows, labels * 0, reference)
    with pytest.raises(DataError, match=r"^text 1: expected a label of 0 or 1, got 7"):
        score_anomalies(rows, labels * 7, reference)
    reference[1] = 0
    with pytest.raises(DataError, match=r"^reference text 2: its embedding is 0"):
        score_anomalies(rows, labels, reference)
    with pytest.raises(ShapeError, match=r"^embeddings: expected shape \(N, 4\), as wide as reference"):
        score_anomalies(rows, labels, reference[2:, :4])


def test_every_resample_has_texts_of_both_labels():
    rows = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1]], np.float32)
    found = score_anomalies(rows, [0, 0, 0, 1], np.array([[1, 0]], np.float32), k=1, resamples=200)
    assert (found.auroc.low, found.average_precision.low) == (1.0, 1.0)
