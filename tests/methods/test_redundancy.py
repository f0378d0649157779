from __future__ import annotations

import pytest

from tests import oracles
from tests.methods.batches import lists, make_batch, sides_of
from textcl.encoder.heads import Projector
from textcl.losses import BarlowTwins as BarlowTwinsLoss
from textcl.losses import VICReg as VICRegLoss
from textcl.methods import BarlowTwins, VICReg


@pytest.fixture
def batch(tiny_encoder, tiny_corpus):
    return make_batch(tiny_encoder, tiny_corpus[:6], tiny_corpus[6:12], [[0], [1], [2], [1], [4], [5]])


CASES = [
    (BarlowTwins, BarlowTwinsLoss(0.01), lambda first, second: oracles.barlow_twins(first, second, 0.01, 1.0)),
    (VICReg, VICRegLoss(20, 10, 2), lambda first, second: oracles.vicreg(first, second, 20, 10, 2)),
]


@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize(("kind", "loss", "oracle"), CASES)
def test_the_loss_is_that_of_the_projected_views(tiny_encoder, batch, kind, loss, oracle, projected):
    projector = Projector(32, 16, 8, norm="batch") if projected else None
    method = kind(tiny_encoder, loss, projector).double()
    views = sides_of(tiny_encoder, batch, projector)
    assert method(batch).loss.item() == pytest.approx(oracle(*map(lists, views)), rel=1e-9)


@pytest.mark.parametrize(("kind", "loss", "oracle"), CASES)
def test_diagnostics_are_of_the_embeddings(tiny_encoder, batch, kind, loss, oracle):
    method = kind(tiny_encoder, loss, Projector(32, 16, 8)).double()
    first, second = map(lists, sides_of(tiny_encoder, batch))
    own = [oracles.cosine(*pair) for pair in zip(first, second, strict=True)]
    diagnostics = method(batch).diagnostics
    assert diagnostics["positive_cosine"].item() == pytest.approx(sum(own) / 6, rel=1e-5)
    assert "masked_fraction" not in diagnostics  # nobody is told apart
    assert "training.batch_size" in method.advice
