from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textcl.assemble.labelled import drawn


@given(st.lists(st.sampled_from("aaaaaabbc"), min_size=1, max_size=200), st.integers(1, 60))
def test_rows_are_drawn_in_proportion_to_labels_and_two_of_each_stay(labels, most):
    rows = np.arange(len(labels)) * 3
    found = drawn(rows, most, labels)
    assert (found == np.sort(found)).all()
    assert set(found) <= set(rows)
    whole, kept = Counter(labels), Counter(labels[row // 3] for row in found)
    if len(labels) <= most:
        assert len(found) == len(labels)
        return
    needed = sum(min(count, 2) for count in whole.values())
    assert len(found) == max(most, needed)
    assert all(kept[label] >= min(count, 2) for label, count in whole.items())
    if most > 2 * needed:
        for label, count in whole.items():
            assert kept[label] >= min(count, 2)
            assert abs(kept[label] - most * count / len(labels)) <= needed + 1
    assert (drawn(rows, most, labels) == found).all()


def test_without_labels_so_many_rows_are_drawn():
    assert len(drawn(np.arange(100), 7)) == 7
    assert (drawn(np.arange(5), None) == np.arange(5)).all()
