"""What textcl embeds and saves is what stock sentence-transformers embeds and opens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from textcl.corpus.tokens import special_tokens, tokenise
from textcl.encoder.embed import embed_texts
from textcl.encoder.forward import forward_rows
from textcl.encoder.load import POOLINGS, load_encoder, save_encoder, tokenizer_of


def stock(folder, texts, **options):
    return SentenceTransformer(str(folder), device="cpu").encode(texts, normalize_embeddings=True, **options)


@pytest.mark.parametrize("prompt", ["", "query: "])
def test_vectors_equal_those_of_stock_sentence_transformers(tiny_model_folder, tiny_corpus, prompt):
    texts = [*tiny_corpus[:20], " ".join(tiny_corpus)]  # the last one is far longer than the limit
    found = embed_texts(load_encoder(tiny_model_folder), texts, prompt=prompt)
    assert np.abs(found.vectors - stock(tiny_model_folder, texts, prompt=prompt)).max() < 1e-6
    assert found.cut_texts == 1


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_a_bare_encoder_with_pooling_saves_as_what_stock_opens_with_equal_vectors(
    tiny_hf_folder, tiny_corpus, tmp_path, pooling
):
    encoder = load_encoder(tiny_hf_folder, pooling=pooling, max_tokens=32)
    tmp_path.joinpath("model").mkdir()
    save_encoder(encoder, tmp_path / "model")
    assert np.abs(embed_texts(encoder, tiny_corpus).vectors - stock(tmp_path / "model", tiny_corpus)).max() < 1e-6


def test_poolings_give_different_vectors(tiny_hf_folder, tiny_corpus):
    made = [embed_texts(load_encoder(tiny_hf_folder, pooling=name), tiny_corpus[:3]).vectors for name in POOLINGS]
    for place, vectors in enumerate(made):
        assert all(np.abs(vectors - other).max() > 1e-3 for other in made[:place])


def test_groups_and_order_change_nothing(tiny_encoder, tiny_corpus):
    prefix, suffix = special_tokens(tokenizer_of(tiny_encoder))
    rows = tokenise(tiny_corpus, tokenizer_of(tiny_encoder)).wrapped(prefix, suffix, 64)
    with torch.inference_mode():
        whole = forward_rows(tiny_encoder, rows)
        order = np.random.default_rng(0).permutation(len(rows))
        for tokens in (1, 50, 100_000):
            shuffled = forward_rows(tiny_encoder, rows.take(order), group_tokens=tokens)
            assert (shuffled - whole[torch.from_numpy(order)]).abs().max() < 1e-6


def test_gradients_equal_those_of_the_padded_forward(tiny_model_folder, tiny_corpus):
    ours, padded = (load_encoder(tiny_model_folder).eval() for _ in range(2))
    prefix, suffix = special_tokens(tokenizer_of(ours))
    rows = tokenise(tiny_corpus[:12], tokenizer_of(ours)).wrapped(prefix, suffix, 64)
    weights = torch.randn(12, 32, generator=torch.Generator().manual_seed(0))
    (forward_rows(ours, rows, group_tokens=60) * weights).sum().backward()
    features = padded.preprocess(tiny_corpus[:12])
    (padded(features)["sentence_embedding"] * weights).sum().backward()
    compared = 0
    for (name, one), (_, other) in zip(ours.named_parameters(), padded.named_parameters(), strict=True):
        if other.grad is not None:
            compared += 1
            assert torch.allclose(one.grad, other.grad, atol=1e-5), name
    assert compared > 20


def test_vectors_can_go_straight_into_an_array_on_disk(tiny_encoder, tiny_corpus, tmp_path):
    shape = (len(tiny_corpus), 32)
    out = np.lib.format.open_memmap(tmp_path / "v.npy", mode="w+", dtype=np.float32, shape=shape)
    embed_texts(tiny_encoder, tiny_corpus, out=out)
    out.flush()
    assert np.array_equal(np.load(tmp_path / "v.npy"), embed_texts(tiny_encoder, tiny_corpus).vectors)


def test_embedding_leaves_the_training_mode_as_it_was_and_draws_no_dropout(tiny_encoder, tiny_corpus):
    tiny_encoder.train()
    first, second = (embed_texts(tiny_encoder, tiny_corpus[:4]).vectors for _ in range(2))
    assert tiny_encoder.training
    assert np.array_equal(first, second)
