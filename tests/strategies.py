"""What Hypothesis draws from."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st

from textcl.corpus.tokens import SENTENCE_START, WORD_START, TokenRows, offsets_of


def make_rows(rows):
    """TokenRows of lists of (id, marks)."""
    flat = [token for row in rows for token in row]
    ids, marks = [token for token, _mark in flat], [mark for _token, mark in flat]
    offsets = offsets_of(np.array([len(row) for row in rows], dtype=np.int64))
    return TokenRows(np.array(ids, dtype=np.int32), offsets, np.array(marks, dtype=np.uint8))


def plain_rows(*rows, sentences=()):
    """TokenRows of lists of ids, each a word, with sentences starting at the flat positions in `sentences`."""
    made = make_rows([[(token, int(WORD_START)) for token in row] for row in rows])
    made.marks[list(sentences)] |= SENTENCE_START
    return made


def as_lists(rows):
    """The ids and marks of each row, as lists of (id, mark)."""
    cuts = [int(offset) for offset in rows.offsets]
    pairs = list(zip(rows.ids.tolist(), rows.marks.tolist(), strict=True))
    return [pairs[start:end] for start, end in itertools.pairwise(cuts)]


TOKEN = st.tuples(st.integers(5, 1000), st.sampled_from([0, 1, 3]))


def token_rows(min_rows=0, max_rows=6, max_tokens=12):
    """Rows of 0 to `max_tokens` tokens; about every third token starts a sentence."""
    row = st.lists(TOKEN, max_size=max_tokens)
    return st.lists(row, min_size=min_rows, max_size=max_rows).map(make_rows)


@st.composite
def rows_and_order(draw):
    """Rows, and a list of row numbers in any order, some of them twice or never."""
    rows = draw(token_rows(min_rows=1))
    return rows, draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
