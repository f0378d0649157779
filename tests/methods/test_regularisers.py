from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from tests import oracles
from tests.methods.batches import lists, make_batch, shift, sides_of
from tests.training.pairs import gradients
from textcl.encoder.forward import forward_rows
from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError
from textcl.losses import InfoNCE, SimilarityDistillation, Uniformity
from textcl.methods import MoCo, Pairs, Regulariser
from textcl.methods.method import ABSENT


@pytest.fixture
def batch(tiny_encoder, tiny_corpus):
    return make_batch(tiny_encoder, tiny_corpus[:4], tiny_corpus[4:8])


@pytest.fixture
def pairs(tiny_model_folder):
    """Makes Pairs in double precision without dropout; what is distilled from is the encoder before it moved."""

    def make(dropout=0.0, kind=Pairs, **weights):
        encoder = load_encoder(tiny_model_folder, dropout=dropout)
        terms = {"uniformity": (Uniformity(3.0), None), "distillation": (SimilarityDistillation(0.2), encoder)}
        added = {name: Regulariser(weight, *terms[name]) for name, weight in weights.items()}
        shift(encoder)
        return kind(encoder, InfoNCE(0.1), regularisers=added).double().train()

    return make


def test_terms_of_all_embeddings_are_added_with_their_weights_and_shown_without(pairs, batch, tiny_model_folder):
    method = pairs(uniformity=0.5, distillation=2.0)
    anchors, positives = map(lists, sides_of(method.encoder, batch))
    frozen = lists(*sides_of(load_encoder(tiny_model_folder).double(), batch))
    spread = (oracles.uniformity(anchors, 3.0) + oracles.uniformity(positives, 3.0)) / 2
    kept = oracles.similarity_distillation([*anchors, *positives], frozen, 0.2)
    output = method(batch)
    plain = oracles.info_nce(anchors, positives, 0.1)
    assert output.loss.item() == pytest.approx(plain + 0.5 * spread + 2.0 * kept, rel=1e-9)
    assert output.diagnostics["uniformity"].item() == pytest.approx(spread, rel=1e-9)
    assert output.diagnostics["distillation"].item() == pytest.approx(kept, rel=1e-9)
    assert not any(value.requires_grad for value in output.diagnostics.values())


def test_the_terms_do_not_see_hard_negatives_that_are_not_there(pairs, tiny_encoder, tiny_corpus, tiny_model_folder):
    texts, hard = tiny_corpus[:8], [["", tiny_corpus[8], "", tiny_corpus[9]], ["", "", "", tiny_corpus[10]]]
    labels = [[ABSENT, ABSENT], [100, ABSENT], [ABSENT, ABSENT], [101, 102]]
    batch = make_batch(tiny_encoder, texts[:4], texts[4:], hard=hard, negative_groups=labels)
    method = pairs(uniformity=0.5, distillation=2.0)
    anchors, positives, first, second = map(lists, sides_of(method.encoder, batch))
    frozen = [lists(side) for side in sides_of(load_encoder(tiny_model_folder).double(), batch)]
    diagnostics = method(batch).diagnostics
    sides = (anchors, positives, first[1::2])
    spread = sum(oracles.uniformity(side, 3.0) for side in sides) / 3
    assert diagnostics["uniformity"].item() == pytest.approx(spread, rel=1e-9)
    there = [*anchors, *positives, *first[1::2], second[3]]
    frozen_there = [*frozen[0], *frozen[1], *frozen[2][1::2], frozen[3][3]]
    kept = oracles.similarity_distillation(there, frozen_there, 0.2)
    assert diagnostics["distillation"].item() == pytest.approx(kept, rel=1e-9)


def test_in_moco_the_terms_see_the_queries_alone(pairs, batch, tiny_model_folder):
    method = pairs(kind=MoCo, uniformity=0.5, distillation=2.0)
    queries = lists(sides_of(method.encoder, batch)[0])
    frozen = lists(sides_of(load_encoder(tiny_model_folder).double(), batch)[0])
    diagnostics = method(batch).diagnostics
    assert diagnostics["uniformity"].item() == pytest.approx(oracles.uniformity(queries, 3.0), rel=1e-9)
    expected = oracles.similarity_distillation(queries, frozen, 0.2)
    assert diagnostics["distillation"].item() == pytest.approx(expected, rel=1e-9)


def test_a_weight_of_0_changes_nothing_and_is_shown_all_the_same(pairs, batch):
    plain, weightless = pairs(), pairs(uniformity=0.0, distillation=0)
    outputs = [method(batch) for method in (plain, weightless)]
    assert outputs[0].loss.item() == outputs[1].loss.item()
    assert outputs[1].diagnostics.keys() - outputs[0].diagnostics.keys() == {"uniformity", "distillation"}
    for output in outputs:
        output.loss.backward()
    found, wanted = gradients(weightless), gradients(plain)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], gradient) for name, gradient in wanted.items())


def test_the_frozen_encoder_never_changes_and_has_no_gradient(pairs, batch, tiny_model_folder):
    method = pairs(distillation=2.0)
    frozen = method.regularisers["distillation"].frozen
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1)
    for step in range(2):
        method(batch).loss.backward()
        optimizer.step()
        method.before_update(0.5)
        method.after_update(step)
    original = load_encoder(tiny_model_folder).double().state_dict()
    assert all(torch.equal(frozen.state_dict()[name], tensor) for name, tensor in original.items())
    assert not torch.equal(sides_of(method.encoder, batch)[0], sides_of(frozen, batch)[0])


@pytest.mark.parametrize("training", [True, False])
def test_the_frozen_encoder_drops_nothing_whatever_the_mode(tiny_model_folder, batch, training):
    encoder = load_encoder(tiny_model_folder, dropout=0.5).train(training)
    regulariser = Regulariser(1.0, SimilarityDistillation(), encoder)
    expected = forward_rows(load_encoder(tiny_model_folder), batch.tokens).detach()
    assert torch.equal(regulariser.embed_fixed(batch.tokens), expected)
    method = Pairs(encoder, InfoNCE(), regularisers={"distillation": regulariser}).train()
    assert torch.equal(method.embed_fixed(batch)["distillation"], expected)
    assert not method.embed_fixed(batch)["distillation"].requires_grad
    assert encoder.training
    assert not method.eval().regularisers["distillation"].training


def test_a_term_that_needs_no_encoder_has_nothing_fixed(pairs, batch):
    assert pairs(uniformity=1.0).embed_fixed(batch) == {}


def test_a_regulariser_is_its_loss_times_nothing():
    rows = torch.randn(5, 3, dtype=torch.float64)
    assert_close(Regulariser(7.0, Uniformity(2.0))([rows]).item(), oracles.uniformity(rows.tolist(), 2.0))


@pytest.mark.parametrize("weight", [-0.1, math.nan])
def test_a_weight_below_0_is_refused(weight):
    with pytest.raises(ConfigError) as caught:
        Regulariser(weight, Uniformity())
    assert str(caught.value) == f"weight: expected a number of at least 0, got {weight}"
