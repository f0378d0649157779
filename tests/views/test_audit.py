from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from tests.strategies import as_lists, plain_rows, token_rows
from textcl.errors import ShapeError
from textcl.views.audit import QUANTILES, audit_view, token_overlap


def read(rows):
    return [" ".join(map(str, rows.row(row).tolist())) for row in range(len(rows))]


def embed(texts):
    """Unit vectors at an angle of a tenth of the number of words."""
    angles = np.array([len(text.split()) / 10 for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@given(token_rows(min_rows=1))
def test_token_overlap_is_jaccards_index_of_the_counted_tokens(rows):
    other = rows.take(np.arange(len(rows))[::-1])
    for place, found in enumerate(token_overlap(rows, other)):
        one, two = (Counter(token for token, _mark in as_lists(side)[place]) for side in (rows, other))
        total = (one | two).total()
        assert found == pytest.approx((one & two).total() / total if total else 1.0)


def test_an_audit_by_hand():
    texts = plain_rows([1, 2, 3, 4], [5, 6], [7, 8], [9])
    views = plain_rows([1, 2], [5, 6], [8, 7, 7, 7], [])
    found = audit_view("some view", texts, views, read, embed, worst=2)
    cosines = [np.cos(0.2), 1.0, np.cos(0.2), np.cos(0.1)]
    assert (found.name, found.texts) == ("some view", 4)
    assert found.cosine == pytest.approx(np.mean(cosines), abs=1e-6)
    assert found.quantiles == {share: pytest.approx(np.quantile(cosines, share), abs=1e-6) for share in QUANTILES}
    assert found.token_overlap == pytest.approx((2 / 4 + 1 + 2 / 4 + 0) / 4)
    assert found.length_ratio == pytest.approx((2 / 4 + 1 + 4 / 2 + 0) / 4)
    assert found.unchanged == 1 / 4
    assert found.empty == 1 / 4
    assert [(example.text, example.view) for example in found.worst] == [("1 2 3 4", "1 2"), ("7 8", "8 7 7 7")]
    assert found.to_json()["quantiles"]["0.05"] == found.quantiles[0.05]


def test_how_many_of_the_worst_are_kept_is_an_option():
    texts = plain_rows([1], [2], [3])
    assert [len(audit_view("v", texts, texts, read, embed, worst=number).worst) for number in (0, 1, 9)] == [0, 1, 3]


@pytest.mark.parametrize(("texts", "views"), [([], []), ([[1]], []), ([[1]], [[1], [2]])])
def test_texts_and_views_that_do_not_fit_are_refused(texts, views):
    with pytest.raises(ShapeError, match=r"^views: expected shape "):
        audit_view("v", plain_rows(*texts), plain_rows(*views), read, embed)
