from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tests import oracles
from textcl.errors import ConfigError, ShapeError
from textcl.losses import InfoNCE

OPTIONS = st.fixed_dictionaries({"symmetric": st.booleans(), "same_side": st.booleans()})
ALL_OPTIONS = [(symmetric, same_side) for symmetric in (False, True) for same_side in (False, True)]
HALF_PRECISIONS = [torch.float16, torch.bfloat16]


def gaussian_rows(seed, *counts, width=8):
    """One (count, width) float64 tensor for each count."""
    generator = torch.Generator().manual_seed(seed % 2**31)
    return [torch.randn(count, width, dtype=torch.float64, generator=generator) for count in counts]


def drawn_same(data, batch):
    """A symmetric (B, B) relation with a true diagonal, as equal labels make it."""
    labels = data.draw(st.lists(st.integers(0, 3), min_size=batch, max_size=batch))
    return [[first == second for second in labels] for first in labels]


@given(
    batch=st.integers(1, 6),
    extra=st.integers(0, 5),
    temperature=st.floats(0.02, 2.0),
    seed=st.integers(0, 2**31),
    options=OPTIONS,
    masked=st.booleans(),
    data=st.data(),
)
def test_info_nce_matches_the_definition(batch, extra, temperature, seed, options, masked, data):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, extra)
    same = drawn_same(data, batch) if masked else None
    expected = oracles.info_nce(
        anchor.tolist(), positive.tolist(), temperature, negatives.tolist(), same=same, **options
    )
    loss = InfoNCE(temperature, **options)(
        anchor, positive, negatives if extra else None, None if same is None else torch.tensor(same)
    )
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(batch=st.integers(1, 6), seed=st.integers(0, 2**31), options=OPTIONS, data=st.data())
def test_the_order_of_the_batch_changes_nothing(batch, seed, options, data):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, 3)
    same = torch.tensor(drawn_same(data, batch))
    order = data.draw(st.permutations(range(batch)))
    loss = InfoNCE(0.1, **options)
    permuted = loss(anchor[order], positive[order], negatives.flip(0), same[order][:, order])
    assert permuted.item() == pytest.approx(loss(anchor, positive, negatives, same).item(), rel=1e-12, abs=1e-14)


@given(batch=st.integers(1, 5), extra=st.integers(0, 4), seed=st.integers(0, 2**31), temperature=st.floats(0.02, 2.0))
def test_another_negative_never_lowers_the_loss(batch, extra, seed, temperature):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, extra + 1)
    loss = InfoNCE(temperature)
    assert loss(anchor, positive, negatives) >= loss(anchor, positive, negatives[:extra])


@given(batch=st.integers(2, 5), seed=st.integers(0, 2**31), options=OPTIONS)
def test_the_length_of_an_embedding_changes_nothing(batch, seed, options):
    anchor, positive = gaussian_rows(seed, batch, batch)
    scales = torch.arange(1, batch + 1, dtype=torch.float64)[:, None]
    loss = InfoNCE(0.1, **options)
    assert loss(anchor * scales, positive / scales).item() == pytest.approx(loss(anchor, positive).item(), rel=1e-9)


@pytest.mark.parametrize(("symmetric", "same_side"), ALL_OPTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_gradient_passes_a_finite_difference_check(symmetric, same_side, masked):
    inputs = [rows.requires_grad_() for rows in gaussian_rows(3, 4, 4, 2, width=5)]
    same = torch.eye(4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    loss = InfoNCE(0.3, symmetric, same_side)
    assert torch.autograd.gradcheck(lambda *rows: loss(*rows, same if masked else None), inputs)


def test_one_way_is_the_cross_entropy_of_scaled_cosines():
    # The formula of sentence-transformers' MultipleNegativesRankingLoss, whose scale is 1 / temperature.
    anchor, positive = gaussian_rows(1, 7, 7, width=16)
    scores = F.cosine_similarity(anchor[:, None], positive[None], dim=-1) * 20.0
    expected = F.cross_entropy(scores, torch.arange(7))
    assert InfoNCE(0.05)(anchor, positive).item() == pytest.approx(expected.item(), rel=1e-12)


def test_both_ways_on_both_sides_is_nt_xent():
    anchor, positive = gaussian_rows(2, 5, 5)
    both = F.normalize(torch.cat([anchor, positive]), dim=-1)
    logits = (both @ both.T / 0.2).fill_diagonal_(-torch.inf)
    expected = F.cross_entropy(logits, torch.arange(10).roll(5))
    assert InfoNCE(0.2, symmetric=True, same_side=True)(anchor, positive).item() == pytest.approx(expected.item())


def test_every_option_matters():
    anchor, positive, negatives = gaussian_rows(5, 6, 6, 4)
    same = torch.eye(6, dtype=torch.bool)
    same[1, 4] = same[4, 1] = True
    losses = [
        InfoNCE(0.1)(anchor, positive).item(),
        InfoNCE(0.2)(anchor, positive).item(),
        InfoNCE(0.1, symmetric=True)(anchor, positive).item(),
        InfoNCE(0.1, same_side=True)(anchor, positive).item(),
        InfoNCE(0.1)(anchor, positive, negatives).item(),
        InfoNCE(0.1)(anchor, positive, same=same).item(),
    ]
    assert len({round(loss, 6) for loss in losses}) == len(losses)
    assert InfoNCE().temperature == 0.05


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


def test_equal_rows_cost_the_logarithm_of_the_number_of_candidates():
    rows = torch.ones(5, 3)
    assert InfoNCE()(rows, rows).item() == pytest.approx(math.log(5))
    assert InfoNCE(symmetric=True, same_side=True)(rows, rows).item() == pytest.approx(math.log(9))
    assert InfoNCE()(rows, rows, same=torch.ones(5, 5, dtype=torch.bool)).item() == 0


def test_a_single_pair_costs_nothing():
    anchor, positive = gaussian_rows(0, 1, 1)
    assert InfoNCE(symmetric=True, same_side=True)(anchor, positive).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("symmetric", "same_side"), ALL_OPTIONS)
@pytest.mark.parametrize("make", [torch.ones_like, torch.zeros_like, torch.neg, torch.clone])
def test_a_tiny_temperature_stays_finite_with_its_gradient(symmetric, same_side, make):
    (rows,) = gaussian_rows(4, 4)
    anchor = rows.float().requires_grad_()
    loss = InfoNCE(0.001, symmetric, same_side)(anchor, make(rows.float()))
    loss.backward()
    assert loss.isfinite()
    assert anchor.grad.isfinite().all()


def test_rows_of_opposite_direction_cost_twice_the_inverse_temperature():
    anchor = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert InfoNCE(0.001)(anchor, -anchor).item() == pytest.approx(2000)


@pytest.mark.parametrize("dtype", HALF_PRECISIONS)
@pytest.mark.parametrize(("symmetric", "same_side"), ALL_OPTIONS)
def test_half_precision_is_widened_before_the_softmax(dtype, symmetric, same_side):
    anchor, positive, negatives = (rows.to(dtype) for rows in gaussian_rows(6, 4, 4, 3))
    anchor.requires_grad_()
    loss = InfoNCE(0.01, symmetric, same_side)(anchor, positive, negatives)
    loss.backward()
    wide = InfoNCE(0.01, symmetric, same_side)(anchor.double(), positive.double(), negatives.double())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(wide.item(), rel=1e-4)
    assert anchor.grad.isfinite().all()


@pytest.mark.parametrize(("symmetric", "same_side"), ALL_OPTIONS)
def test_autocast_does_not_round_the_similarities(symmetric, same_side):
    anchor, positive = (rows.float() for rows in gaussian_rows(8, 6, 6))
    loss = InfoNCE(0.01, symmetric, same_side)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(anchor, positive).item()
    assert inside == loss(anchor, positive).item()


def test_float64_stays_float64():
    anchor, positive = gaussian_rows(7, 3, 3)
    assert InfoNCE()(anchor, positive).dtype == torch.float64
    assert InfoNCE()(anchor.float(), positive.float()).dtype == torch.float32


@pytest.mark.parametrize("temperature", [0, 0.0, -0.05, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(ConfigError, match=r"^temperature: expected a number above 0, got "):
        InfoNCE(temperature)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3,), (3,)], r"^anchor: expected shape \(B, D\), B at least 1, got \(3,\)$"),
        ([(0, 3), (0, 3)], r"^anchor: expected shape \(B, D\), B at least 1, got \(0, 3\)$"),
        ([(2, 3), (3, 3)], r"^positive: expected shape \(2, 3\), as the anchor has, got \(3, 3\)$"),
        ([(2, 3), (2, 4)], r"^positive: expected shape \(2, 3\), as the anchor has, got \(2, 4\)$"),
        ([(2, 3), (2, 3), (5, 4)], r"^negatives: expected shape \(K, 3\), got \(5, 4\)$"),
        ([(2, 3), (2, 3), (3,)], r"^negatives: expected shape \(K, 3\), got \(3,\)$"),
        ([(2, 3), (2, 3), (5, 3), (2, 1)], r"^same: expected shape \(2, 2\), got \(2, 1\)$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, message):
    tensors = [
        torch.ones(shape, dtype=torch.bool if place == 3 else torch.float32) for place, shape in enumerate(shapes)
    ]
    with pytest.raises(ShapeError, match=message):
        InfoNCE()(*tensors)
