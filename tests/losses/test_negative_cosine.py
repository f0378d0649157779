from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.losses.rows import gaussian_rows, gradients
from textcl.errors import ShapeError
from textcl.losses import NegativeCosine


@given(batch=st.integers(1, 6), width=st.integers(1, 6), seed=st.integers(0, 2**31), data=st.data())
def test_negative_cosine_matches_the_definition_in_any_order(batch, width, seed, data):
    prediction, target = gaussian_rows(seed, batch, batch, width=width)
    expected = pytest.approx(oracles.negative_cosine(prediction.tolist(), target.tolist()), rel=1e-9, abs=1e-12)
    order = data.draw(st.permutations(range(batch)))
    assert NegativeCosine()(prediction, target).item() == expected
    assert NegativeCosine()(prediction[order], target[order]).item() == expected


def test_the_gradient_passes_a_finite_difference_check_on_both_sides():
    inputs = [rows.requires_grad_() for rows in gaussian_rows(3, 4, 4, width=5)]
    assert torch.autograd.gradcheck(NegativeCosine(), inputs)
    assert all(slopes.any() for slopes in gradients(NegativeCosine(), *inputs))


def test_equal_rows_give_minus_one_and_opposite_rows_one():
    (rows,) = gaussian_rows(0, 4)
    assert NegativeCosine()(rows, 3 * rows).item() == pytest.approx(-1)
    assert NegativeCosine()(rows, -rows).item() == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    prediction, target = (rows.to(dtype) for rows in gaussian_rows(6, 4, 4))
    loss = NegativeCosine()(prediction, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(NegativeCosine()(prediction.double(), target.double()).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(0, 3), (0, 3)], r"^prediction: expected shape \(B, D\), B at least 1, got \(0, 3\)$"),
        ([(2, 3), (2, 4)], r"^target: expected shape \(2, 3\), as the prediction has, got \(2, 4\)$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, message):
    with pytest.raises(ShapeError, match=message):
        NegativeCosine()(*(torch.ones(shape) for shape in shapes))
