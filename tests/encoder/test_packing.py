"""A packed forward pass gives what the padded one gives, in every family that is packed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize

from tests.encoder.families import encoder_of_family
from tests.strategies import plain_rows
from textcl.corpus.tokens import TokenRows, offsets_of
from textcl.encoder.forward import forward_rows
from textcl.encoder.layers import transformer_of
from textcl.encoder.packing import FAMILIES, is_packable


@pytest.fixture
def of_family(tiny_model_folder):
    """Return an encoder with a random transformer of a family."""
    return partial(encoder_of_family, tiny_model_folder)


@pytest.fixture
def rows():
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, 60, size=50)
    ids = generator.integers(5, 120, size=lengths.sum()).astype(np.int32)
    return TokenRows(ids, offsets_of(lengths), np.zeros(len(ids), np.uint8))


def outcome(encoder, rows, **options):
    """Return the embeddings of rows and the gradients of a function of them, in numbers of 64 bits."""
    encoder.double().zero_grad()
    embeddings = forward_rows(encoder, rows, **options)
    weights = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (embeddings * weights).sum().backward()
    found = {name: one.grad.clone() for name, one in encoder.named_parameters() if one.grad is not None}
    return embeddings.detach(), found


def assert_alike(encoder, rows, **options):
    packed, padded = (outcome(encoder, rows, packed=packed, **options) for packed in (True, False))
    torch.testing.assert_close(packed[0], padded[0], atol=1e-9, rtol=1e-7)
    assert packed[1].keys() == padded[1].keys()
    for name, gradient in packed[1].items():
        torch.testing.assert_close(gradient, padded[1][name], atol=1e-9, rtol=1e-7, msg=name)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_and_gradients_equal_the_padded_ones(of_family, rows, family, mode):
    encoder = of_family(family).train(mode == "train")
    assert is_packable(encoder)
    assert_alike(encoder, rows, group_tokens=400)


def test_rows_longer_than_a_window_are_equal_where_they_are_longer_than_it(of_family):
    """ModernBERT's local layers see 8 tokens to each side; a row of 17 tokens has two that do not see each other."""
    encoder = of_family("modernbert").eval()
    ids = [np.arange(length) % 100 + 5 for length in (7, 8, 9, 10, 16, 17, 18, 40)]
    assert_alike(encoder, plain_rows(*(one.tolist() for one in ids)))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"])
@pytest.mark.parametrize("prompt_tokens", [0, 3])
def test_poolings_are_equal(tiny_encoder, rows, pooling, prompt_tokens):
    rows = rows.take(np.flatnonzero(rows.lengths > 4))
    tiny_encoder.eval()[1].pooling_mode = (pooling,)
    tiny_encoder[1].include_prompt = False
    assert_alike(tiny_encoder, rows, prompt_tokens=prompt_tokens)


def test_modules_behind_the_pooling_are_equal(tiny_encoder, rows):
    torch.manual_seed(0)
    tiny_encoder.eval().append(Dense(32, 8))
    tiny_encoder.append(Normalize())
    assert is_packable(tiny_encoder)
    assert_alike(tiny_encoder, rows)


def test_a_row_depends_on_itself_alone(tiny_encoder, rows):
    tiny_encoder.eval()
    with torch.no_grad():
        whole = forward_rows(tiny_encoder, rows, group_tokens=100_000)
        changed = rows.ids.copy()
        changed[: rows.offsets[10]] = 7
        other = forward_rows(tiny_encoder, TokenRows(changed, rows.offsets, rows.marks), group_tokens=100_000)
    assert torch.equal(whole[10:], other[10:])
    assert not torch.allclose(whole[:10], other[:10])


def test_dropout_of_attention_is_as_strong_packed_as_padded(of_family, rows):
    """The mean over draws is the same; so is their spread."""
    encoder, count = of_family("bert", attention_probs_dropout_prob=0.3).train(), 150
    rows = rows.take(np.arange(12))

    def drawn(packed):
        torch.manual_seed(0)
        with torch.no_grad():
            return torch.stack([forward_rows(encoder, rows, packed=packed) for _ in range(count)])

    packed, padded = drawn(True), drawn(False)
    assert padded.std(0).mean() > 1e-4
    assert packed.std(0).mean().item() == pytest.approx(padded.std(0).mean().item(), rel=0.05)
    noise = padded.std(0) / count**0.5
    assert ((packed.mean(0) - padded.mean(0)).abs() / noise).mean() < 1.5  # 1.13 for two samples of one distribution


def test_the_model_has_its_own_attention_again_whatever_happens(tiny_encoder, rows):
    config = transformer_of(tiny_encoder).config
    before = config._attn_implementation
    forward_rows(tiny_encoder, rows)
    assert config._attn_implementation == before
    with pytest.raises(IndexError):
        forward_rows(tiny_encoder, plain_rows([10**6]))
    assert config._attn_implementation == before


def test_families_with_more_to_their_attention_run_padded(of_family, rows):
    encoder = of_family("mpnet", pad_token_id=1, max_position_embeddings=514).eval()
    assert not is_packable(encoder)
    with torch.no_grad():
        alone = torch.cat([forward_rows(encoder, rows.take(np.array([row]))) for row in range(len(rows))])
        torch.testing.assert_close(forward_rows(encoder, rows), alone, atol=1e-6, rtol=1e-5)


def test_a_model_of_another_library_s_modules_runs_padded(tiny_encoder):
    class Own(torch.nn.Module):
        def forward(self, features):
            return features

    assert is_packable(tiny_encoder)
    assert not is_packable(SentenceTransformer(modules=[tiny_encoder[0], tiny_encoder[1], Own()]))
