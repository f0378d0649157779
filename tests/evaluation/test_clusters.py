from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation import clusters
from textcl.evaluation.clusters import ClustersSettings, score_clusters


def texts(seed, count=60, classes=3, noise=0.8):
    rng = np.random.default_rng(seed)
    numbers = np.arange(count) % classes
    centres = rng.normal(size=(classes, 4))
    return (centres[numbers] + noise * rng.normal(size=(count, 4))).astype(np.float32), [f"c{n}" for n in numbers]


def conditional(first, second):
    """The entropy of `first` where `second` is known, in nats."""
    both, known = Counter(zip(first, second, strict=True)), Counter(second)
    return -sum(count / len(first) * math.log(count / known[pair[1]]) for pair, count in both.items())


def v_measure(labels, found):
    """Rosenberg and Hirschberg's equations 1 to 3."""
    alone = [conditional(values, [0] * len(values)) for values in (labels, found)]
    homogeneity = 1 - conditional(labels, found) / alone[0] if alone[0] else 1.0
    completeness = 1 - conditional(found, labels) / alone[1] if alone[1] else 1.0
    total = homogeneity + completeness
    return 2 * homogeneity * completeness / total if total else 0.0, homogeneity, completeness


@pytest.mark.parametrize("seed", range(4))
def test_every_start_has_the_v_measure_of_its_definition(seed, monkeypatch):
    assigned = []

    class Watched(clusters.KMeans):
        def fit_predict(self, rows):
            assigned.append(super().fit_predict(rows).tolist())
            return np.array(assigned[-1])

    monkeypatch.setattr(clusters, "KMeans", Watched)
    vectors, labels = texts(seed)
    found = score_clusters(vectors, labels, settings=ClustersSettings(clusters=5, repeats=4))
    assert len(assigned) == 4
    assert all(len(set(one)) == 5 for one in assigned)
    expected = [v_measure(labels, one) for one in assigned]
    for place, name in enumerate(("v_measure", "homogeneity", "completeness")):
        assert found.measures[name].values == pytest.approx([one[place] for one in expected], abs=1e-9)


def test_groups_that_lie_apart_are_found_and_length_does_not_matter():
    vectors, labels = texts(1, noise=0.01)
    lengths = np.random.default_rng(0).uniform(0.1, 50, size=(60, 1)).astype(np.float32)
    found = score_clusters(vectors * lengths, labels, settings=ClustersSettings(repeats=20))
    assert max(found.measures["v_measure"].values) == pytest.approx(1.0)
    assert (found.clusters, found.labels, found.texts) == (3, 3, 60)


def test_labels_that_have_nothing_to_do_with_embeddings_score_low():
    vectors, _labels = texts(2, count=600)
    coin = [str(n) for n in np.random.default_rng(0).integers(0, 3, 600)]
    assert score_clusters(vectors, coin).measures["v_measure"].mean < 0.02


def test_every_setting_matters():
    vectors, labels = texts(3, noise=2.0)
    base = score_clusters(vectors, labels)
    assert score_clusters(vectors, labels) == base
    assert score_clusters(vectors, labels, settings=ClustersSettings(seed=1)).measures != base.measures
    assert score_clusters(vectors, labels, settings=ClustersSettings(clusters=7)).clusters == 7
    assert base.measures["v_measure"].count == 10


def test_the_json_has_every_start():
    found = json.loads(json.dumps(score_clusters(*texts(4), settings=ClustersSettings(repeats=3)).to_json()))
    assert len(found["v_measure"]["values"]) == 3
    assert set(found) == {"v_measure", "homogeneity", "completeness", "clusters", "labels", "texts"}


def test_what_cannot_be_clustered_is_refused():
    vectors, labels = texts(0, count=12)
    with pytest.raises(DataError, match=r"^only 12 texts for 13 clusters; ask for fewer"):
        score_clusters(vectors, labels, settings=ClustersSettings(clusters=13))
    with pytest.raises(DataError, match=r"^all 12 labels are 'a'"):
        score_clusters(vectors, ["a"] * 12)
    with pytest.raises(DataError, match=r"^only 1 different embeddings for 3 clusters"):
        score_clusters(np.ones((12, 4), np.float32), labels)
    with pytest.raises(DataError, match=r"^text 1: its embedding is 0 or not finite"):
        score_clusters(vectors * 0, labels)
    with pytest.raises(ShapeError, match=r"^labels"):
        score_clusters(vectors, labels[:3])


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ({"clusters": 1}, "clusters: expected a whole number of at least 2, got 1"),
        ({"repeats": 0}, "repeats: expected a whole number of at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, fault):
    with pytest.raises(ConfigError, match=rf"^{fault}$"):
        ClustersSettings(**setting)
