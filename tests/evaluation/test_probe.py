from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from sklearn.linear_model import LogisticRegression

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation import probe
from textcl.evaluation.probe import ProbeSettings, plan_splits, score_probe


def texts(seed, count=120, classes=3, noise=1.5, width=5):
    rng = np.random.default_rng(seed)
    numbers = np.arange(count) % classes
    centres = rng.normal(size=(classes, width))
    return (centres[numbers] + noise * rng.normal(size=(count, width))).astype(np.float32), [f"c{n}" for n in numbers]


def macro_f1(truth, guess):
    """The mean over labels that are true or guessed somewhere, each from its own counts."""
    values = []
    for label in sorted({*truth, *guess}):
        tp = sum(1 for a, b in zip(truth, guess, strict=True) if a == b == label)
        fp = sum(1 for a, b in zip(truth, guess, strict=True) if b == label != a)
        fn = sum(1 for a, b in zip(truth, guess, strict=True) if a == label != b)
        values.append(2 * tp / (2 * tp + fp + fn))
    return sum(values) / len(values)


@pytest.mark.parametrize("scaling", ["standard", "unit"])
def test_a_given_split_scores_what_a_hand_made_classifier_does(scaling):
    vectors, labels = texts(0)
    test = np.arange(len(labels)) % 4 == 0
    wide = vectors.astype(np.float64)
    if scaling == "unit":
        wide = wide / np.sqrt((wide**2).sum(axis=1, keepdims=True))
    else:
        wide = (wide - wide[~test].mean(axis=0)) / wide[~test].std(axis=0)
    known = np.array(labels)
    guess = LogisticRegression(C=0.5, max_iter=1000).fit(wide[~test], known[~test]).predict(wide[test])
    found = score_probe(vectors, labels, test=test, settings=ProbeSettings(scaling=scaling, c=0.5, resamples=200))
    assert found.measures["accuracy"].mean == pytest.approx((guess == known[test]).mean(), abs=1e-12)
    assert found.measures["macro_f1"].mean == pytest.approx(macro_f1(known[test].tolist(), guess.tolist()), abs=1e-12)
    expected = sklearn.metrics.f1_score(known[test], guess, average="macro")
    assert found.measures["macro_f1"].mean == pytest.approx(expected, abs=1e-12)
    assert (found.train, found.test, found.classes, found.unseen, found.unconverged) == (90, 30, 3, 0, 0)
    for score in found.measures.values():
        assert (score.deviation, len(score.values)) == (0.0, 1)
        assert score.low < score.mean < score.high


def test_random_splits_are_tested_apart_and_keep_the_shares_of_labels():
    labels = np.array(["a"] * 80 + ["b"] * 20)
    splits = plan_splits(labels, None, ProbeSettings(repeats=6, test_fraction=0.25))
    assert len(splits) == 6
    for train, test in splits:
        assert sorted([*train, *test]) == list(range(100))
        assert [(labels[test] == name).sum() for name in "ab"] == [20, 5]
    assert len({tuple(sorted(test)) for _train, test in splits}) == 6


def test_mean_deviation_and_interval_are_over_the_splits():
    found = score_probe(*texts(1), settings=ProbeSettings(repeats=5, test_fraction=0.25))
    for score in found.measures.values():
        values = score.values
        assert len(set(values)) > 1
        mean = sum(values) / 5
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 4)
        assert (score.mean, score.deviation) == (pytest.approx(mean), pytest.approx(deviation))
        # Nadeau and Bengio's widening for splits of the same texts: 1 / J + test / train.
        half = scipy.stats.t.ppf(0.975, 4) * deviation * math.sqrt(1 / 5 + 30 / 90)
        assert (score.low, score.high) == pytest.approx((max(0, mean - half), min(1, mean + half)))


def test_a_single_random_split_has_no_interval():
    score = score_probe(*texts(2), settings=ProbeSettings(repeats=1)).measures["accuracy"]
    assert (score.low, score.high, score.deviation) == (None, None, 0.0)


def test_every_setting_matters():
    base = score_probe(*texts(3), settings=ProbeSettings(repeats=3))
    for other in ({"scaling": "unit"}, {"c": 0.001}, {"seed": 1}, {"test_fraction": 0.4}):
        found = score_probe(*texts(3), settings=ProbeSettings(**{"repeats": 3, **other}))
        assert found.measures != base.measures, other
    again = score_probe(*texts(3), settings=ProbeSettings(repeats=3))
    assert again == base


def test_labels_that_embeddings_tell_apart_are_found_and_random_ones_are_not():
    easy = score_probe(*texts(4, noise=0.01))
    assert easy.measures["accuracy"].mean == 1.0
    vectors, _labels = texts(5, count=600, classes=2)
    coin = [str(n) for n in np.random.default_rng(9).integers(0, 2, 600)]
    score = score_probe(vectors, coin).measures["accuracy"]
    assert score.low < 0.5 < score.high


def test_the_most_frequent_label_is_what_it_is_compared_with():
    vectors, _labels = texts(6, count=100)
    test = np.arange(100) >= 60
    labels = ["a"] * 50 + ["b"] * 10 + ["b"] * 30 + ["a"] * 10
    assert score_probe(vectors, labels, test=test).majority == 0.75


def test_a_tested_label_that_was_never_trained_on_counts_as_wrong_and_is_counted():
    vectors, labels = texts(7, count=90)
    labels[-1] = "rare"
    test = np.arange(90) >= 60
    found = score_probe(vectors, labels, test=test)
    assert found.unseen == 1
    assert found.measures["accuracy"].mean <= 29 / 30


def test_the_json_names_everything():
    found = json.loads(json.dumps(score_probe(*texts(8), settings=ProbeSettings(repeats=2)).to_json()))
    assert set(found["macro_f1"]) == {"mean", "deviation", "low", "high", "values"}
    assert set(found) == {
        *("macro_f1", "accuracy", "majority", "classes", "train", "test", "unseen", "unconverged"),
    }


def test_a_classifier_that_is_not_done_is_counted(monkeypatch):
    assert score_probe(*texts(9), settings=ProbeSettings(repeats=2)).unconverged == 0
    monkeypatch.setattr(probe, "_MOST_STEPS", 2)
    assert score_probe(*texts(9), settings=ProbeSettings(repeats=2)).unconverged == 2


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        (["a"] * 20, "all 20 labels are 'a'; nothing can be told apart without a second one"),
        (["a"] * 19 + [" "], "text 20: it has no label"),
        (["a"] * 19 + ["b"], "only one text is labelled 'b'; a random split needs two"),
        ([f"{n // 2}" for n in range(20)], "4 of 20 texts to test on cannot hold 10 labels on both sides"),
    ],
)
def test_labels_that_cannot_be_probed_are_refused(labels, fault):
    with pytest.raises(DataError, match=rf"^{fault}"):
        score_probe(texts(0, count=20)[0], labels)


def test_splits_that_cannot_be_used_are_refused():
    vectors, labels = texts(0, count=30)
    with pytest.raises(DataError, match=r"^there is no text to test on"):
        score_probe(vectors, labels, test=np.zeros(30, dtype=bool))
    with pytest.raises(DataError, match=r"^the 1 texts to train on have fewer than two different labels"):
        score_probe(vectors, labels, test=np.arange(30) > 0)
    with pytest.raises(ShapeError, match=r"^test"):
        score_probe(vectors, labels, test=np.zeros(9, dtype=bool))
    with pytest.raises(ShapeError, match=r"^labels"):
        score_probe(vectors, labels[:9])


@pytest.mark.parametrize("scaling", ["standard", "unit"])
def test_embeddings_that_are_no_numbers_are_named(scaling):
    vectors, labels = texts(0, count=30)
    vectors[6, 1] = np.inf
    with pytest.raises(DataError, match=r"^text 7: its embedding is 0 or not finite"):
        score_probe(vectors, labels, settings=ProbeSettings(scaling=scaling))


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ({"repeats": 0}, "repeats: expected a whole number of at least 1, got 0"),
        ({"test_fraction": 1.0}, r"test_fraction: expected a share in \(0, 1\), got 1.0"),
        ({"scaling": "none"}, "scaling: expected one of standard, unit, got 'none'"),
        ({"c": 0.0}, "c: expected a number above 0, got 0.0"),
        ({"c": math.inf}, "c: expected a number above 0, got inf"),
    ],
)
def test_settings_out_of_range_are_refused(setting, fault):
    with pytest.raises(ConfigError, match=rf"^{fault}$"):
        ProbeSettings(**setting)


def test_every_resample_has_every_label():
    vectors, labels = texts(4, count=45, noise=0.01)
    rare = [label != "c2" or row < 33 for row, label in enumerate(labels)]
    test = np.array([row >= 30 for row, kept in enumerate(rare) if kept])
    found = score_probe(vectors[rare], [label for label, kept in zip(labels, rare, strict=True) if kept], test=test)
    assert found.measures["macro_f1"].low == 1.0  # one tested text of c2, which a plain bootstrap would often leave out
