from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.methods.every import EVERY, fresh_method
from tests.training.pairs import gradients, new_simclr, pair_source
from textcl.training.gradient_cache import cached_backward, split_rows
from textcl.views.cropping import Crop

LIMITS = st.one_of(
    st.integers(1, 20).map(lambda rows: {"chunk_rows": rows}),
    st.integers(1, 150).map(lambda tokens: {"chunk_tokens": tokens}),
)


def batch_of(method, texts, rows):
    """Pairs of different crops; two equal views would have almost no gradient."""
    return pair_source(method.encoder, texts, first=Crop(0.3, 0.9), second=Crop(0.3, 0.9)).draw(np.array(rows), 0)


def batch_for(method, texts):
    """Four pairs, that is eight rows of 8 to 24 tokens where all sides are trained."""
    return batch_of(method, texts, [3, 0, 5, 1])


def cached(method, batch, *, seed_chunk=torch.manual_seed, backward=torch.Tensor.backward, **limits):
    return cached_backward(method.train(), batch, seed_chunk, backward, **limits)


def recorded(method):
    """The embeddings of every chunk that the method will embed, as they come."""
    seen, embed = [], method.embed

    def keeping(tokens):
        seen.append(embed(tokens))
        return seen[-1]

    method.embed = keeping
    return seen


def assert_same_gradients(found, wanted, **tolerance):
    assert found.keys() == wanted.keys()
    assert max(one.abs().max() for one in wanted.values()) > 1e-3
    for name in wanted:
        assert_close(found[name], wanted[name], **tolerance)


# --- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
@given(data=st.data())
@settings(max_examples=6)
def test_the_cached_step_has_the_gradients_of_the_whole_batch(tiny_model_folder, tiny_corpus, name, data):
    # In double precision, where rounding cannot hide a small mistake nor look like one.
    method = fresh_method(name, tiny_model_folder, dropout=0.0).double().train()
    rows = data.draw(st.lists(st.integers(0, 29), min_size=3, max_size=10, unique=True), label="rows")
    texts = [" ".join(text.split()[: 1 + row * 7 % 12]) for row, text in enumerate(tiny_corpus[:30])]
    batch = batch_of(method, texts, rows)
    expected = method(batch=batch)
    expected.loss.backward()
    wanted = gradients(method)
    method.zero_grad()
    output = cached(method, batch, **data.draw(LIMITS, label="limits"))
    assert_same_gradients(gradients(method), wanted, rtol=1e-8, atol=1e-10)
    assert_close(output.loss, expected.loss.detach(), rtol=1e-10, atol=1e-12)
    assert not output.loss.requires_grad
    assert output.diagnostics.keys() == expected.diagnostics.keys()
    for diagnostic, value in expected.diagnostics.items():
        assert_close(output.diagnostics[diagnostic], value)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("limits", [{"chunk_rows": 3}, {"chunk_tokens": 40}], ids=["rows", "tokens"])
@pytest.mark.parametrize("name", EVERY)
def test_with_dropout_gradients_are_those_of_the_drawn_network(tiny_model_folder, tiny_corpus, name, limits, device):
    """All chunks are embedded once, each behind its seed, and all of their graphs are kept."""
    copies = (fresh_method(name, tiny_model_folder, dropout=0.3) for _copy in range(2))
    whole, chunked = (method.to(device).double().train() for method in copies)
    batch = batch_for(whole, tiny_corpus)
    tokens = whole.trained_tokens(batch)
    chunks = split_rows(tokens.lengths, **limits)
    assert len(chunks) > 1
    embeddings = [None] * len(tokens)
    for number, chunk in enumerate(chunks):
        torch.manual_seed(number)
        for row, embedding in zip(chunk, whole.embed(tokens.take(chunk)), strict=True):
            embeddings[row] = embedding
    whole.loss(torch.stack(embeddings), whole.embed_fixed(batch), batch).loss.backward()
    cached(chunked, batch, **limits)
    assert_same_gradients(gradients(chunked), gradients(whole), rtol=1e-8, atol=1e-10)


def test_one_chunk_is_the_plain_step_dropout_and_all(tiny_model_folder, tiny_corpus):
    whole, chunked = (new_simclr(tiny_model_folder, dropout=0.3) for _copy in range(2))
    batch = batch_for(whole, tiny_corpus)
    torch.manual_seed(0)  # the seed of chunk 0
    whole.train()(batch=batch).loss.backward()
    cached(chunked, batch, chunk_tokens=1000)
    assert_same_gradients(gradients(chunked), gradients(whole), rtol=1e-5, atol=1e-6)


def test_gradients_are_added_to_those_that_stand(tiny_model_folder, tiny_corpus):
    once, twice = (new_simclr(tiny_model_folder, dropout=0.0) for _time in range(2))
    batch = batch_for(once, tiny_corpus)
    cached(once, batch, chunk_rows=3)
    for _time in range(2):
        cached(twice, batch, chunk_rows=3)
    for name, gradient in gradients(once).items():
        assert_close(gradients(twice)[name], 2 * gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("chunk_rows", [3, 8])
def test_a_share_of_the_loss_has_that_share_of_every_gradient(tiny_model_folder, tiny_corpus, chunk_rows):
    """As in a step of four batches; once the chunks were scaled a second time, the encoder's share was a sixteenth."""
    methods = []
    for share in (1, 4):
        method = fresh_method("byol", tiny_model_folder, dropout=0.0).double()
        methods.append(method)
        backward = lambda loss, n=share: (loss / n).backward()  # noqa: E731
        cached(method, batch_for(method, tiny_corpus), chunk_rows=chunk_rows, backward=backward)
    whole, quarter = map(gradients, methods)
    assert whole.keys() == quarter.keys()
    for name, gradient in whole.items():
        assert_close(4 * quarter[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chunk_rows", [3, 8])
def test_in_bfloat16_gradients_are_as_near_as_that_is(tiny_model_folder, tiny_corpus, chunk_rows):
    """Weights are cast once for several forwards; a cast made without a gradient once served those that need one."""
    exact, whole, chunked = (fresh_method("simclr", tiny_model_folder, dropout=0.0) for _copy in range(3))
    batch = batch_for(whole, tiny_corpus)
    exact.train()(batch=batch).loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        whole.train()(batch=batch).loss.backward()
        cached(chunked, batch, chunk_rows=chunk_rows)
    vectors = [torch.cat([one.flatten() for one in gradients(method).values()]) for method in (exact, whole, chunked)]
    assert len({len(one) for one in vectors}) == 1
    rounding = (vectors[1] - vectors[0]).norm()
    assert 0 < rounding < 0.2 * vectors[0].norm()
    assert (vectors[2] - vectors[0]).norm() < 1.5 * rounding


# --- what is run, and what is held ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_the_second_forward_of_a_chunk_drops_the_units_of_the_first(tiny_model_folder, tiny_corpus, name):
    method = fresh_method(name, tiny_model_folder, dropout=0.3)
    seen = recorded(method)
    cached(method, batch_for(method, tiny_corpus), chunk_tokens=40)
    chunks = (len(seen) + 1) // 2
    assert len(seen) == 2 * chunks - 1 > 1  # the last one is not run again
    assert all(torch.equal(*pair) for pair in zip(seen[: chunks - 1], seen[chunks:], strict=True))


def test_without_seeds_the_second_forward_would_drop_other_units(tiny_model_folder, tiny_corpus):
    # Shows that the test above can fail.
    method = new_simclr(tiny_model_folder, dropout=0.3)
    seen = recorded(method)
    cached(method, batch_for(method, tiny_corpus), chunk_rows=3, seed_chunk=lambda number: None)
    assert not any(torch.equal(*pair) for pair in zip(seen[:2], seen[3:], strict=True))


def test_chunks_drop_different_units(tiny_model_folder, tiny_corpus):
    method = new_simclr(tiny_model_folder, dropout=0.3)
    seen = recorded(method)
    source = pair_source(method.encoder, tiny_corpus[:1] * 4)
    cached(method, source.draw(np.arange(4), 0), chunk_rows=4)
    assert not torch.equal(seen[0], seen[1])  # all rows are one text


@pytest.mark.parametrize(("chunk_rows", "graphs"), [(8, [True]), (3, [False, False, True, True, True])])
def test_while_the_loss_is_computed_the_last_chunk_alone_has_a_graph(
    tiny_model_folder, tiny_corpus, chunk_rows, graphs
):
    method = new_simclr(tiny_model_folder)
    seen, loss = recorded(method), method.loss
    before = []

    def watching(*parts):
        before.extend(one.requires_grad for one in seen)
        return loss(*parts)

    method.loss = watching
    cached(method, batch_for(method, tiny_corpus), chunk_rows=chunk_rows)
    assert [one.requires_grad for one in seen] == graphs
    assert before == graphs[: len(before)]
    assert len(before) == -(-8 // chunk_rows)


# --- chunks ---------------------------------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30),
    chunk_rows=st.none() | st.integers(1, 31),
    chunk_tokens=st.none() | st.integers(1, 300),
)
@example(lengths=[5, 40, 5], chunk_rows=None, chunk_tokens=10)  # a row longer than the budget stands first, alone
def test_chunks_hold_as_many_rows_as_fit_the_longest_first(lengths, chunk_rows, chunk_tokens):
    lengths = np.array(lengths)
    chunks = split_rows(lengths, chunk_rows, chunk_tokens)
    longest_first = sorted(range(len(lengths)), key=lambda row: -lengths[row])  # stable
    assert np.concatenate(chunks).tolist() == longest_first
    for number, chunk in enumerate(chunks):
        following = [] if number + 1 == len(chunks) else [chunks[number + 1][0]]
        assert len(chunk) > 0
        assert len(chunk) <= (chunk_rows or 30)
        assert len(chunk) == 1 or lengths[chunk].sum() <= (chunk_tokens or 1200)
        for row in following:  # one more would not have fitted
            fits_rows = len(chunk) + 1 <= (chunk_rows or 30)
            assert not (fits_rows and lengths[chunk].sum() + lengths[row] <= (chunk_tokens or 1200))
