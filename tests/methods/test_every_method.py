"""What holds for each method alike, as its recipe makes it."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.methods.batches import make_batch, shift
from tests.methods.every import EVERY, new_method
from tests.training.pairs import gradients
from textcl.encoder.load import load_encoder, save_encoder, set_dropout
from textcl.encoder.momentum import MomentumEncoder
from textcl.losses import Scheduled
from textcl.methods import Regulariser

every = pytest.mark.parametrize("name", EVERY)
HARD = {"simcse", "pairs", "siglip", "moco", "moco_symmetric", "late_regularisers", "matryoshka", "distilled"}


@pytest.fixture(scope="module")
def encoder(tiny_model_folder):
    return load_encoder(tiny_model_folder)


@pytest.fixture(scope="module")
def batch(encoder, tiny_corpus):
    """Five rows; 1 and 3 share a label."""
    return make_batch(encoder, tiny_corpus[:5], tiny_corpus[5:10], [[0], [1], [2], [1], [4]])


@pytest.fixture(scope="module")
def earlier(encoder, tiny_corpus):
    """Other five, two of which have a label that `batch` has too."""
    return make_batch(encoder, tiny_corpus[20:25], tiny_corpus[25:30], [[20], [1], [22], [4], [24]])


@pytest.fixture
def new(encoder):
    """Makes methods in double precision, without dropout, whose encoder is a little off its start."""

    def make(name, dropout=0.0, **more):
        copied = copy.deepcopy(encoder)
        set_dropout(copied, dropout)
        method = new_method(name, copied, **more).double().train()
        shift(method.encoder)
        return method

    return make


def train(method, *batches):
    """A step of gradient descent a batch."""
    optimizer = torch.optim.SGD([one for one in method.parameters() if one.requires_grad], lr=0.05)
    for step, batch in enumerate(batches, start=1):
        method.before_update(0.5)
        optimizer.zero_grad()
        method(batch).loss.backward()
        optimizer.step()
        method.after_update(step)
    return method


@every
def test_the_state_holds_the_whole_run(new, batch, earlier, name):
    trained, other = train(new(name), earlier), new(name)
    assert trained(batch).loss.item() != pytest.approx(other(batch).loss.item(), rel=1e-4)
    other.load_state_dict(trained.state_dict())
    other.after_update(1)  # what the loss above has put aside belongs to no run
    other.load_state_dict(trained.state_dict())
    assert other(batch).loss.item() == trained(batch).loss.item()


# Attention's softmax takes no notice of what is added to all keys alike, nor a batch's scaling, or its covariance, of
# what is added to all rows alike.
KEYS = {f"encoder.0.model.encoder.layer.{layer}.attention.self.key.bias" for layer in (0, 1)}
LAST = "encoder.0.model.encoder.layer.1.output.LayerNorm.bias"
CENTRED = {LAST, "projector.layers.0.bias", "projector.layers.3.bias"}
WITHOUT_EFFECT = {
    "byol": {*CENTRED, "predictor.layers.0.bias"},
    "simsiam": {*CENTRED, "projector.layers.6.bias", "predictor.layers.0.bias"},
    "barlow_twins": CENTRED,
    "vicreg": CENTRED,
}


@every
def test_each_trained_weight_has_a_gradient_and_no_fixed_one(new, batch, earlier, name):
    method = train(new(name), earlier)
    method.zero_grad()
    method(batch).loss.backward()
    trained = {one for one, parameter in method.named_parameters() if parameter.requires_grad}
    found = gradients(method)
    assert found.keys() == trained
    assert {one for one in found if found[one].abs().max() < 1e-9} == {*KEYS, *WITHOUT_EFFECT.get(name, ())}
    kept = {one for one, _parameter in method.named_parameters()} - trained
    beside = ("momentum_encoder.", "target.", "regularisers.")
    assert all(one.startswith(beside) or ".pooler." in one for one in kept)


@every
def test_the_loss_does_not_depend_on_which_rows_share_a_chunk(new, batch, earlier, name):
    method = train(new(name), earlier)
    expected = method(batch).loss.item()
    tokens, order = method.trained_tokens(batch), np.arange(len(method.trained_tokens(batch)))
    for chunk in (1, 3, 4):
        parts = [method(tokens=tokens.take(order[start : start + chunk])) for start in range(0, len(order), chunk)]
        loss = method.loss(torch.cat(parts), method.embed_fixed(batch), batch).loss
        assert loss.item() == pytest.approx(expected, rel=1e-12)


def permuted(batch, order):
    places = np.concatenate([side * len(batch) + order for side in range(batch.sides)])
    hard = None if batch.negative_groups is None else batch.negative_groups[order]
    return dataclasses.replace(
        batch,
        tokens=batch.tokens.take(places), rows=batch.rows[order], groups=batch.groups[order], negative_groups=hard,
    )  # fmt: skip


@every
def test_the_order_of_the_rows_does_not_matter(new, batch, earlier, encoder, tiny_corpus, name):
    method, batches = train(new(name), earlier), [batch]
    if name in HARD:
        hard = [tiny_corpus[10:15], tiny_corpus[15:20]]
        groups = [[50, 0], [51, 52], [53, 54], [55, 4], [56, 57]]
        batches.append(make_batch(encoder, tiny_corpus[:5], tiny_corpus[5:10], batch.groups, hard, groups))
    for one in batches:
        mixed = permuted(one, np.array([3, 0, 4, 1, 2]))
        assert method(mixed).loss.item() == pytest.approx(method(one).loss.item(), rel=1e-9)
        apart = dataclasses.replace(one, tokens=one.tokens.take(np.r_[3, 0, 4, 1, 2, 5 : len(one.tokens)]))
        assert method(apart).loss.item() != pytest.approx(method(one).loss.item(), rel=1e-4)


@every
def test_training_drops_units_and_evaluation_none_while_copies_never_do(new, batch, name):
    method = new(name, dropout=0.3)
    fixed = [module for one in method.modules() if isinstance(one, MomentumEncoder) for module in one.modules()]
    for one in method.modules():
        if isinstance(one, Regulariser) and one.frozen is not None:
            fixed += one.frozen.modules()
    for training in (True, False):
        method.train(training)
        dropping = {module for module in method.modules() if module.training}
        assert dropping == (set(method.modules()) - set(fixed) if training else set())
        embeddings = [method.embed(batch.tokens) for _time in range(2)]
        assert torch.equal(*embeddings) is not training
        first, second = method.embed_fixed(batch), method.embed_fixed(batch)
        assert all(torch.equal(first[one], second[one]) for one in first)


@every
def test_the_saved_encoder_has_the_encoder_s_weights_alone(new, batch, encoder, tmp_path, name):
    method = train(new(name).float(), batch)
    save_encoder(method.encoder, tmp_path)
    saved, original = load_encoder(tmp_path).state_dict(), encoder.state_dict()
    assert saved.keys() == original.keys()
    assert all(torch.equal(saved[one], tensor) for one, tensor in method.encoder.state_dict().items())
    assert any(not torch.equal(saved[one], tensor) for one, tensor in original.items())


@pytest.mark.parametrize("name", ["simclr", "siglip", "moco", "matryoshka"])
def test_a_scheduled_temperature_hears_how_far_the_run_is(new, batch, name):
    method = new(name, temperature={"start": 0.2, "end": 0.05})
    scheduled = [module for module in method.modules() if isinstance(module, Scheduled)]
    losses = []
    for progress in (0.0, 0.5, 1.0):
        method.before_update(progress)
        assert [module.progress for module in scheduled] == [progress]
        losses.append(method(batch).loss.item())
    steady = [new(name, temperature=temperature)(batch).loss.item() for temperature in (0.2, 0.125, 0.05)]
    assert losses == pytest.approx(steady, rel=1e-9)


def test_a_rising_momentum_hears_how_far_the_run_is(new):
    method = new("byol", momentum=0.9)
    found = []
    for progress in (0.0, 0.5, 1.0):
        method.before_update(progress)
        found.append(method.target.momentum)
    assert found == pytest.approx([0.9, 0.95, 1.0])


@every
def test_diagnostics_are_numbers_without_a_gradient(new, batch, name):
    method = new(name)
    assert method.takes_hard_negatives == (name in HARD)
    output = method(batch)
    assert output.loss.shape == ()
    assert output.loss.requires_grad
    masked = {"masked_fraction", "masked_text_fraction"}
    assert {"positive_cosine", "negative_cosine"} <= output.diagnostics.keys()
    assert (masked <= output.diagnostics.keys()) == hasattr(method, "masker")
    assert all(not value.requires_grad and math.isfinite(value) for value in output.diagnostics.values())
    assert all(isinstance(value, float) for value in method.measures(1).values())
