from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracles
from tests.index.vectors import parts, unit
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation.exact import top_documents
from textcl.index.build import build_index
from textcl.index.families import SearchSettings
from textcl.index.generations import commit, writing
from textcl.index.search import Hit, neighbours, search, search_run
from textcl.index.store import open_index
from textcl.index.update import delete


def corners(seed, rows, width=8):
    """Unit vectors of exact entries: many inner products tie exactly, some are 0 or -0."""
    rng = np.random.default_rng(seed)
    found = np.zeros((rows, width), dtype=np.float32)
    for row in found:
        row[rng.choice(width, size=4, replace=False)] = rng.choice([-0.5, 0.5], size=4)
    return found


@settings(max_examples=40, deadline=None)
@given(
    make=st.sampled_from([unit, corners]),
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 60),
    k=st.integers(1, 70),
    queries=st.integers(1, 4),
)
def test_flat_search_equals_brute_force(tmp_path_factory, make, seed, rows, k, queries):
    made = {**parts(rows, seed), "vectors": make(seed, rows)}
    asked = make(seed + 1, queries)
    with build_index(tmp_path_factory.mktemp("flat") / "index", **made) as index:
        found = search(index, asked, k)
    text_of = dict(zip(made["ids"], made["texts"], strict=True))
    for query, hits in zip(asked, found, strict=True):
        expected = oracles.exact_top(query, made["vectors"], made["ids"], k)
        assert hits == [Hit(one, score, text_of[one]) for one, score in expected]


def test_search_and_exact_evaluation_give_the_same_bits(tmp_path):
    made = parts(3000, width=96)
    made["vectors"][500:560] = made["vectors"][3]
    queries = unit(5, 70, width=96)
    queries[0] = made["vectors"][3]
    query_ids = [f"q{number}" for number in range(70)]
    with build_index(tmp_path / "index", **made) as index:
        found = search_run(index, queries, query_ids, 20)
    assert found == top_documents(queries, query_ids, made["vectors"], made["ids"], 20)


def test_the_number_of_queries_changes_nothing(tmp_path):
    queries = unit(5, 200, width=96)
    with build_index(tmp_path / "index", **parts(2000, width=96)) as index:
        together = search(index, queries, 10)
        assert [search(index, queries[row : row + 1], 10)[0] for row in (0, 99, 199)] == [
            together[row] for row in (0, 99, 199)
        ]


def test_ties_that_reach_far_beyond_k_are_settled_by_id(tmp_path):
    # A collapsed encoder: every document at one place. FAISS alone would return any two of them.
    made = {**parts(500), "vectors": np.repeat(unit(0, 1), 500, axis=0)}
    with build_index(tmp_path / "index", **made) as index:
        hits = search(index, unit(1, 1), 2)[0]
    assert [hit.id for hit in hits] == sorted(made["ids"], reverse=True)[:2]
    assert hits[0].score == hits[1].score


def test_lengths_of_an_index_that_is_not_normalised_count(tmp_path):
    made = parts(300)
    made["vectors"] *= np.linspace(0.1, 50, 300, dtype=np.float32)[:, None]
    queries = 7 * unit(3, 5)
    with build_index(tmp_path / "index", **made, normalised=False) as index:
        found = search_run(index, queries, list("abcde"), 9)
    assert found == top_documents(queries, list("abcde"), made["vectors"], made["ids"], 9)


def test_k_beyond_the_rows_returns_every_document_once(tmp_path):
    with build_index(tmp_path / "index", **parts(5)) as index:
        hits = search(index, unit(1, 2), 100)
    assert [len({hit.id for hit in of_query}) for of_query in hits] == [5, 5]
    assert [len(of_query) for of_query in hits] == [5, 5]


def test_at_least_drops_lower_scores_and_keeps_equal_ones(tmp_path):
    with build_index(tmp_path / "index", **parts(20)) as index:
        whole = search(index, unit(1, 1), 20)[0]
        assert search(index, unit(1, 1), 20, at_least=whole[4].score)[0] == whole[:5]
        assert search(index, unit(1, 1), 20, at_least=1.5) == [[]]
        with pytest.raises(ConfigError, match=r"^at_least: expected a number, got nan"):
            search(index, unit(1, 1), 20, at_least=float("nan"))


def test_an_index_without_texts_gives_hits_without_texts(tmp_path):
    with build_index(tmp_path / "index", **{**parts(5), "texts": None}) as index:
        assert {hit.text for hit in search(index, unit(1, 1), 5)[0]} == {None}


def test_no_queries_give_no_hits(tmp_path):
    with build_index(tmp_path / "index", **parts(5)) as index:
        assert search(index, unit(0, 1)[:0], 3) == []


@pytest.fixture
def index(tmp_path):
    with build_index(tmp_path / "index", **parts(5)) as opened:
        yield opened


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(index, k):
    with pytest.raises(ConfigError, match=rf"^k: expected a whole number of at least 1, got {k}"):
        search(index, unit(1, 1), k)
    with pytest.raises(ConfigError, match=r"^k: "):
        search_run(index, unit(1, 1), ["q"], k)


def test_queries_of_another_width_are_refused(index):
    with pytest.raises(ShapeError, match=r"queries: expected shape \(Q, 8\), got \(1, 9\)"):
        search(index, unit(1, 1, width=9), 3)
    with pytest.raises(ShapeError, match=r"queries: expected shape \(Q, 8\), got \(8,\)"):
        search(index, unit(1, 1)[0], 3)


@pytest.mark.parametrize("factor", [2.0, 0.0, np.nan, np.inf])
def test_a_query_that_is_not_of_length_one_is_named(index, factor):
    queries = unit(1, 3)
    queries[1] *= np.float32(factor)
    with pytest.raises(DataError, match=r"query 1 has length (2|0|nan|inf); expected length 1"):
        search(index, queries, 3)


def test_a_query_that_is_not_finite_is_refused_where_lengths_are_free(tmp_path):
    with build_index(tmp_path / "free", **parts(5), normalised=False) as free:
        queries = unit(1, 2)
        queries[0, 0] = np.nan
        with pytest.raises(DataError, match="query 0 has length nan; expected a finite vector"):
            search(free, queries, 3)


def test_query_ids_must_be_as_many_as_the_queries_and_differ(index):
    with pytest.raises(ShapeError, match="query_ids"):
        search_run(index, unit(1, 2), ["q"], 3)
    with pytest.raises(DataError, match="query 'q' comes twice"):
        search_run(index, unit(1, 2), ["q", "q"], 3)


@pytest.mark.parametrize("factory", ["Flat", "HNSW4", "IVF8,Flat", "IVF8,PQ8x4fs"])
def test_a_filter_that_nothing_meets_finds_nothing_in_any_family(tmp_path, factory):
    made = parts(600)
    made["metadata"] = [{"kind": "a" if row % 2 else "b"} for row in range(600)]
    with build_index(tmp_path / "index", **made, factory=factory) as index:
        assert search(index, unit(1, 3), 3, filters={"kind": "none of them"}) == [[], [], []]
        assert len(search(index, unit(1, 3), 3, filters={"kind": "a"})[0]) == 3


def test_a_few_deletions_do_not_leave_the_structure(tmp_path):
    """Though it missed its recall under every filter that was tried."""
    made = parts(3000)
    build_index(tmp_path / "index", **made, factory="IVF64,Flat").close()
    with writing(tmp_path / "index") as index:
        commit(index, {"filter_from": 1.0})
    delete(tmp_path / "index", made["ids"][:3])
    with open_index(tmp_path / "index") as index:
        rows, _scores = neighbours(index, unit(1, 50), 5, settings=SearchSettings(nprobe=1))
        exact, _scores = neighbours(index, unit(1, 50), 5, exact=True)
    assert not np.array_equal(rows, exact)
    assert not {0, 1, 2} & set(rows.ravel().tolist())
