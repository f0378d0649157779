from __future__ import annotations

from hypothesis import given

from tests.strategies import as_lists, rows_and_order
from tests.views.checks import check_promises, rng_for
from textcl.views import Dropout


@given(rows_and_order())
def test_a_dropout_view_keeps_the_promises_of_views(drawn):
    check_promises(Dropout(), *drawn)


@given(rows_and_order())
def test_a_dropout_view_is_the_text_as_it_is(drawn):
    rows, _order = drawn
    assert as_lists(Dropout()(rows, rng_for(len(rows)))) == as_lists(rows)
