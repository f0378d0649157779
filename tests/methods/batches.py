"""Batches of token rows for the tiny encoder, and what an encoder makes of them."""

from __future__ import annotations

import numpy as np
import torch

from textcl.corpus.tokens import concatenate, special_tokens, tokenise
from textcl.encoder.forward import forward_rows
from textcl.methods.method import PairBatch


def make_batch(encoder, anchors, positives, groups=None, hard=(), negative_groups=None, kinds=None, guide=None):
    """A PairBatch of texts, `hard` its columns of hard negatives; by default every row has labels of its own.

    `guide` has the guide's embeddings, one list of rows a side.
    """
    tokenizer = encoder.tokenizer
    texts = concatenate([tokenise(side, tokenizer) for side in (anchors, positives, *hard)])
    tokens = texts.wrapped(*special_tokens(tokenizer), encoder.max_seq_length)
    rows = np.arange(len(anchors))
    labels = rows[:, None] if groups is None else np.array(groups, dtype=np.int64)
    vectors = None if guide is None else np.concatenate([np.array(side, dtype=np.float32) for side in guide])
    if not hard:
        return PairBatch(tokens, rows, labels, None, kinds, vectors)
    if negative_groups is None:
        negative_groups = 1000 + np.arange(len(rows) * len(hard)).reshape(len(rows), -1)
    return PairBatch(tokens, rows, labels, np.array(negative_groups, dtype=np.int64)[..., None], kinds, vectors)


def sides_of(encoder, batch, head=None):
    """The embeddings of a batch, one constant matrix a side, seen through a head."""
    with torch.no_grad():
        sides = forward_rows(encoder, batch.tokens).split(len(batch))
        return [side if head is None else head(side) for side in sides]


def lists(*matrices):
    """The rows of all matrices, one list, as the oracles want them."""
    return [row for matrix in matrices for row in matrix.tolist()]


def shared(groups, others):
    """Whether each row of labels shares one with each of the others."""
    return [[bool(set(one) & set(other)) for other in others] for one in groups]


def shift(module, seed=0, size=0.05):
    """Move every weight a little."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return module
