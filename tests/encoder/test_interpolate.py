from __future__ import annotations

import copy
import re

import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Dense

from tests.encoder.tiny_architectures import tiny_encoder_of
from textcl.encoder.interpolate import interpolate
from textcl.encoder.load import fingerprint_encoder, load_encoder
from textcl.errors import ConfigError


def trained_from(base):
    """A copy whose weights all differ."""
    encoder = copy.deepcopy(base)
    with torch.no_grad():
        for number, one in enumerate(encoder.parameters()):
            one.add_(torch.randn(one.shape, generator=torch.Generator().manual_seed(number)))
    return encoder


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("kind", ["bert", "t5"])  # T5 has two names for one table
def test_each_weight_is_that_of_the_definition(kind, share, tmp_path, tiny_tokenizer):
    base = tiny_encoder_of(kind, tmp_path, tiny_tokenizer)
    encoder = trained_from(base)
    theirs, ours = (copy.deepcopy(one.state_dict()) for one in (base, encoder))
    interpolate(encoder, base, share)
    for name, now in encoder.state_dict().items():
        expected = share * ours[name].double() + (1 - share) * theirs[name].double()
        assert torch.allclose(now.double(), expected, atol=1e-6), name
    assert all(torch.equal(one, theirs[name]) for name, one in base.state_dict().items())


def test_a_share_of_one_leaves_every_bit_and_of_zero_gives_the_base_s(tiny_encoder):
    encoder = trained_from(tiny_encoder)
    with torch.no_grad():
        for one, special in ((encoder, float("inf")), (tiny_encoder, -0.0)):
            next(one.parameters()).view(-1)[:3] = torch.tensor([special, -0.0, 1e-45])
        next(encoder.parameters()).view(-1)[3] = -0.0
    before = fingerprint_encoder(encoder)
    interpolate(encoder, tiny_encoder, 1.0)
    assert fingerprint_encoder(encoder) == before
    interpolate(encoder, tiny_encoder, 0.0)
    assert fingerprint_encoder(encoder) == fingerprint_encoder(tiny_encoder) != before


def test_buffers_of_floats_are_mixed_and_of_whole_numbers_stay(tiny_encoder):
    encoder = trained_from(tiny_encoder)
    for one, number in ((encoder, 8), (tiny_encoder, 4)):
        one[0].register_buffer("mean", torch.full((2,), float(number)))
        one[0].register_buffer("count", torch.tensor(number))
    interpolate(encoder, tiny_encoder, 0.75)
    assert encoder[0].mean.tolist() == [7.0, 7.0]
    assert encoder[0].count.item() == 8


def test_a_base_of_another_precision_is_brought_to_the_encoder_s(tiny_encoder):
    encoder = trained_from(tiny_encoder)
    expected = copy.deepcopy(encoder)
    interpolate(expected, tiny_encoder, 0.5)
    interpolate(encoder, tiny_encoder.double(), 0.5)
    assert fingerprint_encoder(encoder) == fingerprint_encoder(expected)


def test_weights_stay_trainable(tiny_encoder):
    encoder = trained_from(tiny_encoder)
    interpolate(encoder, tiny_encoder, 0.5)
    assert all(one.requires_grad and one.is_leaf for one in encoder.parameters())


def test_another_architecture_is_refused_by_the_first_weight_that_differs(tiny_encoder, tiny_model_folder, tmp_path):
    wide = load_encoder(tiny_model_folder)
    wide.append(Dense(32, 8))
    wider = load_encoder(tiny_model_folder)
    wider.append(Dense(32, 9))
    for encoder, base, message in (
        (tiny_encoder, wide, "2.linear.weight is (8, 32) there, missing here"),
        (wide, tiny_encoder, "2.linear.weight is missing there, (8, 32) here"),
        (wide, wider, "2.linear.weight is (9, 32) there, (8, 32) here"),
    ):
        before = fingerprint_encoder(encoder)
        with pytest.raises(ConfigError, match=f"^{re.escape(f'base: is of another architecture: {message}')}$"):
            interpolate(encoder, base, 0.5)
        assert fingerprint_encoder(encoder) == before


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share, tiny_encoder):
    with pytest.raises(ConfigError, match=rf"^share: expected a share in \[0, 1\], got {share}$"):
        interpolate(tiny_encoder, tiny_encoder, share)
