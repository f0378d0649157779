"""What every view promises, checked on rows that Hypothesis draws."""

from __future__ import annotations

import numpy as np

from tests.strategies import as_lists
from textcl.randomness import RowRandom


def rng_for(count, seed=0, first=0):
    return RowRandom((seed, "view"), np.arange(first, first + count))


def check_promises(view, rows, order):
    """Same stream same view; any rows in any order as in the whole batch; nothing in place; never empty.

    `order` holds row numbers, some perhaps twice and some not at all.
    """
    before = as_lists(rows)
    numbers = np.arange(len(rows)) * 3 + 1
    whole = sides_of(view(rows, RowRandom((7, "view"), numbers)))
    again = sides_of(view(rows, RowRandom((7, "view"), numbers)))
    chosen = np.array(order, dtype=np.int64)
    part = sides_of(view(rows.take(chosen), RowRandom((7, "view"), numbers[chosen])))
    assert as_lists(rows) == before
    assert again == whole
    for whole_side, part_side in zip(whole, part, strict=True):
        assert part_side == [whole_side[row] for row in order]
        assert [bool(row) for row in whole_side] == [bool(row) for row in before]


def sides_of(views):
    """A view's rows as a list of one side, a pair view's as a list of two; rows as lists of (id, mark)."""
    return [as_lists(side) for side in (views if isinstance(views, tuple) else (views,))]


def many(row, count):
    """`count` copies of one row, to see how chances come out."""
    return row.take(np.zeros(count, dtype=np.int64))
