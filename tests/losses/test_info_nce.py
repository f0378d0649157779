from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tests import oracles
from tests.losses.rows import as_mask, central_differences, drawn_masks, drawn_positives, gaussian_rows, gradients
from textcl.errors import ConfigError, ShapeError
from textcl.losses import InfoNCE, Learned, Scheduled

OPTIONS = st.fixed_dictionaries(
    {
        "symmetric": st.booleans(),
        "same_side": st.booleans(),
        "decoupled": st.booleans(),
        "label_smoothing": st.sampled_from([0.0, 0.1, 0.9]),
        "hardness": st.sampled_from([0.0, 0.5, 2.0]),
    }
)
ALL_OPTIONS = [(symmetric, same_side) for symmetric in (False, True) for same_side in (False, True)]
HALF_PRECISIONS = [torch.float16, torch.bfloat16]


@given(
    batch=st.integers(1, 6),
    extra=st.integers(0, 5),
    temperature=st.floats(0.02, 2.0),
    seed=st.integers(0, 2**31),
    options=OPTIONS,
    data=st.data(),
)
def test_info_nce_matches_the_definition(batch, extra, temperature, seed, options, data):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, extra)
    same, same_negatives = drawn_masks(data, batch, extra)
    further = drawn_positives(data, batch)
    rows = [matrix.tolist() for matrix in (anchor, positive, negatives)]
    masks = {"same": same, "same_negatives": same_negatives, "further": further}
    expected = oracles.info_nce(*rows[:2], temperature, rows[2], **masks, **options)
    masks = [as_mask(mask) for mask in masks.values()]
    loss = InfoNCE(temperature, **options)(anchor, positive, negatives if extra else None, *masks)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(batch=st.integers(1, 6), seed=st.integers(0, 2**31), options=OPTIONS, data=st.data())
def test_the_order_of_the_batch_changes_nothing(batch, seed, options, data):
    anchor, positive, negatives = gaussian_rows(seed, batch, batch, 3)
    same, same_negatives = (as_mask(mask) for mask in drawn_masks(data, batch, 3))
    order = data.draw(st.permutations(range(batch)))
    positives = as_mask(drawn_positives(data, batch))
    loss = InfoNCE(0.1, **options)
    masks = [None, None] if same is None else [same[order][:, order], same_negatives[order].flip(1)]
    masks.append(None if positives is None else positives[order][:, order])
    permuted = loss(anchor[order], positive[order], negatives.flip(0), *masks)
    expected = loss(anchor, positive, negatives, same, same_negatives, positives)
    assert permuted.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-13)


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
    mask = torch.eye(4, 2, dtype=torch.bool)
    for decoupled, label_smoothing in ((False, 0.0), (True, 0.0), (False, 0.2), (True, 0.2)):
        loss = InfoNCE(0.3, symmetric, same_side, decoupled, label_smoothing)
        assert torch.autograd.gradcheck(lambda *rows, f=loss: f(*rows, *([same, mask] if masked else [])), inputs)


@pytest.mark.parametrize(("symmetric", "same_side"), ALL_OPTIONS)
def test_the_gradient_takes_the_weights_of_hard_negatives_as_constants(symmetric, same_side):
    rows = gaussian_rows(3, 3, 3, 2, width=4)
    options = {"symmetric": symmetric, "same_side": same_side, "hardness": 0.7}
    at = [matrix.tolist() for matrix in rows]

    def weights_stay(anchor, positive, negatives):
        return oracles.info_nce(anchor, positive, 0.3, negatives, weigh=at, **options)

    def weights_move(anchor, positive, negatives):
        return oracles.info_nce(anchor, positive, 0.3, negatives, **options)

    found = gradients(InfoNCE(0.3, **options), *rows)
    torch.testing.assert_close(list(found), central_differences(weights_stay, *rows), rtol=1e-6, atol=1e-8)
    moving = central_differences(weights_move, *rows)
    assert any((slopes - other).abs().max() > 1e-2 for slopes, other in zip(found, moving, strict=True))


def test_weights_of_hard_negatives_have_mean_one_in_each_row():
    anchor, positive, _ = gaussian_rows(4, 4, 4, 0)
    turn = anchor.flip(0)
    # Negatives that are all alike weigh 1 each, however hard they are.
    alike = positive.clone()
    alike[:] = positive[0]
    assert InfoNCE(0.1, hardness=3.0)(anchor, alike).item() == pytest.approx(InfoNCE(0.1)(anchor, alike).item())
    assert InfoNCE(0.1, hardness=1.0)(anchor, turn) > InfoNCE(0.1)(anchor, turn)  # near ones weigh more


def test_a_row_without_negatives_costs_nothing_and_moves_nothing():
    alone = torch.ones(3, 3, dtype=torch.bool)
    some = torch.eye(3, dtype=torch.bool)
    some[0] = True
    some[:, 0] = True
    for options in ({}, {"label_smoothing": 0.3}, {"hardness": 1.0}, {"symmetric": True, "same_side": True}):
        loss = InfoNCE(0.1, decoupled=True, **options)
        rows = gaussian_rows(2, 3, 3)
        pair = gaussian_rows(2, 1, 1)
        assert loss(*rows, same=alone).item() == 0.0
        assert loss(*pair).item() == 0.0
        assert loss(*pair, torch.ones(2, 8).double(), same_negatives=torch.ones(1, 2, dtype=torch.bool)).item() == 0.0
        assert not any(slopes.any() for slopes in gradients(loss, *pair))
        # Row 0 is alone; the others keep each other, and their loss is spread over all three rows.
        anchor, positive = gradients(lambda *both, f=loss: f(*both, same=some), *rows)
        assert not anchor[0].any()
        assert not positive[0].any()
        assert anchor[1:].isfinite().all()
        assert anchor[1:].any()
        two = loss(rows[0][1:], rows[1][1:]).item()
        assert loss(*rows, same=some).item() == pytest.approx(two * 2 / 3)


def test_decoupled_is_the_loss_without_the_positive_below():
    anchor, positive = gaussian_rows(1, 5, 5)
    logits = F.normalize(anchor, dim=-1) @ F.normalize(positive, dim=-1).T / 0.2
    others = logits.masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf).logsumexp(1)
    assert InfoNCE(0.2, decoupled=True)(anchor, positive).item() == pytest.approx(
        (others - logits.diagonal()).mean().item()
    )


def test_label_smoothing_is_that_of_the_cross_entropy():
    anchor, positive, negatives = gaussian_rows(1, 5, 5, 3)
    scores = F.cosine_similarity(anchor[:, None], torch.cat([positive, negatives])[None], dim=-1) / 0.1
    expected = F.cross_entropy(scores, torch.arange(5), label_smoothing=0.3)
    assert InfoNCE(0.1, label_smoothing=0.3)(anchor, positive, negatives).item() == pytest.approx(expected.item())


def test_a_small_loss_keeps_its_digits_in_float32():
    anchor, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.96, 0.28]])
    expected = math.log1p(math.exp(-0.04 / 0.005))  # beside logits of 200, which float32 has 5 decimals for
    assert InfoNCE(0.005)(anchor, anchor, other).item() == pytest.approx(expected, rel=2e-4, abs=0)


def test_temperatures_that_move_are_taken_at_each_call():
    anchor, positive = gaussian_rows(1, 5, 5)
    schedule, learned = Scheduled(0.1, 0.3), Learned(0.1)
    moving, trained = InfoNCE(schedule, symmetric=True), InfoNCE(learned, symmetric=True)
    assert moving(anchor, positive) == InfoNCE(0.1, symmetric=True)(anchor, positive)
    schedule.progress = 1.0
    assert moving(anchor, positive) == InfoNCE(0.3, symmetric=True)(anchor, positive)
    trained(anchor, positive).backward()
    slope = oracle_slope(lambda shift: InfoNCE(0.1 * math.exp(shift), symmetric=True)(anchor, positive).item())
    assert learned.logarithm.grad.item() == pytest.approx(slope, rel=1e-4)


def oracle_slope(function, step=1e-5):
    return (function(step) - function(-step)) / (2 * step)


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
        InfoNCE(0.1)(anchor, positive, negatives, same_negatives=torch.eye(6, 4, dtype=torch.bool)).item(),
        InfoNCE(0.1, decoupled=True)(anchor, positive).item(),
        InfoNCE(0.1, label_smoothing=0.1)(anchor, positive).item(),
        InfoNCE(0.1, label_smoothing=0.2)(anchor, positive).item(),
        InfoNCE(0.1, hardness=0.5)(anchor, positive).item(),
        InfoNCE(0.1, hardness=1.0)(anchor, positive).item(),
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


def test_the_way_back_reads_the_masks_from_the_other_side():
    anchor, positive, negatives = gaussian_rows(6, 4, 4, 2)
    same, same_negatives = torch.eye(4, dtype=torch.bool), torch.eye(4, 2, dtype=torch.bool)
    same[0, 2] = True  # one way only, so that the sides differ
    both = InfoNCE(0.1, symmetric=True)(anchor, positive, negatives, same, same_negatives)
    forth = InfoNCE(0.1)(anchor, positive, negatives, same, same_negatives)
    back = InfoNCE(0.1)(positive, anchor, negatives, same.T, same_negatives)
    assert both.item() == pytest.approx((forth + back).item() / 2, rel=1e-12)


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
    options = {"symmetric": symmetric, "same_side": same_side, "label_smoothing": 0.1, "hardness": 0.5}
    loss = InfoNCE(0.01, **options)(anchor, positive, negatives)
    loss.backward()
    wide = InfoNCE(0.01, **options)(anchor.double(), positive.double(), negatives.double())
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
    ("options", "message"),
    [
        ({"label_smoothing": 1.0}, r"^label_smoothing: expected a share in \[0, 1\), got 1\.0$"),
        ({"label_smoothing": -0.1}, r"^label_smoothing: expected a share in \[0, 1\), got -0\.1$"),
        ({"hardness": -1.0}, r"^hardness: expected a finite number of at least 0, got -1\.0$"),
        ({"hardness": math.inf}, r"^hardness: expected a finite number of at least 0, got inf$"),
        ({"hardness": math.nan}, r"^hardness: expected a finite number of at least 0, got nan$"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        InfoNCE(**options)


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
        ([(2, 3), (2, 3), (5, 3), (2, 2), (2, 4)], r"^same_negatives: expected shape \(2, 5\), got \(2, 4\)$"),
        ([(2, 3), (2, 3), (5, 3), (2, 2), (2, 5), (2, 5)], r"^positives: expected shape \(2, 2\), got \(2, 5\)$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, message):
    tensors = [
        torch.ones(shape, dtype=torch.bool if place >= 3 else torch.float32) for place, shape in enumerate(shapes)
    ]
    with pytest.raises(ShapeError, match=message):
        InfoNCE()(*tensors)


def test_a_mask_for_negatives_that_are_not_there_is_refused():
    rows = torch.ones(2, 3)
    with pytest.raises(ShapeError, match=r"^same_negatives: expected shape \(2, 0\), got \(2, 4\)$"):
        InfoNCE()(rows, rows, same_negatives=torch.ones(2, 4, dtype=torch.bool))
