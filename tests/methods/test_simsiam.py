from __future__ import annotations

import pytest
from torch.nn import functional as F
from torch.testing import assert_close

from tests import oracles
from tests.methods.batches import lists, make_batch, sides_of
from tests.training.pairs import gradients
from textcl.encoder.forward import forward_rows
from textcl.encoder.heads import Projector
from textcl.encoder.load import load_encoder
from textcl.methods import SimSiam


@pytest.fixture
def batch(tiny_encoder, tiny_corpus):
    return make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10], [[0], [1], [2], [1], [4]])


@pytest.fixture
def simsiam(tiny_model_folder):
    """Makes SimSiam in double precision without dropout."""

    def make(**options):
        projector = Projector(32, 16, 8, norm="batch", norm_out=True)
        predictor = Projector(8, 4, 8, norm="batch")
        encoder = load_encoder(tiny_model_folder, dropout=0.0)
        return SimSiam(encoder, projector, predictor, **options).double().train()

    return make


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_the_loss_is_minus_the_cosine_of_prediction_and_projection_both_ways(simsiam, batch, stop_gradient):
    method = simsiam(stop_gradient=stop_gradient)
    projections = sides_of(method.encoder, batch, method.projector)
    first, second = map(lists, projections)
    towards_second, towards_first = (lists(method.predictor(side)) for side in projections)
    ways = oracles.negative_cosine(towards_second, second), oracles.negative_cosine(towards_first, first)
    assert ways[0] != pytest.approx(ways[1], rel=1e-3)
    assert method(batch).loss.item() == pytest.approx(sum(ways) / 2, rel=1e-9)


def gradients_by_hand(method, batch, stop_gradient):
    first, second = (method.projector(side) for side in forward_rows(method.encoder, batch.tokens).split(5))
    towards = method.predictor(first), method.predictor(second)
    targets = (second.detach(), first.detach()) if stop_gradient else (second, first)
    cosines = [F.cosine_similarity(*pair).mean() for pair in zip(towards, targets, strict=True)]
    method.zero_grad()
    (-sum(cosines) / 2).backward()
    return gradients(method)


def test_gradients_are_those_of_constant_targets_and_without_stop_gradient_others(simsiam, batch):
    method = simsiam()
    found = {}
    for stop_gradient in (True, False):
        method.stop_gradient = stop_gradient
        method.zero_grad()
        method(batch).loss.backward()
        found[stop_gradient] = gradients(method)
        wanted = gradients_by_hand(method, batch, stop_gradient)
        assert found[stop_gradient].keys() == wanted.keys()
        for name, gradient in wanted.items():
            assert_close(found[stop_gradient][name], gradient, rtol=1e-9, atol=1e-12)
    name = "projector.layers.0.weight"
    assert not found[True][name].allclose(found[False][name], rtol=1e-2)


def test_the_gradient_stops_unless_it_is_told_otherwise(simsiam):
    assert simsiam().stop_gradient
    assert not simsiam(stop_gradient=False).stop_gradient


def test_diagnostics_are_of_the_embeddings(simsiam, batch):
    method = simsiam()
    first, second = map(lists, sides_of(method.encoder, batch))
    own = [oracles.cosine(*pair) for pair in zip(first, second, strict=True)]
    diagnostics = method(batch).diagnostics
    assert diagnostics["positive_cosine"].item() == pytest.approx(sum(own) / 5, rel=1e-5)
    assert "masked_fraction" not in diagnostics  # nobody is told apart


def test_what_to_change_depends_on_whether_the_gradient_stops(simsiam):
    advice = simsiam(stop_gradient=False).advice
    assert advice == "set method.stop_gradient: true; without it both sides agree on one point"
    assert "training.head_rate" in simsiam().advice
