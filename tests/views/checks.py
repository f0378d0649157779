"""What every view promises, checked on rows and texts that Hypothesis draws."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.strategies import as_lists
from textcl.corpus.tokens import TokenRows
from textcl.randomness import RowRandom
from textcl.views import Ramp

RAMP = Ramp(0.125, 0.625, until=0.5)
MOMENTS = {0.0: 0.125, 0.25: 0.375, 0.5: 0.625, 0.75: 0.625, 1.0: 0.625}
"""What the ramp is worth when these shares of the training are done."""

SCRIPTS = [
    "don't",
    "fox's",
    "Well-Known",
    "STRASSE",
    "Straße",
    "e\u0301te\u0301",
    "İstanbul",
    "ﬁn",
    "हिन्दी",
    "ภาษาไทย",
    "مَرْحَبًا",
    "سلام",
    "中文文本",
    "東京タワー",
    "한국어",
    "👩‍👩‍👧",
    "🏳️‍🌈x",
    "q1",
    "42",
    "_",
    "...",
    "-",
]
SPACES = st.sampled_from([" ", " ", " ", "  ", "\n", "\t", "\u3000", "\u00a0", "\x1f"])
WORDS = st.one_of(st.sampled_from(SCRIPTS), st.text(st.characters(codec="ascii"), max_size=8), st.text(max_size=8))
TEXTS = st.one_of(
    st.lists(st.one_of(WORDS, SPACES), max_size=12).map("".join), st.lists(WORDS, max_size=8).map(" ".join)
)


@st.composite
def texts_and_order(draw):
    """Texts of any script, and a list of row numbers in any order, some of them twice or never."""
    texts = draw(st.lists(TEXTS, min_size=1, max_size=5))
    return texts, draw(st.lists(st.integers(0, len(texts) - 1), max_size=6))


def rng_for(count, seed=0, first=0, progress=0.0):
    return RowRandom((seed, "view"), np.arange(first, first + count), progress)


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


def check_text_promises(view, texts, order):
    """The same for a view of strings; a text is empty if it is nothing but white space."""
    before = list(texts)
    numbers = np.arange(len(texts)) * 3 + 1
    whole = view(texts, RowRandom((7, "view"), numbers))
    assert view(texts, RowRandom((7, "view"), numbers)) == whole
    chosen = np.array(order, dtype=np.int64)
    part = view([texts[row] for row in order], RowRandom((7, "view"), numbers[chosen]))
    assert texts == before
    assert part == [whole[row] for row in order]
    assert [bool(text.strip()) for text in whole] == [bool(text.strip()) for text in before]


def check_ramp(make, batch):
    """A view whose strength moves is at every moment the view with that moment's strength, and does move.

    `make` returns the view with a strength, `batch` is token rows or texts that it changes.
    """
    seen = []
    for progress, strength in MOMENTS.items():
        rng = rng_for(len(batch), progress=progress)
        seen.append(as_plain(make(RAMP)(batch, rng)))
        assert seen[-1] == as_plain(make(strength)(batch, rng))
    assert seen[0] != seen[1] != seen[2] == seen[3] == seen[4]


def as_plain(seen):
    """What a view returned, as lists."""
    return as_lists(seen) if isinstance(seen, TokenRows) else seen


def sides_of(views):
    """A view's rows as a list of one side, a pair view's as a list of two; rows as lists of (id, mark)."""
    return [as_lists(side) for side in (views if isinstance(views, tuple) else (views,))]


def many(row, count):
    """`count` copies of one row, to see how chances come out."""
    return row.take(np.zeros(count, dtype=np.int64))


def near(share, count):
    """How far a share of `count` independent draws may lie from its chance: five standard errors."""
    return 5 * (share * (1 - share) / count) ** 0.5
