"""Texts → vectors, a block at a time, straight into an array that may lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch.nn import functional as F

from textcl.corpus.tokens import special_tokens, tokenise
from textcl.encoder.forward import forward_rows
from textcl.encoder.load import tokenizer_of
from textcl.progress import Progress, quiet

_BLOCK_TEXTS = 8192  # sorted by length together: more sorts better, and holds more tokens in memory


@dataclass(frozen=True)
class Embedded:
    """Vectors (N, D) float32 of unit length, and how many of the N texts were cut at the encoder's token limit."""

    vectors: NDArray[np.float32]
    cut_texts: int


@torch.inference_mode()
def embed_texts(
    encoder: SentenceTransformer,
    texts: Sequence[str],
    *,
    prompt: str = "",
    out: NDArray[np.float32] | None = None,
    progress: Progress = quiet,
    description: str = "encode",
) -> Embedded:
    """Return the unit-length embedding of each text.

    Args:
        encoder: Put into evaluation mode while it embeds, and back afterwards.
        texts: N texts.
        prompt: Stands before each text.
        out: (N, D) float32 array to write to, such as a memory map; None makes one in memory.
        progress: Told the number of texts done.
        description: What the progress is called.
    """
    prefix, suffix = special_tokens(tokenizer_of(encoder), prompt)
    limit = encoder.max_seq_length or 512
    prompt_tokens = len(prefix) if prompt else 0
    vectors = np.empty((len(texts), encoder.get_embedding_dimension() or 0), np.float32) if out is None else out
    was_training, cut_texts = encoder.training, 0
    encoder.eval()
    try:
        with progress(description, len(texts)) as advance:
            for start in range(0, len(texts), _BLOCK_TEXTS):
                rows = tokenise(texts[start : start + _BLOCK_TEXTS], tokenizer_of(encoder), prompt)
                cut_texts += int((rows.lengths > limit - len(prefix) - len(suffix)).sum())
                wrapped = rows.wrapped(prefix, suffix, limit)
                order = np.argsort(wrapped.lengths, kind="stable")
                for piece in np.array_split(order, max(1, len(order) // 64)):
                    embeddings = forward_rows(encoder, wrapped.take(piece), prompt_tokens=prompt_tokens)
                    vectors[start + piece] = F.normalize(embeddings.float(), dim=-1).cpu().numpy()
                    advance(len(piece))
    finally:
        encoder.train(was_training)
    return Embedded(vectors, cut_texts)
