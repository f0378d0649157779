from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation import geometry
from textcl.evaluation.geometry import (
    alignment,
    effective_rank,
    hub_skew,
    length_spread,
    mean_cosine,
    measure_geometry,
    robin_hood,
    uniformity,
)
from textcl.losses import hypersphere
from textcl.training.health import measure_health


def rows_of(seed, count, width=6, flat=1):
    """Rows that vary more in some dimensions than in others, not of unit length."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) * np.linspace(1, 0.1, width) ** flat + 0.5


CASES = given(st.integers(0, 10_000), st.integers(3, 12), st.integers(2, 8))


@CASES
def test_each_equals_its_definition_in_loops(seed, count, width):
    rows, others = rows_of(seed, count, width), rows_of(seed + 1, count, width)
    plain, partners = rows.tolist(), others.tolist()
    assert alignment(rows, others) == pytest.approx(oracles.alignment(plain, partners, 2.0), abs=1e-9)
    assert alignment(rows, others, 0.5) == pytest.approx(oracles.alignment(plain, partners, 0.5), abs=1e-6)
    assert uniformity(rows) == pytest.approx(oracles.uniformity(plain, 2.0), abs=1e-9)
    assert uniformity(rows, 5.0) == pytest.approx(oracles.uniformity(plain, 5.0), abs=1e-9)
    cosines = [oracles.cosine(plain[i], plain[j]) for i in range(count) for j in range(count) if i != j]
    assert mean_cosine(rows) == pytest.approx(sum(cosines) / len(cosines), abs=1e-9)


@CASES
def test_each_is_what_training_measures(seed, count, width):
    rows, others = rows_of(seed, count, width), rows_of(seed + 1, count, width)
    first, second = torch.from_numpy(rows), torch.from_numpy(others)
    assert alignment(rows, others) == pytest.approx(hypersphere.alignment(first, second).item(), abs=1e-9)
    assert uniformity(rows, 3.0) == pytest.approx(hypersphere.uniformity(first, 3.0).item(), abs=1e-9)
    health = measure_health(first, second)
    assert alignment(rows, others) == pytest.approx(health["alignment"], abs=1e-9)
    assert uniformity(rows) == pytest.approx(health["uniformity"], abs=1e-9)
    assert effective_rank(rows) == pytest.approx(health["effective_rank"], abs=1e-9)
    assert mean_cosine(rows) == pytest.approx(health["mean_cosine"], abs=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 30), st.integers(1, 9))
def test_blocks_change_no_uniformity(seed, count, block_rows):
    rows = rows_of(seed, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "_BLOCK_ROWS", block_rows)
        assert uniformity(rows) == pytest.approx(oracles.uniformity(rows.tolist(), 2.0), abs=1e-9)


def test_effective_rank_counts_the_dimensions_that_rows_vary_in():
    corners = np.concatenate([np.eye(6), -np.eye(6)])
    assert effective_rank(corners) == pytest.approx(6)
    assert effective_rank(corners[[0, 6]]) == pytest.approx(1)
    assert effective_rank(np.ones((5, 4)) * np.arange(1, 6)[:, None]) == 0
    values = np.linalg.svd(corners[:7] - corners[:7].mean(axis=0), compute_uv=False)
    shares = [value / sum(values) for value in values.tolist() if value > 1e-6]
    assert effective_rank(corners[:7]) == pytest.approx(math.exp(-sum(share * math.log(share) for share in shares)))


def k_occurrences(rows, k):
    """How often each row is among the k nearest of others; equal ones by row."""
    counts = [0] * len(rows)
    for own in range(len(rows)):
        scored = [
            (-oracles.grain(oracles.cosine(rows[own], rows[other])), other)
            for other in range(len(rows)) if other != own
        ]  # fmt: skip
        for _score, other in sorted(scored)[:k]:
            counts[other] += 1
    return counts


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(5, 15), st.integers(1, 4))
def test_hubs_and_near_duplicates_equal_their_definitions(seed, count, k):
    rows = np.random.default_rng(seed).integers(-2, 3, size=(count, 3)).astype(np.float64)
    rows[(rows == 0).all(axis=1)] = 1
    found = measure_geometry(rows, k=k, duplicate_cosine=0.9)
    counts = k_occurrences(rows.tolist(), k)
    assert sum(counts) == count * k
    mean = sum(counts) / count
    second, third = (sum((one - mean) ** power for one in counts) / count for power in (2, 3))
    assert found.hub_skew == pytest.approx(third / second**1.5 if second else 0.0, abs=1e-9)
    assert found.robin_hood == pytest.approx(sum(abs(one - mean) for one in counts) / 2 / sum(counts), abs=1e-9)
    assert found.never_near_fraction == pytest.approx(counts.count(0) / count)
    near = sum(any(oracles.cosine(rows[i], rows[j]) >= 0.9 for j in range(count) if j != i) for i in range(count))
    assert found.near_duplicate_fraction == pytest.approx(near / count)


def test_a_hub_is_seen_and_equal_shares_are_none():
    assert hub_skew(np.array([3, 3, 3])) == 0.0
    assert robin_hood(np.array([3, 3, 3])) == 0.0
    hub = np.array([10] + [0] * 9)
    assert hub_skew(hub) == pytest.approx(float(scipy.stats.skew(hub)))
    assert robin_hood(hub) == pytest.approx(0.9)


def test_rows_off_the_centre_have_more_hubs_in_more_dimensions():
    few, many = (measure_geometry(np.random.default_rng(0).normal(0.7, 1, size=(500, width))) for width in (3, 300))
    assert many.hub_skew > few.hub_skew + 1
    assert many.robin_hood > few.robin_hood


def test_the_spread_of_lengths_is_relative_and_nothing_for_unit_lengths():
    assert length_spread(np.array([1, 3], np.float32)) == pytest.approx(0.5)
    assert length_spread(np.array([10, 30], np.float32)) == pytest.approx(0.5)
    assert length_spread(np.array([1, 1 + 6e-8, 1 - 6e-8], np.float32)) == 0.0
    found = measure_geometry(rows_of(0, 12), lengths=np.arange(1, 13, dtype=np.float32))
    assert (found.length_mean, found.length_spread) == (6.5, pytest.approx(np.arange(1, 13).std() / 6.5))


def test_what_was_not_given_is_not_measured():
    found = json.loads(json.dumps(measure_geometry(rows_of(0, 12)).to_json()))
    assert (found["alignment"], found["length_mean"], found["length_spread"]) == (None, None, None)
    assert (found["texts"], found["dimension"], found["k"]) == (12, 6, 10)
    assert measure_geometry(rows_of(0, 12), partners=rows_of(1, 12)).alignment == pytest.approx(
        alignment(rows_of(0, 12), rows_of(1, 12))
    )


def test_settings_and_shapes_out_of_range_are_refused():
    rows = rows_of(0, 12)
    for call, fault in (
        (lambda: measure_geometry(rows, k=12), "k: expected a number of neighbours from 1 to 11"),
        (lambda: measure_geometry(rows, duplicate_cosine=0.0), r"duplicate_cosine: expected a cosine in \(0, 1\]"),
        (lambda: alignment(rows, rows, 0.0), "alpha: expected a number above 0"),
        (lambda: uniformity(rows, -1.0), "t: expected a number above 0"),
    ):
        with pytest.raises(ConfigError, match=f"^{fault}"):
            call()
    for call, fault in (
        (lambda: measure_geometry(rows[:2]), "embeddings"),
        (lambda: measure_geometry(rows, partners=rows[:5]), "second"),
        (lambda: measure_geometry(rows, lengths=np.ones(3, np.float32)), "lengths"),
        (lambda: uniformity(rows[:1]), "embeddings"),
    ):
        with pytest.raises(ShapeError, match=f"^{fault}: "):
            call()
    with pytest.raises(DataError, match=r"^text 1: its embedding is 0"):
        measure_geometry(rows * 0)
