from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.losses.rows import gaussian_rows, gradients
from textcl.errors import ConfigError, ShapeError
from textcl.losses import VICReg

WEIGHT = st.floats(0.0, 30.0)


@given(
    batch=st.integers(2, 6),
    width=st.integers(1, 5),
    weights=st.tuples(WEIGHT, WEIGHT, WEIGHT),
    spread=st.floats(0.1, 2.0),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_vicreg_matches_the_definition_in_any_order(batch, width, weights, spread, seed, data):
    first, second = (spread * rows for rows in gaussian_rows(seed, batch, batch, width=width))
    expected = oracles.vicreg(first.tolist(), second.tolist(), *weights)
    order = data.draw(st.permutations(range(batch)))
    loss = VICReg(*weights)
    assert loss(first, second).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert loss(first[order], second[order]).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_gradient_passes_a_finite_difference_check():
    inputs = [(0.7 * rows).requires_grad_() for rows in gaussian_rows(3, 5, 5, width=4)]
    assert torch.autograd.gradcheck(VICReg(2.0, 3.0, 1.5), inputs)


def test_every_option_matters_and_the_defaults_are_the_papers():
    rows = [0.5 * matrix for matrix in gaussian_rows(1, 8, 8)]
    losses = [VICReg(), VICReg(invariance=1.0), VICReg(variance=1.0), VICReg(covariance=2.0)]
    assert len({round(loss(*rows).item(), 6) for loss in losses}) == 4
    assert VICReg()(*rows).item() == VICReg(25.0, 25.0, 1.0)(*rows).item()


def test_equal_views_with_spread_in_independent_dimensions_cost_nothing():
    rows = 2 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert VICReg()(rows, rows).item() == pytest.approx(0, abs=1e-6)
    assert VICReg(1.0, 0.0, 0.0)(rows, rows + 3).item() == pytest.approx(9)


def test_collapsed_rows_cost_their_missing_spread_and_stay_finite():
    rows = torch.ones(4, 3)
    assert VICReg(variance=1.0)(rows, rows).item() == pytest.approx(2 * (1 - 0.01))
    assert all(slopes.isfinite().all() for slopes in gradients(VICReg(), rows, rows))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    rows = [(0.5 * matrix).to(dtype) for matrix in gaussian_rows(6, 6, 6)]
    loss = VICReg(covariance=25.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(*rows)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss(*(matrix.double() for matrix in rows)).item(), rel=1e-5)


@pytest.mark.parametrize("name", ["invariance", "variance", "covariance"])
def test_a_weight_below_zero_is_refused(name):
    with pytest.raises(ConfigError, match=rf"^{name}: expected a number of at least 0, got -1\.0$"):
        VICReg(**{name: -1.0})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 3), (1, 3)], r"^first: expected shape \(B, D\), B at least 2, got \(1, 3\)$"),
        ([(2, 3), (2, 4)], r"^second: expected shape \(2, 3\), as the first has, got \(2, 4\)$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, message):
    with pytest.raises(ShapeError, match=message):
        VICReg()(*(torch.ones(shape) for shape in shapes))
