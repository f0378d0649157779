"""Several positives a row, in the losses that take them; each loss's own file holds it against its definition."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from tests import oracles
from tests.losses.rows import central_differences, gaussian_rows, gradients
from textcl.losses import InfoNCE, Matryoshka, Sigmoid
from textcl.losses.candidates import make_contrast

BOOLEANS = (False, True)
CASES: list[dict[str, Any]] = [
    dict(zip(("symmetric", "same_side", "decoupled", "label_smoothing", "hardness"), values, strict=True))
    for values in itertools.product(BOOLEANS, BOOLEANS, BOOLEANS, (0.0, 0.2), (0.0, 0.7))
]
SIDES = [{"symmetric": symmetric, "same_side": same_side} for symmetric in BOOLEANS for same_side in BOOLEANS]
LOSSES = [InfoNCE(0.1), InfoNCE(0.1, symmetric=True, same_side=True), Sigmoid(0.1, -1.0), Matryoshka(InfoNCE(0.1), [8])]


def relation(rows, *pairs):
    """A symmetric (B, B) mask without a diagonal."""
    mask = torch.zeros(rows, rows, dtype=torch.bool)
    for i, j in pairs:
        mask[i, j] = mask[j, i] = True
    return mask


def bits(loss, *rows, **masks):
    """The value and all gradients."""
    return [loss(*rows, **masks), *gradients(lambda *moved: loss(*moved, **masks), *rows)]


@pytest.mark.parametrize("loss", [*(InfoNCE(0.1, **options) for options in CASES), *LOSSES[2:]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_own_positive_as_the_only_one_is_the_loss_as_it_was_bit_for_bit(loss, dtype):
    rows = [matrix.to(dtype) for matrix in gaussian_rows(3, 5, 5, 3)]
    masks = {"same": relation(5, (0, 3)), "same_negatives": torch.eye(5, 3, dtype=torch.bool)}
    kept = bits(loss, *rows, **masks)
    for positives in (torch.eye(5, dtype=torch.bool), torch.zeros(5, 5, dtype=torch.bool)):
        assert all(map(torch.equal, bits(loss, *rows, positives=positives, **masks), kept))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_diagonal_may_be_told_or_not(loss):
    rows, further = gaussian_rows(3, 5, 5, 3), relation(5, (0, 1), (1, 4))
    with_itself = further | torch.eye(5, dtype=torch.bool)
    assert all(map(torch.equal, bits(loss, *rows, positives=further), bits(loss, *rows, positives=with_itself)))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_further_positive_is_no_negative_whatever_same_says(loss):
    rows, further = gaussian_rows(3, 5, 5), relation(5, (0, 1), (1, 4))
    kept = bits(loss, *rows, positives=further)
    for same in (further, relation(5), relation(5, (0, 1))):
        assert all(map(torch.equal, bits(loss, *rows, same=same, positives=further), kept))
    more = loss(*rows, same=relation(5, (2, 3)), positives=further)
    assert more.item() < kept[0].item() - 1e-3  # and what `same` says of other rows holds


@pytest.mark.parametrize("loss", LOSSES)
def test_a_further_positive_is_more_than_a_masked_row(loss):
    rows, further = gaussian_rows(3, 5, 5), relation(5, (0, 1), (1, 4))
    values = [loss(*rows).item(), loss(*rows, same=further).item(), loss(*rows, positives=further).item()]
    assert len({round(value, 4) for value in values}) == 3


@pytest.mark.parametrize("decoupled", BOOLEANS)
@pytest.mark.parametrize("hardness", [0.0, 0.7])
def test_a_row_with_several_positives_costs_the_mean_of_what_each_costs_as_its_only_one(decoupled, hardness):
    anchor, positive, negatives = gaussian_rows(2, 1, 3, 4)
    loss = InfoNCE(0.1, decoupled=decoupled, hardness=hardness)
    alone = [loss(anchor, positive[[place]], negatives) for place in range(3)]
    assert len({round(value.item(), 3) for value in alone}) == 3
    # Three rows of one anchor, each with the positives of all: each costs the mean.
    found = loss(anchor.expand(3, -1), positive, negatives, positives=torch.ones(3, 3, dtype=torch.bool))
    assert found.item() == pytest.approx(sum(alone).item() / 3, rel=1e-12)


def test_positives_are_not_in_each_other_s_denominator():
    anchor, near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    negatives = torch.tensor([[0.0, 1.0]])
    both = torch.ones(2, 2, dtype=torch.bool)
    found = InfoNCE(0.5)(anchor.expand(2, -1), torch.cat([near, far]), negatives, positives=both)
    # The denominator of Khosla et al. would give log((e^2 + e^-2 + 1) / e^2) and log((e^2 + e^-2 + 1) / e^-2).
    expected = (math.log((math.exp(2) + 1) / math.exp(2)) + math.log((math.exp(-2) + 1) / math.exp(-2))) / 2
    assert found.item() == pytest.approx(expected)


def test_the_same_side_of_a_further_positive_is_masked_and_not_pulled():
    anchor, positive, negatives = gaussian_rows(2, 2, 2, 2)
    both = torch.ones(2, 2, dtype=torch.bool)
    found = InfoNCE(0.1, same_side=True)(anchor, positive, negatives, positives=both)
    assert found == InfoNCE(0.1)(anchor, positive, negatives, positives=both)


@pytest.mark.parametrize("options", CASES)
def test_the_gradient_passes_a_finite_difference_check(options):
    rows = gaussian_rows(3, 4, 4, 2, width=4)
    further, same = relation(4, (0, 1), (1, 3)), relation(4, (0, 2))
    mask = torch.eye(4, 2, dtype=torch.bool)
    loss = InfoNCE(0.3, **options)
    if not options["hardness"]:
        inputs = [matrix.requires_grad_() for matrix in rows]
        assert torch.autograd.gradcheck(lambda *moved: loss(*moved, same, mask, further), inputs)
        return
    masks = {"same": same.tolist(), "same_negatives": mask.tolist(), "further": further.tolist()}
    at = [matrix.tolist() for matrix in rows]  # the weights of negatives are constants

    def definition(anchor, positive, negatives):
        return oracles.info_nce(anchor, positive, 0.3, negatives, weigh=at, **masks, **options)

    found = gradients(lambda *moved: loss(*moved, same, mask, further), *rows)
    torch.testing.assert_close(list(found), central_differences(definition, *rows), rtol=1e-6, atol=1e-8)


def test_the_gradient_of_the_sigmoid_loss_passes_a_finite_difference_check():
    inputs = [matrix.requires_grad_() for matrix in gaussian_rows(3, 4, 4, 2, width=4)]
    further, loss = relation(4, (0, 1), (1, 3)), Sigmoid(bias=-1.0).double()
    learned = [loss.temperature.logarithm, loss.bias]
    assert torch.autograd.gradcheck(lambda *given: loss(*given[:3], positives=further), (*inputs, *learned))


@pytest.mark.parametrize("options", CASES)
def test_a_row_of_positives_alone_costs_nothing_and_moves_nothing(options):
    loss = InfoNCE(0.1, **options)
    anchor, positive, negatives = gaussian_rows(2, 9, 9, 3)
    everyone, none_left = torch.ones(9, 9, dtype=torch.bool), torch.ones(9, 3, dtype=torch.bool)
    masks = {"same_negatives": none_left, "positives": everyone}
    value, *slopes = bits(loss, anchor, positive, negatives, **masks)
    assert value.item() == 0.0
    assert not any(slope.any() for slope in slopes)
    # Row 0 has the others as positives; they keep each other as negatives, so that their loss is finite and moves.
    first = relation(9, *((0, j) for j in range(1, 9)))
    value, *slopes = bits(loss, anchor, positive, positives=first)
    assert value.item() != 0
    assert all(slope.isfinite().all() for slope in slopes)
    assert slopes[0][1:].any(dim=1).all()
    # Row 0 alone costs nothing of its own: without its texts as further ones of others it has no gradient.
    one_way = first.clone()
    one_way[1:, 0] = False
    if not options["symmetric"]:
        slopes = gradients(lambda *moved: loss(*moved, same=first, positives=one_way), anchor, positive)
        assert not slopes[0][0].any()


@pytest.mark.parametrize("options", SIDES)
def test_every_option_matters_with_several_positives(options):
    anchor, positive, negatives = gaussian_rows(5, 6, 6, 4)
    masks = {"positives": relation(6, (0, 2), (2, 5), (0, 5)), "same": relation(6, (1, 4))}
    mask = torch.eye(6, 4, dtype=torch.bool)
    variants = [{}, {"decoupled": True}, {"label_smoothing": 0.1}, {"label_smoothing": 0.2}, {"hardness": 0.5}]
    variants += [{"hardness": 1.0}, {"decoupled": True, "label_smoothing": 0.1}, {"decoupled": True, "hardness": 0.5}]
    values = []
    for temperature, chosen in itertools.product((0.1, 0.2), [{**options, **variant} for variant in variants]):
        values.append(InfoNCE(temperature, **chosen)(anchor, positive, negatives, **masks))
        values.append(InfoNCE(temperature, **chosen)(anchor, positive, negatives, same_negatives=mask, **masks))
    for name, value in options.items():
        switched = {**options, name: not value}
        values.append(InfoNCE(0.1, **switched)(anchor, positive, negatives, **masks))
    values.append(InfoNCE(0.1, **options)(anchor, positive, negatives, positives=masks["positives"]))
    values.append(InfoNCE(0.1, **options)(anchor, positive, negatives, same=masks["same"]))
    assert len({round(value.item(), 7) for value in values}) == len(values)


def test_the_way_back_reads_the_positives_from_the_other_side():
    anchor, positive, negatives = gaussian_rows(6, 4, 4, 2)
    positives = torch.eye(4, dtype=torch.bool)
    positives[0, 2] = True  # one way only, so that the sides differ
    both = InfoNCE(0.1, symmetric=True)(anchor, positive, negatives, positives=positives)
    forth = InfoNCE(0.1)(anchor, positive, negatives, positives=positives)
    back = InfoNCE(0.1)(positive, anchor, negatives, positives=positives.T)
    assert both.item() == pytest.approx((forth + back).item() / 2, rel=1e-12)


def test_a_small_loss_keeps_its_digits_in_float32():
    rows, other = torch.tensor([[1.0, 0.0]]).expand(2, -1), torch.tensor([[0.96, 0.28]])
    expected = math.log1p(math.exp(-0.04 / 0.005))
    found = InfoNCE(0.005)(rows, rows, other, positives=torch.ones(2, 2, dtype=torch.bool))
    assert found.item() == pytest.approx(expected, rel=2e-4, abs=0)


@pytest.mark.parametrize("options", SIDES)
@pytest.mark.parametrize("make", [torch.ones_like, torch.zeros_like, torch.neg, torch.clone])
def test_a_tiny_temperature_stays_finite_with_its_gradient(options, make):
    (rows,) = gaussian_rows(4, 4)
    value, *slopes = bits(InfoNCE(0.001, **options), rows.float(), make(rows.float()), positives=relation(4, (0, 1)))
    assert value.isfinite()
    assert all(slope.isfinite().all() for slope in slopes)


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_widened_and_autocast_does_not_round(loss):
    rows = [matrix.bfloat16() for matrix in gaussian_rows(6, 4, 4, 3)]
    further = relation(4, (0, 1))
    wide = loss(*(matrix.double() for matrix in rows), positives=further)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(*rows, positives=further)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wide.item(), rel=1e-4)


def test_a_contrast_knows_which_positives_are_further_ones():
    rows = gaussian_rows(1, 3, 3)
    positives = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    contrast = make_contrast(*rows, None, None, None, positives)
    assert contrast.further.tolist() == relation(3, (0, 1)).tolist()
    assert contrast.same.tolist() == (relation(3, (0, 1)) | torch.eye(3, dtype=torch.bool)).tolist()
    assert make_contrast(*rows, None, None, None, None).further is None
