from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.losses.rows import gaussian_rows, gradients
from textcl.errors import ConfigError, ShapeError
from textcl.losses import BarlowTwins


@given(
    batch=st.integers(2, 6),
    width=st.integers(1, 5),
    weight=st.floats(0.0, 1.0),
    scale=st.floats(0.01, 2.0),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_barlow_twins_matches_the_definition_in_any_order(batch, width, weight, scale, seed, data):
    first, second = gaussian_rows(seed, batch, batch, width=width)
    expected = oracles.barlow_twins(first.tolist(), second.tolist(), weight, scale)
    order = data.draw(st.permutations(range(batch)))
    loss = BarlowTwins(weight, scale)
    assert loss(first, second).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert loss(first[order], second[order]).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_gradient_passes_a_finite_difference_check():
    inputs = [rows.requires_grad_() for rows in gaussian_rows(3, 5, 5, width=4)]
    assert torch.autograd.gradcheck(BarlowTwins(0.3, 0.5), inputs)


def test_every_option_matters_and_the_default_is_the_papers():
    rows = gaussian_rows(1, 8, 8)
    losses = [BarlowTwins()(*rows), BarlowTwins(0.05)(*rows), BarlowTwins(scale=0.1)(*rows)]
    assert len({round(loss.item(), 6) for loss in losses}) == 3
    assert BarlowTwins()(*rows).item() == BarlowTwins(0.005, 1.0)(*rows).item()


def test_views_that_agree_in_independent_dimensions_cost_nothing():
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert BarlowTwins(1.0)(rows, 7 * rows + 3).item() == pytest.approx(0, abs=1e-8)
    assert BarlowTwins(1.0)(rows, -rows).item() == pytest.approx(8, rel=1e-4)


def test_dimensions_that_never_move_cost_one_each_and_stay_finite():
    rows = torch.ones(4, 3)
    assert BarlowTwins()(rows, rows).item() == 3
    assert all(slopes.isfinite().all() for slopes in gradients(BarlowTwins(), rows, rows))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    rows = [matrix.to(dtype) for matrix in gaussian_rows(6, 6, 6)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = BarlowTwins(0.5)(*rows)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(BarlowTwins(0.5)(*(matrix.double() for matrix in rows)).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"off_diagonal_weight": -1.0}, r"^off_diagonal_weight: expected a number of at least 0, got -1\.0$"),
        ({"scale": 0.0}, r"^scale: expected a number above 0, got 0\.0$"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        BarlowTwins(**options)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 3), (1, 3)], r"^first: expected shape \(B, D\), B at least 2, got \(1, 3\)$"),
        ([(2, 3), (3, 3)], r"^second: expected shape \(2, 3\), as the first has, got \(3, 3\)$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, message):
    with pytest.raises(ShapeError, match=message):
        BarlowTwins()(*(torch.ones(shape) for shape in shapes))
