from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from tests.methods.batches import make_batch, shift
from textcl.encoder.forward import forward_rows
from textcl.encoder.heads import Projector
from textcl.encoder.load import load_encoder
from textcl.encoder.momentum import MomentumEncoder, update_momentum
from textcl.errors import ConfigError

SHARE = st.floats(0, 1)


def linear(seed):
    """A layer in double precision; equal seeds give equal ones."""
    layer = nn.Linear(3, 2).double().requires_grad_(False)
    for parameter in layer.parameters():
        parameter.zero_()
    return shift(layer, seed, size=1.0)


def weights(module):
    return [parameter.clone() for parameter in module.parameters()]


@pytest.fixture
def tokens(tiny_encoder, tiny_corpus):
    return make_batch(tiny_encoder, tiny_corpus[:3], tiny_corpus[3:6]).tokens


@given(momentum=SHARE)
def test_an_update_is_the_formula(momentum):
    target, online = linear(1), linear(2)
    before, new = weights(target), weights(online)
    update_momentum(target, online, momentum)
    for kept, old, moved in zip(target.parameters(), before, new, strict=True):
        assert_close(kept.detach(), momentum * old + (1 - momentum) * moved, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(*pair) for pair in zip(weights(online), new, strict=True))


def test_momentum_0_copies_and_momentum_1_never_moves_bit_for_bit():
    far = [1e12 * weight for weight in weights(linear(1))]  # adding their difference from the others would round
    for momentum, followed in ((0.0, weights(linear(2))), (1.0, far)):
        target = nn.Linear(3, 2).double()
        target.load_state_dict(dict(zip(("weight", "bias"), far, strict=True)))
        update_momentum(target, linear(2), momentum)
        assert all(torch.equal(*pair) for pair in zip(weights(target), followed, strict=True))


def test_buffers_are_copied_whatever_the_momentum():
    target, online = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    online(torch.randn(5, 3))
    assert not torch.equal(target.running_mean, online.running_mean)
    update_momentum(target, online, 0.9)
    assert all(torch.equal(*pair) for pair in zip(target.buffers(), online.buffers(), strict=True))


@pytest.mark.parametrize("other", [nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), nn.BatchNorm1d(3, affine=False)])
def test_modules_that_do_not_match_are_refused(other):
    for pair in ((nn.Sequential(), other), (other, nn.Sequential())):
        with pytest.raises(ValueError, match="zip"):
            update_momentum(*pair, 0.5)


def test_encoder_and_projector_follow_theirs(tiny_encoder):
    projector = Projector(32, 16, 8)
    copied = MomentumEncoder(tiny_encoder, projector, 0.75)
    old = [*weights(tiny_encoder), *weights(projector)]
    shift(tiny_encoder)
    shift(projector)
    copied.update(tiny_encoder, projector)
    new = [*weights(tiny_encoder), *weights(projector)]
    for kept, before, after in zip(copied.parameters(), old, new, strict=True):
        assert_close(kept.detach(), 0.75 * before + 0.25 * after, rtol=1e-6, atol=1e-7)


def test_what_happens_to_the_original_does_not_reach_the_copy(tiny_encoder, tokens):
    projector = Projector(32, 16, 8)
    copied = MomentumEncoder(tiny_encoder, projector, 0.9)
    before = copied.project(copied.embed(tokens))
    assert_close(before, projector(forward_rows(tiny_encoder, tokens)).detach())
    shift(tiny_encoder)
    shift(projector)
    assert torch.equal(copied.project(copied.embed(tokens)), before)


def test_the_copy_needs_no_gradients_and_leaves_those_of_the_original(tiny_encoder, tokens):
    projector = Projector(32, 16, 8)
    copied = MomentumEncoder(tiny_encoder.train(), projector, 0.9)
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert all(one.requires_grad for module in (tiny_encoder, projector) for one in module.parameters())
    assert tiny_encoder.training
    embeddings = torch.randn(2, 32, requires_grad=True)
    assert not copied.embed(tokens).requires_grad
    assert not copied.project(embeddings).requires_grad


def test_without_a_projector_projections_are_the_embeddings(tiny_encoder):
    embeddings = torch.randn(2, 32)
    assert MomentumEncoder(tiny_encoder, None, 0.9).project(embeddings) is embeddings


def test_the_copy_drops_nothing_in_whatever_mode(tiny_model_folder, tokens):
    encoder = load_encoder(tiny_model_folder, dropout=0.5).train()
    copied = MomentumEncoder(encoder, None, 0.9)
    expected = forward_rows(load_encoder(tiny_model_folder), tokens).detach()
    assert torch.equal(copied.embed(tokens), expected)
    around = nn.ModuleList([copied]).train()
    assert around.training
    assert not any(module.training for module in copied.modules())
    assert torch.equal(copied.embed(tokens), expected)
    assert not torch.equal(forward_rows(encoder, tokens), expected)


@given(start=SHARE, progress=SHARE)
def test_a_rising_momentum_is_the_paper_s_cosine(start, progress):
    copied = MomentumEncoder(nn.Linear(1, 1), None, start, rise=True)
    assert copied.momentum == pytest.approx(start)
    copied.progress = progress
    assert copied.momentum == pytest.approx(1 - (1 - start) * (math.cos(math.pi * progress) + 1) / 2)


def test_a_rising_momentum_is_half_way_at_half_time_and_1_at_the_end():
    rising, steady = (MomentumEncoder(linear(1), None, 0.9, rise=rise) for rise in (True, False))
    found = []
    for progress in (0.0, 0.5, 1.0):
        rising.progress = steady.progress = progress
        found.append(rising.momentum)
        assert steady.momentum == 0.9
    assert found == pytest.approx([0.9, 0.95, 1.0], abs=1e-15)
    rising.update(linear(2), None)  # at its end
    assert all(torch.equal(*pair) for pair in zip(weights(rising), weights(linear(1)), strict=True))
    rising.progress = 0.5
    rising.update(linear(2), None)
    for kept, old, new in zip(weights(rising), weights(linear(1)), weights(linear(2)), strict=True):
        assert_close(kept, 0.95 * old + 0.05 * new)


@pytest.mark.parametrize("momentum", [-0.1, 1.001, math.nan, math.inf])
def test_a_momentum_that_is_no_share_is_refused(momentum):
    with pytest.raises(ConfigError) as caught:
        MomentumEncoder(nn.Linear(1, 1), None, momentum)
    assert str(caught.value) == f"momentum: expected a share in [0, 1], got {momentum}"
