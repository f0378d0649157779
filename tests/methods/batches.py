"""Batches of token rows for the tiny encoder."""

from __future__ import annotations

import numpy as np

from textcl.corpus.tokens import concatenate, special_tokens, tokenise
from textcl.methods.method import PairBatch


def make_batch(encoder, anchors, positives, groups=None):
    """A PairBatch of texts; by default every row has labels of its own."""
    tokenizer = encoder.tokenizer
    both = concatenate([tokenise(anchors, tokenizer), tokenise(positives, tokenizer)])
    tokens = both.wrapped(*special_tokens(tokenizer), encoder.max_seq_length)
    rows = np.arange(len(anchors))
    labels = rows[:, None] if groups is None else np.array(groups, dtype=np.int64)
    return PairBatch(tokens, rows, labels)
