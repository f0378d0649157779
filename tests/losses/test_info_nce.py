from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tests import oracles
from textcl.errors import ConfigError, ShapeError
from textcl.losses import InfoNCE

SEEDS = st.integers(0, 2**32 - 1)


def gaussian_rows(seed, *counts, dtype=torch.float64):
    """(n, 8) rows for each count."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 8, generator=generator, dtype=dtype) for count in counts]


def symmetric_matrix(seed, size):
    drawn = torch.rand(size, size, generator=torch.Generator().manual_seed(seed)) < 0.3
    return drawn | drawn.T | torch.eye(size, dtype=torch.bool)


@given(
    batch=st.integers(1, 6),
    extra=st.integers(0, 5),
    temperature=st.floats(0.02, 2.0),
    symmetric=st.booleans(),
    same_side=st.booleans(),
    masked=st.booleans(),
    seed=SEEDS,
)
def test_info_nce_equals_the_definition_in_plain_loops(batch, extra, temperature, symmetric, same_side, masked, seed):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, extra)
    same = symmetric_matrix(seed, batch) if masked else None
    loops = {
        "negatives": negatives.tolist(),
        "same": None if same is None else same.tolist(),
        "same_side": same_side,
    }
    expected = oracles.info_nce(anchor.tolist(), positive.tolist(), temperature, **loops)
    if symmetric:
        expected = (expected + oracles.info_nce(positive.tolist(), anchor.tolist(), temperature, **loops)) / 2
    loss = InfoNCE(temperature, symmetric=symmetric, same_side=same_side)
    found = loss(anchor, positive, negatives if extra else None, same)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(seed=SEEDS, batch=st.integers(2, 6), symmetric=st.booleans(), same_side=st.booleans())
def test_the_order_of_the_batch_does_not_matter(seed, batch, symmetric, same_side):
    anchor, positive = gaussian_rows(seed, batch, batch)
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(seed))
    loss = InfoNCE(symmetric=symmetric, same_side=same_side)
    assert loss(anchor[order], positive[order]).item() == pytest.approx(loss(anchor, positive).item(), rel=1e-9)


@given(seed=SEEDS, batch=st.integers(1, 5))
def test_another_negative_never_lowers_the_loss(seed, batch):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, 3)
    loss = InfoNCE(0.1)
    assert loss(anchor, positive, negatives) >= loss(anchor, positive, negatives[:2]) - 1e-12


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("same_side", [False, True])
def test_the_gradient_passes_a_finite_difference_check(symmetric, same_side):
    anchor, positive, negatives = (rows.requires_grad_() for rows in gaussian_rows(1, 4, 4, 2))
    same = symmetric_matrix(5, 4)
    loss = InfoNCE(0.2, symmetric=symmetric, same_side=same_side)
    assert torch.autograd.gradcheck(lambda a, p, n: loss(a, p, n, same), (anchor, positive, negatives))


@pytest.mark.parametrize(
    "changed",
    [InfoNCE(0.1), InfoNCE(0.05, symmetric=True), InfoNCE(0.05, same_side=True)],
    ids=["temperature", "symmetric", "same_side"],
)
def test_every_setting_matters(changed):
    anchor, positive = gaussian_rows(3, 5, 5)
    assert changed(anchor, positive).item() != pytest.approx(InfoNCE(0.05)(anchor, positive).item(), rel=1e-3)


def test_rows_that_mean_the_same_are_no_negatives():
    anchor, positive = gaussian_rows(4, 3, 3)
    anchor[1], positive[1] = anchor[0], positive[0]
    same = torch.eye(3, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    loss = InfoNCE(0.05, symmetric=True, same_side=True)
    kept = loss(anchor[[0, 2]], positive[[0, 2]])
    # With the double masked, row 2 still sees both copies; rows 0 and 1 each see row 2 alone.
    masked, punished = loss(anchor, positive, same=same), loss(anchor, positive)
    assert masked < punished
    assert masked.item() != kept.item()
    assert loss(anchor[:2], positive[:2], same=same[:2, :2]).item() == 0.0


def test_the_own_positive_stays_also_where_the_mask_has_the_diagonal():
    anchor, positive = gaussian_rows(6, 4, 4)
    loss = InfoNCE(0.05, symmetric=True, same_side=True)
    diagonal = torch.eye(4, dtype=torch.bool)
    assert loss(anchor, positive, same=diagonal) == loss(anchor, positive, same=torch.zeros_like(diagonal))


def test_the_length_of_a_row_does_not_matter():
    anchor, positive = gaussian_rows(7, 4, 4)
    assert InfoNCE()(3 * anchor, positive / 5).item() == pytest.approx(InfoNCE()(anchor, positive).item(), rel=1e-12)


def test_a_plain_batch_is_the_cross_entropy_over_scaled_cosines():
    anchor, positive = gaussian_rows(8, 6, 6)
    cosines = F.normalize(anchor, dim=-1) @ F.normalize(positive, dim=-1).T
    assert torch.equal(InfoNCE(0.05)(anchor, positive), F.cross_entropy(cosines / 0.05, torch.arange(6)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_before_the_softmax(dtype):
    anchor, positive = gaussian_rows(9, 4, 4, dtype=torch.float32)
    loss = InfoNCE(0.01)(anchor.to(dtype), positive.to(dtype))
    assert loss.dtype == torch.float32
    assert loss.item() == InfoNCE(0.01)(anchor.to(dtype).float(), positive.to(dtype).float()).item()


def test_equal_rows_and_a_tiny_temperature_stay_finite():
    rows = torch.ones(4, 8)
    loss = InfoNCE(0.001, symmetric=True, same_side=True)(rows, rows)
    assert loss.item() == pytest.approx(torch.log(torch.tensor(7.0)).item(), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_0_is_refused(temperature):
    with pytest.raises(ConfigError, match=r"^temperature: expected a number above 0, got "):
        InfoNCE(temperature)


def test_shapes_that_do_not_fit_are_named():
    anchor, positive = gaussian_rows(10, 4, 3)
    with pytest.raises(ShapeError, match=r"^positive: expected shape \(4, 8\)"):
        InfoNCE()(anchor, positive)
    with pytest.raises(ShapeError, match=r"^negatives: expected shape \(K, 8\)"):
        InfoNCE()(anchor, anchor, torch.ones(2, 7))
    with pytest.raises(ShapeError, match=r"^same: expected shape \(4, 4\)"):
        InfoNCE()(anchor, anchor, same=torch.ones(3, 3, dtype=torch.bool))
