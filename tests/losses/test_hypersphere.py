from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.losses.rows import gaussian_rows, gradients
from textcl.errors import ConfigError, ShapeError
from textcl.losses import Uniformity, alignment, uniformity


@given(
    batch=st.integers(1, 6),
    width=st.integers(2, 6),
    alpha=st.floats(0.25, 4.0),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_alignment_matches_the_definition_in_any_order(batch, width, alpha, seed, data):
    first, second = gaussian_rows(seed, batch, batch, width=width)
    expected = pytest.approx(oracles.alignment(first.tolist(), second.tolist(), alpha), rel=1e-6)
    order = data.draw(st.permutations(range(batch)))
    assert alignment(first, second, alpha).item() == expected
    assert alignment(first[order], second[order], alpha).item() == expected


@given(
    rows=st.integers(2, 7), width=st.integers(1, 6), t=st.floats(0.1, 10.0), seed=st.integers(0, 2**31), data=st.data()
)
def test_uniformity_matches_the_definition_in_any_order(rows, width, t, seed, data):
    (embeddings,) = gaussian_rows(seed, rows, width=width)
    expected = pytest.approx(oracles.uniformity(embeddings.tolist(), t), rel=1e-9, abs=1e-12)
    order = data.draw(st.permutations(range(rows)))
    assert uniformity(embeddings, t).item() == expected
    assert uniformity(embeddings[order], t).item() == expected
    assert Uniformity(t)(embeddings).item() == expected


@pytest.mark.parametrize("option", [0.5, 1.0, 2.0, 3.0])
def test_the_gradients_pass_a_finite_difference_check(option):
    first, second = (rows.requires_grad_() for rows in gaussian_rows(3, 4, 4, width=5))
    assert torch.autograd.gradcheck(lambda *rows: alignment(*rows, option), (first, second))
    assert torch.autograd.gradcheck(Uniformity(option), (first,))


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_equal_pairs_are_aligned_with_a_finite_gradient(alpha):
    (rows,) = gaussian_rows(1, 4)
    assert alignment(rows, rows, alpha).item() == pytest.approx(0, abs=1e-9)
    found = gradients(lambda first, second: alignment(first, second, alpha), rows, rows)
    assert all(not slopes.any() for slopes in found)
    assert alignment(rows, -rows, alpha).item() == pytest.approx(2**alpha)


def test_rows_that_all_point_one_way_are_the_upper_bound_with_a_finite_gradient():
    for seed in range(30):  # some of them have a length just above 1, and would land above 0
        rows = gaussian_rows(seed, 1)[0].float().expand(3, -1)
        assert -1e-6 < uniformity(rows).item() <= 0
    assert gradients(uniformity, torch.ones(5, 3))[0].isfinite().all()


def test_a_sharp_kernel_does_not_underflow():
    rows = torch.eye(2)
    assert uniformity(rows, t=1000.0).item() == pytest.approx(-2000)
    assert gradients(lambda given: uniformity(given, 1000.0), rows)[0].isfinite().all()


def test_every_option_matters():
    first, second = gaussian_rows(1, 5, 5)
    assert alignment(first, second).item() == alignment(first, second, 2.0).item()
    assert alignment(first, second).item() != pytest.approx(alignment(first, second, 1.0).item())
    assert uniformity(first).item() == uniformity(first, 2.0).item() == Uniformity()(first).item()
    assert uniformity(first).item() != pytest.approx(uniformity(first, 1.0).item())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    first, second = (rows.to(dtype) for rows in gaussian_rows(6, 6, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [alignment(first, second), uniformity(first)]
    wide = [alignment(first.double(), second.double()).item(), uniformity(first.double()).item()]
    assert [value.dtype for value in found] == [torch.float32, torch.float32]
    assert [value.item() for value in found] == pytest.approx(wide, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rows: alignment(rows, rows, 0.0), r"^alpha: expected a number above 0, got 0\.0$"),
        (lambda rows: uniformity(rows, math.nan), r"^t: expected a number above 0, got nan$"),
        (lambda rows: Uniformity(-1.0), r"^t: expected a number above 0, got -1\.0$"),
    ],
)
def test_settings_out_of_range_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call(torch.ones(3, 2))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"^embeddings: expected shape \(N, D\), N at least 2, got \(1, 3\)$"):
        uniformity(torch.ones(1, 3))
    with pytest.raises(ShapeError, match=r"^first: expected shape \(B, D\), B at least 1, got \(0, 3\)$"):
        alignment(torch.ones(0, 3), torch.ones(0, 3))
    with pytest.raises(ShapeError, match=r"^second: expected shape \(2, 3\), as the first has, got \(3, 3\)$"):
        alignment(torch.ones(2, 3), torch.ones(3, 3))
