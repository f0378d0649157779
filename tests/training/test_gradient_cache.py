from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.training.pairs import gradients, new_simclr, pair_source
from textcl.methods.simclr import SimCLR
from textcl.training.gradient_cache import cached_backward

B = 4


class Recording(SimCLR):
    """Keeps the projections of every chunk that it embeds."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.seen = []

    def embed(self, tokens):
        projections = super().embed(tokens)
        self.seen.append(projections["projection"].detach().clone())
        return projections


def batch_for(method, texts):
    return pair_source(method.encoder, texts).draw(np.array([3, 0, 5, 1]), 0)


def cached(method, batch, chunk_rows, seed_chunk=torch.manual_seed):
    return cached_backward(method.train(), batch, chunk_rows, seed_chunk, torch.Tensor.backward)


@pytest.mark.parametrize("projector", [False, True])
@pytest.mark.parametrize("chunk_rows", [*range(1, 2 * B + 1), 100])
def test_the_cached_step_has_the_gradients_of_the_whole_batch(tiny_model_folder, tiny_corpus, chunk_rows, projector):
    whole = new_simclr(tiny_model_folder, dropout=0.0, projector=projector)
    chunked = new_simclr(tiny_model_folder, dropout=0.0, projector=projector)
    batch = batch_for(whole, tiny_corpus)
    # Two equal views would have almost no gradient; the anchors are texts and the positives parts of them.
    batch = type(batch)(batch.tokens.cut(9), batch.rows, batch.groups)
    expected = whole.train()(batch=batch)
    expected.loss.backward()
    output = cached(chunked, batch, chunk_rows)
    found, wanted = gradients(chunked), gradients(whole)
    assert found.keys() == wanted.keys()
    size = max(one.abs().max() for one in wanted.values())
    assert size > 1e-3
    for name in wanted:
        assert_close(found[name] / size, wanted[name] / size, rtol=0, atol=1e-6)
    assert_close(output.loss, expected.loss.detach(), rtol=1e-6, atol=1e-6)
    assert not output.loss.requires_grad
    assert output.diagnostics.keys() == expected.diagnostics.keys()
    for name, value in expected.diagnostics.items():
        assert_close(output.diagnostics[name], value, rtol=1e-5, atol=1e-6)


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
    batch = batch_for(method, tiny_corpus[:1] * 6)
    cached(method, batch, 4)
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
