from __future__ import annotations

import numpy as np
import pytest

from tests.index.vectors import parts, unit
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.index.build import build_index
from textcl.index.generations import commit, writing
from textcl.index.search import neighbours
from textcl.index.store import open_index
from textcl.index.tune import tune

ROWS, WIDTH = 4000, 24


def near(seed, rows):
    """Vectors in 40 loose groups, as texts have them."""
    centres = unit(1, 40, WIDTH)
    found = centres[np.random.default_rng(seed).integers(40, size=rows)] + 1.3 * unit(seed, rows, WIDTH)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    made = {**parts(ROWS, width=WIDTH), "vectors": near(2, ROWS)}
    for factory in ("Flat", "IVF64,Flat", "HNSW8", "HNSW8,SQ4", "IVF64,PQ12x4fs", "RaBitQ"):
        build_index(folder / factory, **made, factory=factory).close()
    return folder


def recall_of(index, queries, settings, at=10):
    rows, _ = neighbours(index, queries, at, settings=settings)
    best, _ = neighbours(index, queries, at, exact=True)
    return np.mean([len(np.intersect1d(a, b)) / at for a, b in zip(rows, best, strict=True)])


@pytest.mark.parametrize("factory", ["IVF64,Flat", "HNSW8", "HNSW8,SQ4", "IVF64,PQ12x4fs", "RaBitQ"])
@pytest.mark.parametrize("target", [0.8, 0.95])
def test_other_queries_get_the_recall_that_was_asked_for(built, factory, target):
    with open_index(built / factory) as index:
        found = tune(index, near(3, 400), recall=target, at=10)
        assert found.promise["kept"], found.promise
        assert found.promise["low"] >= target
        assert found.promise["low"] <= found.promise["measured"] <= found.promise["high"]
        assert (found.promise["chosen_on"], found.promise["checked_on"]) == (200, 200)
        assert recall_of(index, near(4, 300), found.settings) >= target - 0.02, "queries that tuning never saw"
        assert found.curve[0].settings is None, "exact search stands beside it"
        assert found.curve[0].recall == 1
        recalls = [point.recall for point in found.curve[1:]]
        assert (np.diff(recalls) > -0.005).all(), "wider finds more, but for what passing through codes shuffles"
        assert found.settings in [point.settings for point in found.curve]


def test_a_higher_target_means_a_wider_search(built):
    with open_index(built / "IVF64,Flat") as index:
        widths = [tune(index, near(3, 400), recall=target).settings.nprobe for target in (0.5, 0.8, 0.95, 1.0)]
    assert widths == sorted(widths)
    assert len(set(widths)) > 2
    assert widths[-1] <= 64


def test_a_target_that_the_codes_cannot_reach_is_a_promise_that_is_not_kept(built):
    with open_index(built / "RaBitQ") as index:
        found = tune(index, near(3, 400), recall=1.0, at=10)
    assert not found.promise["kept"]
    assert found.promise["low"] < 1
    assert found.settings.rerank == max(point.settings.rerank for point in found.curve[1:])


def test_documents_that_ask_do_not_find_themselves(built):
    with open_index(built / "IVF64,Flat") as index:
        own = np.arange(0, ROWS, 20)
        itself = tune(index, index.vectors_of(own), recall=0.9, own=own)
        naive = tune(index, index.vectors_of(own), recall=0.9)
    first = {tuned.curve[1].settings.nprobe: tuned.curve[1].recall for tuned in (itself, naive)}
    assert itself.curve[1].settings == naive.curve[1].settings
    assert itself.curve[1].recall < naive.curve[1].recall, first
    assert itself.promise["kept"]


def test_below_the_share_that_was_measured_a_filter_is_answered_exactly(built, tmp_path):
    made = {**parts(ROWS, width=WIDTH), "vectors": near(2, ROWS)}
    metadata = [{"share": "few" if number % 250 == 0 else "half" if number % 2 else "rest"} for number in range(ROWS)]
    build_index(tmp_path / "index", **made, factory="IVF64,Flat", metadata=metadata).close()
    with writing(tmp_path / "index") as index:
        commit(index, tune(index, near(3, 400), recall=0.9).facts())
    with open_index(tmp_path / "index", verify=True) as index:
        assert 0 < index.manifest["filter_from"] <= 1
        assert index.manifest["generation"] == 2
        for share in ("few", "half"):
            rows, _ = neighbours(index, near(4, 100), 10, filters={"share": share})
            best, _ = neighbours(index, near(4, 100), 10, filters={"share": share}, exact=True)
            recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(rows, best, strict=True)])
            assert recall >= 0.88, share


def test_an_exact_index_keeps_any_promise(built):
    with open_index(built / "Flat") as index:
        found = tune(index, near(3, 60), recall=1.0)
    assert found.promise["kept"]
    assert (found.promise["measured"], len(found.curve)) == (1, 1)


def test_too_few_or_wrong_queries_are_refused(built):
    with open_index(built / "HNSW8") as index:
        with pytest.raises(DataError, match="19 queries cannot show a recall; give at least 20"):
            tune(index, near(3, 19), recall=0.9)
        with pytest.raises(ShapeError, match="queries"):
            tune(index, unit(3, 40, 8), recall=0.9)
        with pytest.raises(ConfigError, match=r"recall: expected a share in \(0, 1\], got 0"):
            tune(index, near(3, 40), recall=0)
        with pytest.raises(ConfigError, match="at: expected"):
            tune(index, near(3, 40), recall=0.9, at=0)
        with pytest.raises(DataError, match="query 1 has length 0"):
            tune(index, np.concatenate([near(3, 1), np.zeros((30, WIDTH), np.float32)]), recall=0.9)
