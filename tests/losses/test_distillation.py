from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.losses.rows import gaussian_rows
from textcl.errors import ShapeError
from textcl.losses import Learned, SimilarityDistillation


@given(
    rows=st.integers(2, 6),
    width=st.integers(1, 6),
    temperature=st.floats(0.05, 2.0),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_similarity_distillation_matches_the_definition_in_any_order(rows, width, temperature, seed, data):
    (embeddings,) = gaussian_rows(seed, rows)
    (frozen,) = gaussian_rows(seed + 1, rows, width=width)
    expected = oracles.similarity_distillation(embeddings.tolist(), frozen.tolist(), temperature)
    order = data.draw(st.permutations(range(rows)))
    loss = SimilarityDistillation(temperature)
    assert loss(embeddings, frozen).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert loss(embeddings[order], frozen[order]).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert expected > -1e-12


def test_the_gradient_passes_a_finite_difference_check():
    embeddings, frozen = gaussian_rows(3, 5, 5, width=4)
    loss = SimilarityDistillation(0.3)
    assert torch.autograd.gradcheck(lambda rows: loss(rows, frozen), (embeddings.requires_grad_(),))


def test_the_frozen_side_gets_no_gradient():
    embeddings, frozen = (rows.requires_grad_() for rows in gaussian_rows(3, 5, 5))
    SimilarityDistillation()(embeddings, frozen).backward()
    assert embeddings.grad.any()
    assert frozen.grad is None


def test_a_turn_and_a_scale_of_all_rows_cost_nothing():
    embeddings, other = gaussian_rows(3, 5, 8)
    turn = torch.linalg.qr(other).Q
    assert SimilarityDistillation()(3 * embeddings @ turn, embeddings).item() == pytest.approx(0, abs=1e-10)
    assert SimilarityDistillation()(embeddings + 1, embeddings).item() > 0.01


def test_two_rows_cost_nothing():
    embeddings = torch.tensor([[1.0, 0.0], [-1.0, 0.1]], requires_grad=True)  # however far they are from each other
    found = SimilarityDistillation(0.001)(embeddings, torch.ones(2, 2))
    found.backward()
    assert found.item() == 0
    assert not embeddings.grad.any()


def test_the_temperature_matters():
    rows = gaussian_rows(3, 5, 5)
    assert SimilarityDistillation()(*rows).item() == SimilarityDistillation(0.05)(*rows).item()
    assert SimilarityDistillation()(*rows).item() != pytest.approx(SimilarityDistillation(0.1)(*rows).item())
    assert SimilarityDistillation(Learned(0.1))(*rows).item() == pytest.approx(
        SimilarityDistillation(0.1)(*rows).item()
    )


def test_half_precision_is_widened():
    rows = [matrix.bfloat16() for matrix in gaussian_rows(6, 5, 5)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = SimilarityDistillation(0.01)(*rows)
    assert found.dtype == torch.float32
    wide = SimilarityDistillation(0.01)(*(matrix.double() for matrix in rows))
    assert found.item() == pytest.approx(wide.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 3), (1, 3)], r"^embeddings: expected shape \(N, D\), N at least 2, got \(1, 3\)$"),
        ([(3, 3), (2, 3)], r"^frozen: expected shape \(3, F\), got \(2, 3\)$"),
        ([(3, 3), (3,)], r"^frozen: expected shape \(3, F\), got \(3,\)$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, message):
    with pytest.raises(ShapeError, match=message):
        SimilarityDistillation()(*(torch.ones(shape) for shape in shapes))
