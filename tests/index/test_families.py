from __future__ import annotations

import faiss
import numpy as np
import pytest

from tests.index.vectors import parts, shard_of, unit
from textcl.errors import ConfigError
from textcl.index.build import build_index
from textcl.index.families import SearchSettings, family_of
from textcl.index.search import neighbours
from textcl.index.store import open_index

FACTORIES = [
    "HNSW16", "HNSW16,SQ8", "IVF16,Flat", "IVF16,SQ8", "IVF16,PQ16x4fs", "IVF16_HNSW8,PQ16x4fs", "PCAR16,IVF16,SQ8",
    "IVF16,RaBitQ", "IVF16,RaBitQfs", "SQ8", "RaBitQ",
]  # fmt: skip
WIDEST = SearchSettings(nprobe=16, ef_search=512, rerank=40)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """An index of each family of the same 2,000 vectors in 20 groups of near ones, as texts have."""
    folder = tmp_path_factory.mktemp("families")
    centres = unit(1, 20, 32)
    vectors = centres[np.arange(2000) % 20] + 1.2 * unit(2, 2000, 32)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    made = {**parts(2000, width=32), "vectors": vectors}
    for factory in FACTORIES:
        build_index(
            folder / factory, **made, factory=factory, metadata=[{"tenth": n % 10} for n in range(2000)]
        ).close()
    return folder


def queries():
    wide = unit(1, 20, 32) + 1.2 * unit(3, 20, 32)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_widest_search_of_every_family_is_nearly_exact_and_its_scores_are_cosines(built, factory):
    with open_index(built / factory) as index:
        rows, scores = neighbours(index, queries(), 10, settings=WIDEST)
        best, exact = neighbours(index, queries(), 10, exact=True)
        assert (rows == best).mean() > 0.95
        np.testing.assert_allclose(scores[rows == best], exact[rows == best], atol=2e-6)
        cosines = np.take_along_axis(queries() @ index.vectors_of(np.arange(2000)).T, rows, axis=1)
        np.testing.assert_allclose(scores, cosines, atol=2e-6)
        assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_filter_finds_all_that_it_allows(built, factory):
    with open_index(built / factory) as index:
        for exact in (True, False):
            rows, _ = neighbours(index, queries(), 200, filters={"tenth": 3}, exact=exact, settings=WIDEST)
            assert rows.shape == (20, 200), "as many as there are"
            assert (rows % 10 == 3).all()


@pytest.mark.parametrize("factory", FACTORIES)
def test_one_query_gets_what_it_gets_among_many(built, factory):
    with open_index(built / factory) as index:
        together, scores = neighbours(index, queries(), 10)
        for query in (0, 7, 19):
            alone, its = neighbours(index, queries()[query : query + 1], 10)
            np.testing.assert_array_equal(alone[0], together[query])
            np.testing.assert_array_equal(its[0], scores[query])
        assert faiss.omp_get_max_threads() >= 1


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_bytes_of_the_structure_are_as_predicted(built, factory):
    size = (shard_of(built / factory) / "search.faiss").stat().st_size
    predicted = family_of(factory, 32).search_bytes(2000)
    assert predicted == pytest.approx(
        size, rel=0.05 if "x4fs" not in factory and "Qfs" not in factory else 0.25, abs=4000
    )


def test_visiting_all_cells_is_exact_and_recall_never_falls_with_more(built):
    with open_index(built / "IVF16,Flat") as index:
        best, exact = neighbours(index, queries(), 10, exact=True)
        recalls = []
        for nprobe in range(1, 17):
            rows, _ = neighbours(index, queries(), 10, settings=SearchSettings(nprobe=nprobe))
            recalls.append(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(rows, best, strict=True)]))
        assert recalls == sorted(recalls)
        assert recalls[0] < 0.95
        rows, scores = neighbours(index, queries(), 10, settings=SearchSettings(nprobe=16))
        np.testing.assert_array_equal(rows, best)
        np.testing.assert_allclose(scores, exact, atol=2e-7)


def test_a_search_that_finds_too_few_is_answered_exactly(built):
    with open_index(built / "IVF16,Flat") as index:
        rows, _ = neighbours(index, queries(), 1000, settings=SearchSettings(nprobe=1))
        assert (rows >= 0).all()
        best, _ = neighbours(index, queries(), 1000, exact=True)
        short = [set(a) == set(b) for a, b in zip(rows, best, strict=True)]
        assert all(short), "one cell has fewer than 1,000 rows"


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        ("IDMap,Flat", "ids are kept outside of FAISS"),
        ("IVF16,PQ16x4fs,RFlat", "scored again with the float vectors"),
        ("IVF16,PQ16x4fs,Refine(SQ8)", "scored again with the float vectors"),
        ("PQ16x4fs", "cannot leave out deleted documents"),
        ("NSG32", "cannot leave out deleted documents"),
        ("IVF16,FlatPanorama", "cannot map the file"),
        ("HSNW32", "FAISS makes no index of 'HSNW32' with 32 dimensions"),
        ("IVF16,PQ5", "FAISS makes no index of 'IVF16,PQ5' with 32 dimensions"),
    ],
)
def test_a_family_that_cannot_keep_promises_is_refused_before_anything_is_built(tmp_path, factory, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        build_index(tmp_path / "index", **parts(100, width=32), factory=factory)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_fewer_rows_than_cells_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="IVF64,Flat needs at least 64 rows to learn 64 cells, there are 40"):
        build_index(tmp_path / "index", **parts(40, width=32), factory="IVF64,Flat")
    assert list(tmp_path.iterdir()) == []


def test_settings_out_of_range_are_refused():
    for wrong in ({"nprobe": 0}, {"ef_search": 0}, {"rerank": 0.5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            SearchSettings(**wrong)
