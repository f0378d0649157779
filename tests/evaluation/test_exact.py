from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation.exact import top_documents


def gaussian(seed, rows, width):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def lattice(seed, rows, width):
    """Vectors of few small numbers: many inner products are exactly equal, some are 0."""
    return np.random.default_rng(seed).integers(-1, 2, size=(rows, width)).astype(np.float32)


def names(prefix, count, seed=0):
    return [f"{prefix}{number}" for number in np.random.default_rng(seed).permutation(count)]


@settings(max_examples=60, deadline=None)
@given(
    make=st.sampled_from([gaussian, lattice]),
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 30),
    k=st.integers(1, 35),
    chunk_rows=st.integers(1, 40),
)
def test_exact_search_equals_exact_arithmetic_for_every_chunk_size(make, seed, rows, k, chunk_rows):
    queries, documents = make(seed, 3, 4), make(seed + 1, rows, 4)
    doc_ids = names("d", rows, seed)
    run = top_documents(queries, ["x", "y", "z"], documents, doc_ids, k, chunk_rows=chunk_rows)
    expected = {
        query_id: oracles.exact_top(query, documents, doc_ids, k)
        for query_id, query in zip(["x", "y", "z"], queries, strict=True)
    }
    assert run == expected


def test_chunk_size_and_number_of_queries_change_nothing_at_a_real_width():
    queries, documents = gaussian(0, 300, 96), gaussian(1, 700, 96)
    documents[100:140] = documents[3]  # equal documents in other places of other chunks
    query_ids, doc_ids = names("q", 300), names("d", 700)
    whole = top_documents(queries, query_ids, documents, doc_ids, 20, chunk_rows=700)
    assert top_documents(queries, query_ids, documents, doc_ids, 20, chunk_rows=37) == whole
    for row in (0, 299):
        alone = top_documents(queries[row : row + 1], query_ids[row : row + 1], documents, doc_ids, 20)
        assert alone[query_ids[row]] == whole[query_ids[row]]


def test_ties_at_the_cutoff_are_settled_by_id_and_not_by_chunk():
    documents = np.ones((6, 2), dtype=np.float32)
    doc_ids = ["c", "f", "a", "e", "b", "d"]
    for chunk_rows in range(1, 7):
        run = top_documents(documents[:1], ["q"], documents, doc_ids, 2, chunk_rows=chunk_rows)
        assert run == {"q": [("f", 2.0), ("e", 2.0)]}


def test_documents_may_be_memory_mapped(tmp_path):
    documents = gaussian(2, 50, 8)
    np.save(tmp_path / "vectors.npy", documents)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    queries, doc_ids = gaussian(3, 2, 8), names("d", 50)
    expected = top_documents(queries, ["a", "b"], documents, doc_ids, 5)
    assert top_documents(queries, ["a", "b"], mapped, doc_ids, 5, chunk_rows=7) == expected


def test_progress_is_told_of_every_document():
    from contextlib import contextmanager

    told = []

    @contextmanager
    def listen(description, total):
        told.append(total)
        yield told.append

    top_documents(gaussian(0, 1, 2), ["q"], gaussian(1, 5, 2), names("d", 5), 1, chunk_rows=2, progress=listen)
    assert told == [5, 2, 2, 1]


def test_no_query_gives_an_empty_run():
    assert top_documents(gaussian(0, 0, 4), [], gaussian(1, 3, 4), names("d", 3), 2) == {}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_names_its_document_or_query(value):
    good, bad = gaussian(0, 4, 3), gaussian(1, 4, 3)
    bad[2, 1] = value
    with pytest.raises(DataError, match="document 'd2': its embedding is not finite"):
        top_documents(good, list("abcd"), bad, ["d0", "d1", "d2", "d3"], 2, chunk_rows=2)
    with pytest.raises(DataError, match="query 'c': its embedding is not finite"):
        top_documents(bad, list("abcd"), good, ["d0", "d1", "d2", "d3"], 2)


@pytest.mark.parametrize("field", ["k", "chunk_rows"])
def test_a_count_below_one_is_refused_by_name(field):
    settings_of = {"k": 1, "chunk_rows": 1, field: 0}
    with pytest.raises(ConfigError, match=f"^{field}: expected a whole number of at least 1, got 0"):
        top_documents(gaussian(0, 1, 2), ["q"], gaussian(1, 1, 2), ["d"], **settings_of)


def test_wrong_shapes_repeated_ids_and_no_documents_are_refused():
    queries, documents = gaussian(0, 1, 2), gaussian(1, 2, 2)
    with pytest.raises(ShapeError, match="documents"):
        top_documents(queries, ["q"], gaussian(1, 2, 3), ["a", "b"], 1)
    with pytest.raises(ShapeError, match="queries"):
        top_documents(queries, ["q", "r"], documents, ["a", "b"], 1)
    with pytest.raises(DataError, match="document 'a' comes twice"):
        top_documents(queries, ["q"], documents, ["a", "a"], 1)
    with pytest.raises(DataError, match="no document to rank"):
        top_documents(queries, ["q"], documents[:0], [], 1)


@settings(max_examples=60, deadline=None)
@given(
    make=st.sampled_from([gaussian, lattice]),
    seed=st.integers(0, 10_000),
    rows=st.integers(70, 400),
    k=st.integers(1, 40),
    chunk_rows=st.integers(5, 450),
    exponent=st.integers(-60, 60),
)
def test_documents_kept_by_float32_scores_are_those_of_exact_arithmetic(make, seed, rows, k, chunk_rows, exponent):
    queries, documents = make(seed, 3, 4), make(seed + 1, rows, 4) * np.float32(2.0) ** exponent
    doc_ids = names("d", rows, seed)
    run = top_documents(queries, ["x", "y", "z"], documents, doc_ids, k, chunk_rows=chunk_rows)
    expected = {
        query_id: oracles.exact_top(query, documents, doc_ids, k)
        for query_id, query in zip(["x", "y", "z"], queries, strict=True)
    }
    assert run == expected


def test_more_equal_documents_than_are_kept_are_settled_by_id():
    documents = np.repeat(gaussian(5, 1, 8), 500, axis=0)
    doc_ids = names("d", 500)
    run = top_documents(documents[:1], ["q"], documents, doc_ids, 3, chunk_rows=64)
    assert [doc_id for doc_id, _score in run["q"]] == sorted(doc_ids, reverse=True)[:3]


def test_scores_that_float32_rounds_out_of_order_come_in_the_order_of_float64():
    wide = np.random.default_rng(7).normal(size=(4000, 64))
    wide -= wide @ wide[0][:, None] / (wide[0] @ wide[0]) * wide[0]  # the query's part is the same for all ...
    documents = (wide * 3 + wide[0] + np.linspace(0, 3e-6, 4000)[:, None] * wide[0]).astype(np.float32)
    query, doc_ids = wide[:1].astype(np.float32), names("d", 4000)
    documents += query  # ... and nearly so here: hundreds of scores lie within float32's rounding of each other
    run = top_documents(query, ["q"], documents, doc_ids, 10, chunk_rows=512)
    assert run["q"] == oracles.exact_top(query[0], documents, doc_ids, 10)


def test_scores_beyond_float32_are_infinite_and_tie():
    documents = np.full((100, 2), 3e38, dtype=np.float32)
    documents[::2, 1] *= -1
    run = top_documents(documents[1:2], ["q"], documents, names("d", 100), 60)
    assert [score for _doc_id, score in run["q"]] == [np.inf] * 50 + [0.0] * 10
