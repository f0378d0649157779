from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.losses.rows import as_mask, drawn_masks, drawn_positives, gaussian_rows
from textcl.errors import ConfigError, ShapeError
from textcl.losses import InfoNCE, Matryoshka, NegativeCosine, Sigmoid, SimilarityDistillation, Uniformity, VICReg


def cut(matrix, dimension):
    return [row[:dimension] for row in matrix.tolist()]


@given(
    batch=st.integers(1, 5),
    extra=st.integers(0, 4),
    dimensions=st.lists(st.integers(1, 8), min_size=1, max_size=4, unique=True),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_matryoshka_is_the_weighted_sum_over_the_first_columns(batch, extra, dimensions, seed, data):
    rows = gaussian_rows(seed, batch, batch, extra)
    same, same_negatives = drawn_masks(data, batch, extra)
    further = drawn_positives(data, batch)
    weights = data.draw(st.lists(st.floats(0.1, 3.0), min_size=len(dimensions), max_size=len(dimensions)))
    expected = 0.0
    for dimension, weight in zip(dimensions, weights, strict=True):
        anchor, positive, negatives = (cut(matrix, dimension) for matrix in rows)
        masks = {"same": same, "same_negatives": same_negatives, "further": further}
        expected += weight * oracles.info_nce(anchor, positive, 0.1, negatives, **masks)
    loss = Matryoshka(InfoNCE(0.1), dimensions, weights)
    found = loss(*rows, as_mask(same), as_mask(same_negatives), positives=as_mask(further))
    assert loss(*rows, *map(as_mask, (same, same_negatives, further))) == found
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    order = data.draw(st.permutations(range(batch)))
    masks = [None, None] if same is None else [as_mask(same)[order][:, order], as_mask(same_negatives)[order]]
    masks.append(None if further is None else as_mask(further)[order][:, order])
    assert loss(rows[0][order], rows[1][order], rows[2], *masks).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("loss", [NegativeCosine(), VICReg(), Sigmoid(0.1), InfoNCE(), Uniformity()])
def test_it_goes_around_any_loss(loss):
    rows = gaussian_rows(1, 5, 5)[: 1 if isinstance(loss, Uniformity) else 2]
    expected = loss(*(matrix[:, :3] for matrix in rows)) + loss(*rows)
    assert Matryoshka(loss, [3, 8])(*rows).item() == pytest.approx(expected.item())


def test_what_comes_by_name_is_passed_on_whole():
    rows, frozen = gaussian_rows(1, 5, 5)
    loss = SimilarityDistillation()
    assert Matryoshka(loss, [3])(rows, frozen=frozen).item() == pytest.approx(loss(rows[:, :3], frozen).item())
    assert Matryoshka(loss, [3])(rows, frozen).item() == pytest.approx(loss(rows[:, :3], frozen[:, :3]).item())


def test_the_gradient_passes_a_finite_difference_check_and_reaches_the_widest_cut_alone():
    inputs = [rows.requires_grad_() for rows in gaussian_rows(3, 4, 4, width=5)]
    loss = Matryoshka(InfoNCE(0.3), [1, 3], [0.5, 2.0])
    assert torch.autograd.gradcheck(loss, inputs)
    slopes = torch.autograd.grad(loss(*inputs), inputs)[0]
    assert slopes[:, :3].any(dim=0).all()
    assert not slopes[:, 3:].any()


def test_half_precision_is_widened():
    rows = [matrix.bfloat16() for matrix in gaussian_rows(6, 5, 5)]
    loss = Matryoshka(InfoNCE(0.01), [2, 8])
    found = loss(*rows)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss(*(matrix.double() for matrix in rows)).item(), rel=1e-4)


def test_every_option_matters():
    rows = gaussian_rows(1, 5, 5)
    losses = [Matryoshka(InfoNCE(), *options) for options in (([2, 8],), ([4, 8],), ([2, 8], [1.0, 2.0]))]
    assert len({round(loss(*rows).item(), 6) for loss in losses}) == 3


DIFFERENT = r"^dimensions: expected different numbers of at least 1, one or more of them, got "
EACH = r"^weights: expected a number above 0 for each of the 2 dimensions, got "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (([],), DIFFERENT + r"\(\)$"),
        (([0, 3],), DIFFERENT + r"\(0, 3\)$"),
        (([3, 3],), DIFFERENT + r"\(3, 3\)$"),
        (([3, 4], [1.0]), EACH + r"\(1\.0,\)$"),
        (([3, 4], [1.0, 0.0]), EACH + r"\(1\.0, 0\.0\)$"),
    ],
)
def test_settings_out_of_range_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Matryoshka(InfoNCE(), *options)


def test_matrices_that_are_too_narrow_are_named():
    message = r"^embeddings: expected shape \(N, D\), D at least 9, as `dimensions` has it, got \(2, 8\)$"
    with pytest.raises(ShapeError, match=message):
        Matryoshka(InfoNCE(), [2, 9])(*gaussian_rows(1, 2, 2))
    with pytest.raises(ShapeError, match=r"D at least 2, as `dimensions` has it, got \(8,\)$"):
        Matryoshka(InfoNCE(), [2])(torch.ones(8), torch.ones(8))
