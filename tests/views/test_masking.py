from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import plain_rows, rows_and_order
from tests.views.checks import check_promises, many, rng_for
from textcl.errors import ConfigError
from textcl.views import Mask


@given(rows_and_order(), st.sampled_from([0.0, 0.15, 0.9]))
def test_a_mask_keeps_the_promises_of_views(drawn, rate):
    check_promises(Mask(4, rate), *drawn)


@given(rows_and_order(), st.floats(0, 0.99))
def test_a_mask_changes_ids_to_the_mask_token_and_nothing_else(drawn, rate):
    rows, _order = drawn
    masked = Mask(4, rate)(rows, rng_for(len(rows)))
    assert masked.offsets.tolist() == rows.offsets.tolist()
    assert masked.marks.tolist() == rows.marks.tolist()
    assert masked.ids.dtype == np.int32
    assert ((masked.ids == rows.ids) | (masked.ids == 4)).all()


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5, 0.95])
def test_the_rate_is_the_share_of_tokens_that_are_masked(rate):
    rows = many(plain_rows(range(10, 30)), 2000)
    masked = Mask(4, rate)(rows, rng_for(2000)).ids == 4
    assert masked.mean() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / len(masked)) ** 0.5)


def test_every_position_is_masked_equally_often():
    rows = many(plain_rows(range(10, 20)), 4000)
    share = (Mask(4, 0.3)(rows, rng_for(4000)).ids == 4).reshape(4000, 10).mean(axis=0)
    assert share == pytest.approx(np.full(10, 0.3), abs=0.04)


def test_a_larger_rate_masks_more_and_another_mask_token_another_id():
    rows = many(plain_rows(range(10, 30)), 50)
    few, many_masked, other = (
        Mask(token, rate)(rows, rng_for(50)).ids for token, rate in [(4, 0.1), (4, 0.4), (3, 0.1)]
    )
    assert (few == 4).sum() < (many_masked == 4).sum()
    assert ((few == 4) == (other == 3)).all()


def test_epochs_mask_different_tokens():
    rows = plain_rows(range(10, 110))
    assert Mask(4, 0.5)(rows, rng_for(1, seed=0)).ids.tolist() != Mask(4, 0.5)(rows, rng_for(1, seed=1)).ids.tolist()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_rate_outside_its_range_is_refused(rate):
    with pytest.raises(ConfigError, match=r"^rate: expected a chance in \[0, 1\), got "):
        Mask(4, rate)
