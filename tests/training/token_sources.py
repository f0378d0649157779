"""Sources of made-up token rows, from whose tokens the row and the side can be told."""

from __future__ import annotations

import numpy as np

from textcl.corpus.tokens import WORD_START, TokenRows, offsets_of
from textcl.training.sources import HardNegatives, Lookup, PairSource, Side
from textcl.views.cropping import Crop
from textcl.views.masking import Mask
from textcl.views.view import Chain

CLS, SEP, MASK = 1, 2, 3


def source_of(rows, seed=0, max_tokens=16, pair=None, groups=None, second_view=None):
    """Row i is 5 to 10 tokens, all of them 100 + i, so that a token tells its row."""
    lengths = 5 + np.arange(rows, dtype=np.int64) % 6
    ids = np.repeat(100 + np.arange(rows), lengths).astype(np.int32)
    tokens = TokenRows(ids, offsets_of(lengths), np.full(len(ids), WORD_START, np.uint8))
    first = Side(tokens, (CLS,), (SEP,), Crop(0.2, 0.9))
    second = Side(tokens, (CLS,), (SEP,), second_view or Chain((Crop(0.2, 0.9), Mask(MASK, 0.3))))
    groups = np.arange(rows)[:, None] if groups is None else groups
    return PairSource(first, second, groups, max_tokens, seed, pair)


def tables(*sides, view=None, begin=0, lengths=None, prefixed=True):
    """A side each; token = begin + 1000 * (number of the side) + 10 * row, five times or as often as `lengths` says."""
    made = []
    for number, rows in enumerate(sides):
        counts = np.resize(np.array([5] if lengths is None else lengths, dtype=np.int64), rows)
        ids = np.repeat(begin + 1000 * number + 10 * np.arange(rows), counts).astype(np.int32)
        tokens = TokenRows(ids, offsets_of(counts), np.full(len(ids), WORD_START, np.uint8))
        made.append(Side(tokens, (50 + number,) if prefixed else (), (), view or Chain()))
    return made


def guide_of(*numbers):
    """What a guide finds in texts from whose first tokens it can be told: the token, and three times it."""
    return [[float(number), 3.0 * number] for number in numbers]


def lookup_of(rows, begin):
    """The guide's embeddings of `rows` texts of `tables`, kept in another order."""
    vectors = np.array(guide_of(*(begin + 10 * np.arange(rows))), dtype=np.float32).reshape(rows, 2)
    return Lookup(vectors[::-1], np.arange(rows)[::-1].copy())


def hard_source(rows=6, columns=2, places=None, guided=False, table=None, **more):
    """Row i's hard negative h is text number h * rows + i of the table, with label 100 * (h + 1) + i.

    Args:
        rows: N.
        columns: H; 0 for none.
        places: Where they stand in the table instead.
        guided: Whether a guide has embedded the texts.
        table: What `tables` takes.
        more: What PairSource takes.
    """
    options = table or {}
    first, second, texts = tables(rows, rows, rows * columns, **options)
    begin = options.get("begin", 0)
    guides = [lookup_of(count, begin + 1000 * side) for side, count in enumerate((rows, rows, rows * columns))]
    if guided:
        more["guide"] = tuple(guides[:2])
    if columns:
        if places is None:
            places = np.arange(rows)[:, None] + rows * np.arange(columns)[None, :]
        labels = (100 + 100 * np.repeat(np.arange(columns), rows) + np.tile(np.arange(rows), columns))[:, None]
        more["hard_negatives"] = HardNegatives(texts, labels, places, guides[2] if guided else None)
    return PairSource(first, second, np.arange(rows)[:, None], 16, more.pop("seed", 0), **more)
