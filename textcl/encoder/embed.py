"""Texts → vectors, a block at a time: memory stays that of two blocks, whatever the number of texts.

A block is tokenised in a thread of its own while the one before it runs through the encoder, its rows sorted by length.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.nn import functional as F

from textcl.ahead import ahead
from textcl.corpus.tokens import TokenRows, special_tokens, tokenise
from textcl.encoder.forward import forward_rows, one_at_a_time
from textcl.encoder.load import tokenizer_of
from textcl.encoder.products import Loss, Precision, check_precision, embedding_products
from textcl.progress import Advance, Progress, quiet

BLOCK_TEXTS = 8192
"""Sorted by length together: more sorts better, and holds more tokens in memory."""
_PIECE_TOKENS = {"cpu": 16_384, "cuda": 65_536}  # between two words on the progress; some groups of `forward_rows`
_GROUP_TOKENS = {"cpu": 1536, "cuda": 65_536}


@dataclass(frozen=True)
class Embedded:
    """The embeddings of N texts.

    Args:
        vectors: (N, D) float32 of unit length.
        cut_texts: How many of the texts were cut at the encoder's token limit.
        lengths: (N,) float32 of the embeddings before they were scaled; None where that is not known any more.
    """

    vectors: NDArray[np.float32]
    cut_texts: int
    lengths: NDArray[np.float32] | None = None


def embed_texts(
    encoder: SentenceTransformer,
    texts: Sequence[str],
    *,
    prompt: str = "",
    precision: Precision = "fp32",
    out: NDArray[np.float32] | None = None,
    progress: Progress = quiet,
    description: str = "encode",
) -> Embedded:
    """Return the unit-length embedding of each text.

    Args:
        encoder: Put into evaluation mode while it embeds, and back afterwards.
        texts: N texts.
        prompt: Stands before each text.
        precision: Of the linear layers' products (see textcl.encoder.products).
        out: (N, D) float32 array to write to, such as a memory map; None makes one in memory.
        progress: Told the number of texts done.
        description: What the progress is called.

    Raises:
        ConfigError: If the prompt leaves no room for a text, or the device has no such precision.
    """
    vectors = np.empty((len(texts), encoder.get_embedding_dimension() or 0), np.float32) if out is None else out
    blocks = (texts[start : start + BLOCK_TEXTS] for start in range(0, len(texts), BLOCK_TEXTS))
    lengths = np.empty(len(texts), np.float32)
    done, cut_texts = 0, 0
    with (
        progress(description, len(texts)) as advance,
        closing(embed_blocks(encoder, blocks, prompt=prompt, precision=precision, advance=advance)) as made,
    ):
        for block in made:
            vectors[done : done + len(block.vectors)] = block.vectors
            assert block.lengths is not None  # embed_blocks knows them
            lengths[done : done + len(block.vectors)] = block.lengths
            done += len(block.vectors)
            cut_texts += block.cut_texts
    return Embedded(vectors, cut_texts, lengths)


def embed_blocks(
    encoder: SentenceTransformer,
    blocks: Iterable[Sequence[str]],
    *,
    prompt: str = "",
    precision: Precision = "fp32",
    advance: Advance = lambda _texts, _note="": None,
) -> Generator[Embedded]:
    """Yield the unit-length embeddings of each block of texts; close it where it is left before its end.

    A block's numbers depend on that block alone: whoever goes on in the middle gets what one go would have given.

    Args:
        encoder: In evaluation mode while a block is embedded, and back afterwards.
        blocks: Taken one ahead of what is yielded.
        prompt: Stands before each text.
        precision: Of the linear layers' products (see textcl.encoder.products).
        advance: Told the number of texts done.

    Raises:
        ConfigError: If the prompt leaves no room for a text, or the device has no such precision.
    """
    check_precision(precision, encoder.device)
    tokenizer = tokenizer_of(encoder)
    prefix, suffix = special_tokens(tokenizer, prompt)
    limit = encoder.max_seq_length or 512
    tokenised = partial(tokenise, tokenizer=tokenizer, prompt=prompt, marks=False)
    for rows in ahead(tokenised, blocks, "tokenise"):
        cut_texts = int((rows.lengths > limit - len(prefix) - len(suffix)).sum())
        wrapped = rows.wrapped(prefix, suffix, limit)
        # All that is set on the encoder is set under the lock: whoever shares it never runs with another's settings.
        with one_at_a_time, _evaluating(encoder), embedding_products(encoder, precision):
            vectors, lengths = _embed_rows(encoder, wrapped, len(prefix) if prompt else 0, advance)
        yield Embedded(vectors, cut_texts, lengths)


@contextmanager
def _evaluating(encoder: SentenceTransformer) -> Iterator[None]:
    """Put an encoder into evaluation mode inside a `with`, and back afterwards."""
    was_training = encoder.training
    encoder.eval()
    try:
        yield
    finally:
        encoder.train(was_training)


@torch.inference_mode()
def _embed_rows(
    encoder: SentenceTransformer, rows: TokenRows, prompt_tokens: int, advance: Advance
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the unit-length embedding of each row, (B, D), and what its length was, (B,)."""
    vectors = np.empty((len(rows), encoder.get_embedding_dimension() or 0), np.float32)
    lengths = np.empty(len(rows), np.float32)
    order = np.argsort(rows.lengths, kind="stable")
    piece_tokens, group_tokens = (table[encoder.device.type] for table in (_PIECE_TOKENS, _GROUP_TOKENS))
    for piece in _pieces(rows, order, piece_tokens):
        embeddings = forward_rows(encoder, rows.take(piece), prompt_tokens=prompt_tokens, group_tokens=group_tokens)
        vectors[piece] = F.normalize(embeddings.float(), dim=-1).cpu().numpy()
        lengths[piece] = torch.linalg.vector_norm(embeddings.float(), dim=-1).cpu().numpy()
        advance(len(piece))
    return vectors, lengths


def _pieces(rows: TokenRows, order: NDArray[np.int64], tokens: int) -> list[NDArray[np.int64]]:
    """Cut `order`, (B,), where the tokens so far pass a multiple of `tokens`."""
    number = np.cumsum(rows.lengths[order]) // tokens
    return [piece for piece in np.split(order, np.flatnonzero(np.diff(number)) + 1) if len(piece)]


def measure_loss(encoder: SentenceTransformer, texts: Sequence[str], precision: Precision, *, prompt: str = "") -> Loss:
    """Return how near the embeddings of `texts`, one or more, come in `precision` to those in fp32."""
    exact, near = (
        embed_texts(encoder, texts, prompt=prompt, precision=one).vectors.astype(np.float64)
        for one in ("fp32", precision)
    )
    cosines = (exact * near).sum(axis=1)
    return Loss(len(texts), float(cosines.mean()), float(cosines.min()))
