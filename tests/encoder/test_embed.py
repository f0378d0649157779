from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from textcl.encoder import embed as embed_module
from textcl.encoder.embed import embed_blocks, embed_texts
from textcl.encoder.layers import transformer_of
from textcl.encoder.load import POOLINGS, load_encoder, save_encoder
from textcl.errors import ConfigError


# The last one runs on into the first word, whose tokens are then others.
@pytest.mark.parametrize("prompt", ["", "query: ", "zz"])
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
@pytest.mark.parametrize("include_prompt", [True, False])
def test_every_pooling_with_and_without_prompt_equals_stock(
    tiny_model_folder, tiny_corpus, tmp_path, prompt, pooling, include_prompt
):
    encoder = load_encoder(tiny_model_folder, pooling=pooling, max_tokens=24)
    encoder[1].include_prompt = include_prompt
    save_encoder(encoder, tmp_path)
    texts = [*tiny_corpus[:10], "", " ".join(tiny_corpus[:5])]
    stock = SentenceTransformer(str(tmp_path), device="cpu")
    expected = stock.encode(texts, prompt=prompt, normalize_embeddings=True)
    assert np.abs(embed_texts(encoder, texts, prompt=prompt).vectors - expected).max() < 1e-6


def test_a_prompt_changes_the_vectors(tiny_encoder, tiny_corpus):
    bare, prompted = (embed_texts(tiny_encoder, tiny_corpus[:3], prompt=prompt).vectors for prompt in ("", "query: "))
    assert np.abs(bare - prompted).max() > 1e-3


def test_vectors_have_unit_length_and_float32(tiny_encoder, tiny_corpus):
    vectors = embed_texts(tiny_encoder, tiny_corpus).vectors
    assert (vectors.shape, vectors.dtype) == ((len(tiny_corpus), 32), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)


def test_no_texts_are_no_vectors(tiny_encoder):
    embedded = embed_texts(tiny_encoder, [])
    assert (embedded.vectors.shape, embedded.cut_texts) == ((0, 32), 0)


def test_texts_beyond_one_block_keep_their_order(tiny_encoder, tiny_corpus, monkeypatch):
    whole = embed_texts(tiny_encoder, tiny_corpus)
    monkeypatch.setattr(embed_module, "BLOCK_TEXTS", 7)
    assert np.abs(embed_texts(tiny_encoder, tiny_corpus).vectors - whole.vectors).max() < 1e-6


def test_a_block_has_the_same_bits_whatever_was_embedded_before_it(tiny_encoder, tiny_corpus):
    blocks = [tiny_corpus[:20], tiny_corpus[20:25], tiny_corpus[25:]]
    made = [block.vectors for block in embed_blocks(tiny_encoder, blocks, prompt="query: ")]
    (alone,) = (block.vectors for block in embed_blocks(tiny_encoder, blocks[2:], prompt="query: "))
    assert [len(one) for one in made] == [20, 5, 35]
    assert np.array_equal(made[2], alone)


def test_blocks_are_taken_one_ahead_and_no_further(tiny_encoder, tiny_corpus):
    taken = []

    def blocks():
        for start in range(0, 60, 10):
            taken.append(start)
            yield tiny_corpus[start : start + 10]

    with closing(embed_blocks(tiny_encoder.train(), blocks())) as made:
        next(made)
        assert taken == [0, 10]
    assert tiny_encoder.training


def test_threads_may_share_an_encoder(tiny_encoder, tiny_corpus):
    parts = [(tiny_corpus[start::6], precision) for start in range(6) for precision in ("fp32", "int8")] * 6
    expected = [embed_texts(tiny_encoder, part, precision=precision).vectors for part, precision in parts]
    tiny_encoder.train()
    own = transformer_of(tiny_encoder).config._attn_implementation
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda part: embed_texts(tiny_encoder, part[0], precision=part[1]).vectors, parts))
    assert tiny_encoder.training
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() < 1e-6
    assert transformer_of(tiny_encoder).config._attn_implementation == own
    assert not any("forward" in one.__dict__ for one in tiny_encoder.modules())


def test_long_blocks_are_told_of_in_pieces(tiny_encoder, tiny_corpus, monkeypatch):
    monkeypatch.setitem(embed_module._PIECE_TOKENS, "cpu", 100)
    whole, told = embed_texts(tiny_encoder, tiny_corpus).vectors, []
    (made,) = embed_blocks(tiny_encoder, [tiny_corpus], advance=told.append)
    assert len(told) > 5
    assert sum(told) == len(tiny_corpus)
    assert np.abs(made.vectors - whole).max() < 1e-6


@pytest.mark.parametrize(("prompt", "cut"), [("", 1), ("query: ", 2)])
def test_texts_that_do_not_fit_with_prompt_and_special_tokens_are_counted(tiny_model_folder, prompt, cut):
    encoder = load_encoder(tiny_model_folder, max_tokens=10)
    texts = ["the river " * words for words in (1, 2, 3, 4, 5)]  # two tokens each, eight fit without a prompt
    assert embed_texts(encoder, [*texts[:3], "the " * 8, "the " * 9], prompt="").cut_texts == 1
    prompted = embed_texts(encoder, ["a", "b", *texts[3:]], prompt=prompt)
    assert prompted.cut_texts == cut


def test_a_prompt_that_fills_the_limit_is_refused_by_name(tiny_model_folder):
    encoder = load_encoder(tiny_model_folder, max_tokens=4)
    with pytest.raises(ConfigError, match=r"^max_tokens: expected more than the \d+ of the prompt"):
        embed_texts(encoder, ["a text"], prompt="a question: ")


def test_progress_counts_every_text_once(tiny_encoder, tiny_corpus):
    told = []

    @contextmanager
    def record(description, total):
        told.append((description, total))
        yield told.append

    embed_texts(tiny_encoder, tiny_corpus, progress=record, description="embed")
    assert told[0] == ("embed", len(tiny_corpus))
    assert sum(told[1:]) == len(tiny_corpus)


def test_the_mode_comes_back_also_after_a_failure(tiny_encoder):
    tiny_encoder.train()
    with pytest.raises(TypeError):
        embed_texts(tiny_encoder, [None])
    assert tiny_encoder.training
