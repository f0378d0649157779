from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.losses.rows import as_mask, drawn_masks, drawn_positives, gaussian_rows
from textcl.errors import ConfigError, ShapeError
from textcl.losses import Sigmoid


@given(
    batch=st.integers(1, 6),
    extra=st.integers(0, 5),
    temperature=st.floats(0.05, 2.0),
    bias=st.floats(-12.0, 3.0),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_the_sigmoid_loss_matches_the_definition(batch, extra, temperature, bias, seed, data):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, extra)
    same, same_negatives = drawn_masks(data, batch, extra)
    rows = [matrix.tolist() for matrix in (anchor, positive, negatives)]
    masks = [same, same_negatives, drawn_positives(data, batch)]
    expected = oracles.sigmoid_loss(*rows[:2], temperature, bias, rows[2], *masks)
    loss = Sigmoid(temperature, bias).double()
    found = loss(anchor, positive, negatives if extra else None, *map(as_mask, masks))
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(expected, rel=1e-6)  # the bias was a float32


@given(batch=st.integers(1, 6), seed=st.integers(0, 2**31), data=st.data())
def test_the_order_of_the_batch_changes_nothing(batch, seed, data):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, 3)
    same, same_negatives = (as_mask(mask) for mask in drawn_masks(data, batch, 3))
    order = data.draw(st.permutations(range(batch)))
    positives = as_mask(drawn_positives(data, batch))
    loss = Sigmoid(0.2, -2.0)
    masks = [None, None] if same is None else [same[order][:, order], same_negatives[order].flip(1)]
    masks.append(None if positives is None else positives[order][:, order])
    permuted = loss(anchor[order], positive[order], negatives.flip(0), *masks)
    expected = loss(anchor, positive, negatives, same, same_negatives, positives)
    assert permuted.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_gradient_passes_a_finite_difference_check():
    inputs = [rows.requires_grad_() for rows in gaussian_rows(3, 4, 4, 2, width=5)]
    same = torch.eye(4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    loss = Sigmoid(bias=-1.0).double()
    learned = [loss.temperature.logarithm, loss.bias]
    masks = (same, torch.eye(4, 2, dtype=torch.bool))
    # The check moves the parameters in place, so that they need not be handed over.
    assert torch.autograd.gradcheck(lambda *given: loss(*given[:3], *masks), (*inputs, *learned))


def test_every_option_matters_and_the_defaults_are_the_papers():
    anchor, positive, negatives = gaussian_rows(5, 6, 6, 4)
    same = torch.eye(6, dtype=torch.bool)
    same[1, 4] = same[4, 1] = True
    losses = [
        Sigmoid()(anchor, positive).item(),
        Sigmoid(0.3)(anchor, positive).item(),
        Sigmoid(bias=-2.0)(anchor, positive).item(),
        Sigmoid(bias=-2.0)(anchor, positive, negatives).item(),
        Sigmoid(bias=-2.0)(anchor, positive, same=same).item(),
        Sigmoid(bias=-2.0)(anchor, positive, negatives, same_negatives=torch.eye(6, 4, dtype=torch.bool)).item(),
    ]
    assert len({round(loss, 6) for loss in losses}) == len(losses)
    assert Sigmoid().bias.item() == -10.0
    assert Sigmoid().temperature().item() == pytest.approx(0.1)


def test_both_the_bias_and_the_temperature_are_learned():
    loss = Sigmoid()
    loss(*gaussian_rows(1, 4, 4)).backward()
    assert {name for name, _parameter in loss.named_parameters()} == {"bias", "temperature.logarithm"}
    assert all(parameter.grad != 0 for parameter in loss.parameters())


def test_masked_terms_drop_out_with_their_gradient():
    anchor, positive, negatives = gaussian_rows(2, 1, 1, 3)
    negatives.requires_grad_()
    loss = Sigmoid(0.1, 0.0)
    masked = loss(anchor, positive, negatives, same_negatives=torch.tensor([[False, True, True]]))
    assert masked.item() == pytest.approx(loss(anchor, positive, negatives[:1]).item(), rel=1e-12)
    masked.backward()
    assert negatives.grad[0].any()
    assert not negatives.grad[1:].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(dtype):
    anchor, positive, negatives = (rows.to(dtype) for rows in gaussian_rows(6, 4, 4, 3))
    wide = Sigmoid(0.01)(anchor.double(), positive.double(), negatives.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = Sigmoid(0.01)(anchor, positive, negatives)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(wide.item(), rel=1e-4)


@pytest.mark.parametrize("bias", [math.nan, math.inf])
def test_a_bias_that_is_not_finite_is_refused(bias):
    with pytest.raises(ConfigError, match=r"^bias: expected a finite number, got "):
        Sigmoid(bias=bias)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ShapeError, match=r"^positive: expected shape \(2, 3\), as the anchor has, got \(3, 3\)$"):
        Sigmoid()(torch.ones(2, 3), torch.ones(3, 3))
