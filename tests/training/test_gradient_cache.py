from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.methods.every import EVERY, fresh_method
from tests.training.pairs import gradients, new_simclr, pair_source
from textcl.methods.simclr import SimCLR
from textcl.training.gradient_cache import cached_backward
from textcl.views.cropping import Crop

B = 4


class Recording(SimCLR):
    """Keeps the embeddings of every chunk that it embeds."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.seen = []

    def embed(self, tokens):
        embeddings = super().embed(tokens)
        self.seen.append(embeddings.detach().clone())
        return embeddings


def batch_for(method, texts):
    """Four pairs of different crops; two equal views would have almost no gradient."""
    source = pair_source(method.encoder, texts, first=Crop(0.3, 0.9), second=Crop(0.3, 0.9))
    return source.draw(np.array([3, 0, 5, 1]), 0)


def cached(method, batch, chunk_rows, seed_chunk=torch.manual_seed, backward=torch.Tensor.backward):
    return cached_backward(method.train(), batch, chunk_rows, seed_chunk, backward)


@pytest.mark.parametrize(
    ("name", "chunk_rows"),
    [*(("simclr", rows) for rows in (1, 2, 4, 5, 6, 7, 8, 100)), *((name, 3) for name in EVERY)],
)
def test_the_cached_step_has_the_gradients_of_the_whole_batch(tiny_model_folder, tiny_corpus, name, chunk_rows):
    # In double precision, where rounding cannot hide a small mistake nor look like one.
    whole, chunked = (fresh_method(name, tiny_model_folder, dropout=0.0).double() for _copy in range(2))
    batch = batch_for(whole, tiny_corpus)
    expected = whole.train()(batch=batch)
    expected.loss.backward()
    output = cached(chunked, batch, chunk_rows)
    found, wanted = gradients(chunked), gradients(whole)
    assert found.keys() == wanted.keys()
    assert max(one.abs().max() for one in wanted.values()) > 1e-3
    for parameter in wanted:
        assert_close(found[parameter], wanted[parameter], rtol=1e-9, atol=1e-12)
    assert_close(output.loss, expected.loss.detach(), rtol=1e-12, atol=0)
    assert not output.loss.requires_grad
    assert output.diagnostics.keys() == expected.diagnostics.keys()
    for diagnostic, value in expected.diagnostics.items():
        assert_close(output.diagnostics[diagnostic], value)


@pytest.mark.parametrize("chunk_rows", [1, 3, 8])
def test_with_dropout_the_second_forward_repeats_the_first(tiny_model_folder, tiny_corpus, chunk_rows):
    method = new_simclr(tiny_model_folder, dropout=0.3, projector=True, kind=Recording)
    cached(method, batch_for(method, tiny_corpus), chunk_rows)
    first, second = method.seen[: len(method.seen) // 2], method.seen[len(method.seen) // 2 :]
    assert len(first) == len(second) == -(-2 * B // chunk_rows)
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def test_without_seeds_the_second_forward_would_drop_other_units(tiny_model_folder, tiny_corpus):
    # Shows that the test above can fail.
    method = new_simclr(tiny_model_folder, dropout=0.3, kind=Recording)
    cached(method, batch_for(method, tiny_corpus), 3, seed_chunk=lambda number: None)
    assert not any(torch.equal(*pair) for pair in zip(method.seen[:3], method.seen[3:], strict=True))


def test_chunks_drop_different_units(tiny_model_folder, tiny_corpus):
    method = new_simclr(tiny_model_folder, dropout=0.3, kind=Recording)
    source = pair_source(method.encoder, tiny_corpus[:1] * 4)
    cached(method, source.draw(np.arange(4), 0), 4)
    assert not torch.equal(method.seen[0], method.seen[1])  # all rows are one text


def test_with_dropout_gradients_are_those_of_the_drawn_network(tiny_model_folder, tiny_corpus):
    """One chunk as large as the batch is the plain step, dropout and all."""
    whole = new_simclr(tiny_model_folder, dropout=0.3)
    chunked = new_simclr(tiny_model_folder, dropout=0.3)
    batch = batch_for(whole, tiny_corpus)
    torch.manual_seed(0)  # the seed of chunk 0
    whole.train()(batch=batch).loss.backward()
    cached(chunked, batch, 2 * B)
    for name, wanted in gradients(whole).items():
        assert_close(gradients(chunked)[name], wanted, rtol=1e-5, atol=1e-6)


def test_gradients_are_added_to_those_that_stand(tiny_model_folder, tiny_corpus):
    once, twice = (new_simclr(tiny_model_folder, dropout=0.0) for _time in range(2))
    batch = batch_for(once, tiny_corpus)
    cached(once, batch, 3)
    for _time in range(2):
        cached(twice, batch, 3)
    for name, gradient in gradients(once).items():
        assert_close(gradients(twice)[name], 2 * gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_rows", [3, 8])
def test_a_share_of_the_loss_has_that_share_of_every_gradient(tiny_model_folder, tiny_corpus, chunk_rows):
    """As in a step of four batches; once the chunks were scaled a second time, the encoder's share was a sixteenth."""
    methods = []
    for share in (1, 4):
        method = fresh_method("byol", tiny_model_folder, dropout=0.0).double()
        methods.append(method)
        cached(method, batch_for(method, tiny_corpus), chunk_rows, backward=lambda loss, n=share: (loss / n).backward())
    whole, quarter = map(gradients, methods)
    assert whole.keys() == quarter.keys()
    for name, gradient in whole.items():
        assert_close(4 * quarter[name], gradient, rtol=1e-9, atol=1e-12)
