from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcl.errors import DataError, ShapeError
from textcl.index.forbidden import forbidden_documents

TEXT = st.sampled_from("abcdefg")


def is_forbidden(row, doc, anchors, positives, groups):
    """What the brief says, row by row."""
    if doc == anchors[row]:
        return True
    for other in range(len(anchors)):
        if anchors[other] == anchors[row] and doc == positives[other]:
            return True
        same = groups is not None and groups[row] is not None and groups[other] == groups[row]
        if same and doc in (anchors[other], positives[other]):
            return True
    return False


@given(
    pairs=st.lists(st.tuples(TEXT, TEXT, st.none() | st.sampled_from("xy")), max_size=8),
    documents=st.lists(TEXT, unique=True),
    grouped=st.booleans(),
)
def test_the_mask_is_that_of_a_plain_loop(pairs, documents, grouped):
    anchors, positives = ([pair[side] for pair in pairs] for side in (0, 1))
    groups = [pair[2] for pair in pairs] if grouped else None
    forbidden = forbidden_documents(anchors, positives, documents, groups)
    rows, docs = np.arange(len(pairs))[::-1], np.arange(-1, len(documents))
    mask = forbidden.mask(rows, np.broadcast_to(docs, (len(pairs), len(docs))))
    expected = [[False, *(is_forbidden(row, doc, anchors, positives, groups) for doc in documents)] for row in rows]
    assert mask.tolist() == expected
    counts = forbidden.counts(rows)
    assert counts.shape == (len(pairs),)
    assert all(count >= sum(row) for count, row in zip(counts, expected, strict=True))
    if not grouped:
        assert counts.tolist() == [sum(row) for row in expected]


def test_a_row_of_no_group_is_free_of_all_groups():
    forbidden = forbidden_documents(["a", "b", "c"], ["p", "q", "r"], ["p", "q", "r"], ["x", "x", None])
    docs = np.broadcast_to(np.arange(3), (3, 3))
    assert forbidden.mask(np.arange(3), docs).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert forbidden.counts(np.arange(3)).tolist() == [3, 3, 1]


def test_lists_of_another_length_are_refused():
    with pytest.raises(ShapeError, match=r"^positives: expected shape \(2,\), one an anchor, got \(1,\)"):
        forbidden_documents(["a", "b"], ["p"], ["p"])
    with pytest.raises(ShapeError, match=r"^groups: expected shape \(1,\), one an anchor"):
        forbidden_documents(["a"], ["p"], ["p"], ["x", "y"])


def test_documents_of_equal_text_are_refused():
    with pytest.raises(DataError, match="2 documents have the text of another; give each text once"):
        forbidden_documents(["a"], ["p"], ["p", "q", "p", "q"])
