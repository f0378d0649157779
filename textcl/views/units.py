"""What a token view draws for: single tokens, or the words they are pieces of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textcl.corpus.tokens import WORD_START, TokenRows
from textcl.randomness import RowRandom


def row_numbers(rows: TokenRows) -> NDArray[np.int64]:
    """Return the row of each token, (T,)."""
    return np.repeat(np.arange(len(rows)), rows.lengths)


def unit_starts(rows: TokenRows, *, whole_words: bool) -> NDArray[np.int64]:
    """Return where units begin, (U,) places in the flat arrays; what a row begins with begins a unit."""
    if not whole_words:
        return np.arange(len(rows.ids))
    starts = (rows.marks & WORD_START).astype(np.bool_)
    starts[rows.offsets[:-1][rows.lengths > 0]] = True
    return np.flatnonzero(starts)


def units_of(rows: TokenRows, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the unit to which each token belongs, (T,)."""
    first = np.zeros(len(rows.ids), dtype=np.int64)
    first[starts] = 1
    return np.cumsum(first) - 1


def unit_draws(rows: TokenRows, rng: RowRandom, *, whole_words: bool, draw: int = 0) -> NDArray[np.float64]:
    """Return one number in [0, 1) for each token, (T,), the same one for all tokens of a word where words are whole."""
    draws = rng.per_token(rows.offsets, draw)
    if not whole_words:
        return draws
    starts = unit_starts(rows, whole_words=True)
    return draws[starts][units_of(rows, starts)]


def rank_in_rows(values: NDArray[np.float64], row_of: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """Return the place of each value among those of its row, from 0 for the smallest, (n,).

    Args:
        values: (n,) numbers.
        row_of: (n,) row of each, never falling.
        rows: How many rows there are.
    """
    order = np.lexsort((values, row_of))
    counts = np.bincount(row_of, minlength=rows)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[order] = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks
