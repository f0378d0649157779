from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation.neighbours import nearest_rows
from textcl.evaluation.vectors import pair_cosines, unit_rows


def few_directions(seed, count):
    """Rows in so few directions that many cosines tie."""
    rows = np.random.default_rng(seed).integers(-1, 2, size=(count, 3)).astype(np.float64)
    rows[(rows == 0).all(axis=1)] = 1
    return rows


def nearest(query, rows, k, without=None):
    """(row, cosine) by cosine descending, then by row."""
    scored = [(-oracles.grain(oracles.cosine(query, row)), place) for place, row in enumerate(rows)]
    return [(place, -score) for score, place in sorted(scored) if place != without][:k]


@given(st.integers(0, 10_000), st.integers(3, 14), st.integers(1, 5), st.data())
def test_neighbours_equal_a_sort_of_all_with_ties_by_row(seed, count, chunk_rows, data):
    rows, queries = few_directions(seed, count), few_directions(seed + 1, 4)
    k = data.draw(st.integers(1, count - 1))
    found, cosines = nearest_rows(unit_rows(queries, "q"), unit_rows(rows, "r"), k, chunk_rows=chunk_rows)
    for place, query in enumerate(queries.tolist()):
        expected = nearest(query, rows.tolist(), k)
        assert found[place].tolist() == [row for row, _cosine in expected]
        assert cosines[place] == pytest.approx([cosine for _row, cosine in expected], abs=1e-6)
    among, _cosines = nearest_rows(unit_rows(rows, "r"), unit_rows(rows, "r"), k, among_themselves=True)
    for place, row in enumerate(rows.tolist()):
        assert among[place].tolist() == [other for other, _cosine in nearest(row, rows.tolist(), k, without=place)]


def test_a_row_is_never_its_own_neighbour_even_among_equals():
    rows = np.ones((30, 2)) / 2**0.5
    found, _cosines = nearest_rows(rows, rows, 3, among_themselves=True)
    assert found[0].tolist() == [1, 2, 3]
    assert found[1].tolist() == [0, 2, 3]
    assert found[29].tolist() == [0, 1, 2]


@pytest.mark.parametrize(("k", "among", "most"), [(0, False, 4), (5, False, 4), (4, True, 3)])
def test_more_neighbours_than_there_are_is_refused(k, among, most):
    rows = np.eye(4)
    with pytest.raises(ConfigError, match=f"^k: expected a number of neighbours from 1 to {most}"):
        nearest_rows(rows, rows, k, among_themselves=among)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_rows_without_a_direction_are_named(value):
    rows = np.ones((4, 2), np.float32)
    rows[2] = value
    with pytest.raises(DataError, match=r"^text 3: its embedding is 0 or not finite; encode it again"):
        unit_rows(rows, "rows")


def test_rows_that_are_no_matrix_are_refused():
    with pytest.raises(ShapeError, match=r"^rows: expected shape \(N, D\) with N at least 2"):
        unit_rows(np.ones((1, 3)), "rows", least=2)
    with pytest.raises(ShapeError, match=r"^rows"):
        unit_rows(np.ones((3, 0)), "rows")
    with pytest.raises(ShapeError, match=r"^first"):
        pair_cosines(np.ones(3), np.ones(3))
