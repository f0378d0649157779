from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests import oracles
from tests.methods.batches import lists, make_batch, shift, sides_of
from tests.training.pairs import gradients
from textcl.encoder.heads import Projector
from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError
from textcl.methods import BYOL


@pytest.fixture
def batch(tiny_encoder, tiny_corpus):
    return make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10], [[0], [1], [2], [1], [4]])


@pytest.fixture
def byol(tiny_model_folder):
    """Makes BYOL in double precision, without dropout, whose online side has moved away from its target."""

    def make(predictor=True, **options):
        projector = Projector(32, 16, 8, norm="batch")
        predictor = Projector(8, 16, 8, norm="batch") if predictor else None
        method = BYOL(load_encoder(tiny_model_folder, dropout=0.0), projector, predictor, **options)
        shift(method.encoder)
        shift(method.projector)
        return method.double().train()

    return make


@pytest.mark.parametrize("predictor", [True, False])
def test_the_loss_is_minus_the_cosine_of_prediction_and_target_both_ways(byol, batch, predictor):
    method = byol(predictor)
    online = sides_of(method.encoder, batch, method.projector)
    if predictor:
        online = [method.predictor(side).detach() for side in online]
    target = sides_of(method.target.encoder, batch, method.target.projector)
    first = oracles.negative_cosine(lists(online[0]), lists(target[1]))
    second = oracles.negative_cosine(lists(online[1]), lists(target[0]))
    assert first != pytest.approx(second, rel=1e-3)
    assert method(batch).loss.item() == pytest.approx((first + second) / 2, rel=1e-9)


def test_diagnostics_are_of_the_embeddings(byol, batch):
    method = byol()
    first, second = map(lists, sides_of(method.encoder, batch))
    own = [oracles.cosine(*pair) for pair in zip(first, second, strict=True)]
    diagnostics = method(batch).diagnostics
    assert diagnostics["positive_cosine"].item() == pytest.approx(sum(own) / 5, rel=1e-5)
    assert "masked_fraction" not in diagnostics  # nobody is told apart


def test_the_target_moves_by_the_formula_after_the_update_and_never_by_a_gradient(byol, batch):
    method = byol(momentum=0.75, rise=False)
    before = [parameter.clone() for parameter in method.target.parameters()]
    method(batch).loss.backward()
    assert not [name for name in gradients(method) if name.startswith("target.")]
    torch.optim.SGD(method.parameters(), lr=0.1).step()
    assert all(torch.equal(*pair) for pair in zip(method.target.parameters(), before, strict=True))
    method.after_update(1)
    online = [*method.encoder.parameters(), *method.projector.parameters()]
    for kept, old, new in zip(method.target.parameters(), before, online, strict=True):
        assert_close(kept, 0.75 * old + 0.25 * new.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("options", "moves"), [({}, False), ({"rise": True}, False), ({"rise": False}, True)])
def test_at_the_end_of_the_run_a_rising_target_stands(byol, options, moves):
    method = byol(**options)
    before = [parameter.clone() for parameter in method.target.parameters()]
    method.before_update(1.0)
    method.after_update(10)
    stood = [torch.equal(*pair) for pair in zip(method.target.parameters(), before, strict=True)]
    assert all(stood) is not moves


def test_the_predictor_belongs_to_the_online_side_alone(byol):
    method = byol()
    assert len(list(method.target.parameters())) == len([*method.encoder.parameters(), *method.projector.parameters()])


def test_what_to_change_depends_on_whether_there_is_a_predictor(byol):
    assert byol(False).advice == "give method.predictor its layers: without it both sides agree on one point"
    assert "method.momentum" in byol().advice


def test_a_momentum_that_is_no_share_is_refused(byol):
    with pytest.raises(ConfigError, match=r"^momentum: expected a share in \[0, 1\], got -1$"):
        byol(momentum=-1)
