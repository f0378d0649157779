from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers.util import quantize_embeddings

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation.grid import BYTES, keep_dimensions, quality_grid, quantise


def rows_of(seed, count=40, width=12):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


@given(st.integers(0, 1000), st.integers(1, 12))
def test_kept_dimensions_are_the_first_at_unit_length(seed, dimension):
    rows = rows_of(seed, count=4)
    for row, kept in zip(rows.tolist(), keep_dimensions(rows, dimension).tolist(), strict=True):
        length = math.sqrt(sum(value * value for value in row[:dimension]))
        assert kept == pytest.approx([value / length for value in row[:dimension]], abs=1e-6)


@given(st.integers(0, 1000))
def test_int8_is_the_nearest_of_256_levels_between_the_calibrations_extremes(seed):
    rows, sample = rows_of(seed, count=5, width=3), rows_of(seed + 1, count=6, width=3)
    found = quantise(rows, "int8", sample)
    for place in range(3):
        low, high = (float(pick(sample[:, place])) for pick in (min, max))
        levels = [low + (high - low) * level / 255 for level in range(256)]
        for value, stored in zip(rows[:, place].tolist(), found[:, place].tolist(), strict=True):
            nearest = min(abs(value - level) for level in levels)
            assert abs(value - stored) == pytest.approx(nearest, abs=1e-6)


def test_int8_without_calibration_loses_half_a_level_at_most():
    rows = rows_of(0)
    step = (rows.max(axis=0) - rows.min(axis=0)) / 255
    assert (np.abs(quantise(rows, "int8") - rows) <= step / 2 + 1e-6).all()
    constant = np.full((4, 2), 0.25, np.float32)
    assert np.array_equal(quantise(constant, "int8"), constant)


def test_binary_keeps_the_signs_that_sentence_transformers_packs():
    rows = rows_of(1, width=16)
    rows[0, 0] = -0.0
    found = quantise(rows, "binary")
    packed = quantize_embeddings(rows, "ubinary")
    bits = np.unpackbits(packed, axis=1)
    bits[0, 0] = 1  # they put 0 below; here it is above
    assert np.array_equal(found > 0, bits.astype(bool))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    assert packed.shape[1] == BYTES["binary"](16)


def test_float16_is_the_nearest_half():
    rows = rows_of(2)
    assert np.array_equal(quantise(rows, "float16"), rows.astype(np.float16).astype(np.float32))
    assert quantise(rows, "float32") is rows


def test_bytes_are_those_of_a_stored_vector():
    assert {name: of(384) for name, of in BYTES.items()} == {
        "float32": 1536, "float16": 768, "int8": 384, "binary": 48,
    }  # fmt: skip
    assert BYTES["binary"](9) == 2


def measure(documents, queries):
    return {"best": float((queries @ documents.T).max(axis=1).mean()), "width": documents.shape[1]}


def test_every_cell_is_what_the_measure_says_of_its_vectors():
    documents, queries = rows_of(3), rows_of(4, count=7)
    cells = quality_grid(documents, queries, measure, dimensions=[12, 4])
    assert [(cell.dimension, cell.quantisation, cell.bytes) for cell in cells] == [
        *((12, "float32", 48), (12, "float16", 24), (12, "int8", 12), (12, "binary", 2)),
        *((4, "float32", 16), (4, "float16", 8), (4, "int8", 4), (4, "binary", 1)),
    ]
    for cell in cells:
        stored = quantise(keep_dimensions(documents, cell.dimension), cell.quantisation)
        assert cell.measures == measure(stored, keep_dimensions(queries, cell.dimension))
        assert cell.to_json()["measures"]["width"] == cell.dimension
    assert len({cell.measures["best"] for cell in cells}) == 8


def test_queries_are_stored_coarsely_only_if_asked_for_and_calibration_counts():
    documents, queries = rows_of(5), rows_of(6, count=7)
    one = {"dimensions": [12], "quantisations": ["int8"]}
    (plain,) = quality_grid(documents, queries, measure, **one)
    (both,) = quality_grid(documents, queries, measure, quantise_queries=True, **one)
    (other,) = quality_grid(documents, queries, measure, calibration=rows_of(7, count=5), **one)
    assert len({cell.measures["best"] for cell in (plain, both, other)}) == 3


def test_settings_and_vectors_that_make_no_grid_are_refused():
    rows = rows_of(8)
    for setting, fault in (
        ({"dimensions": [13]}, "dimensions: expected a number from 1 to 12, the encoder's own, got 13"),
        ({"dimensions": [0]}, "dimensions: expected a number from 1 to 12"),
        ({"dimensions": []}, "dimensions: expected at least one"),
        ({"dimensions": [4], "quantisations": ["int4"]}, "quantisations: expected one of float32, float16, int8, bin"),
        ({"dimensions": [4], "quantisations": []}, "quantisations: expected at least one"),
    ):
        with pytest.raises(ConfigError, match=f"^{fault}"):
            quality_grid(rows, rows, measure, **setting)
    with pytest.raises(ConfigError, match=r"^quantisations"):
        quantise(rows, "pq")
    with pytest.raises(ShapeError, match=r"^queries"):
        quality_grid(rows, rows[:, :5], measure, dimensions=[4])
    with pytest.raises(ShapeError, match=r"^calibration"):
        quantise(rows, "int8", rows[:0])
    gone = rows.copy()
    gone[3, :4] = 0
    with pytest.raises(DataError, match=r"^text 4: its embedding is 0"):
        quality_grid(gone, rows, measure, dimensions=[4])
