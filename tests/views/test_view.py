from __future__ import annotations

from hypothesis import given

from tests.strategies import as_lists, plain_rows, rows_and_order
from tests.views.checks import check_promises, many, rng_for
from textcl.views import Chain, Crop, Dropout, Mask


@given(rows_and_order())
def test_a_chain_keeps_the_promises_of_views(drawn):
    check_promises(Chain((Crop(0.3, 0.9), Mask(4, 0.5), Dropout())), *drawn)


@given(rows_and_order())
def test_an_empty_chain_leaves_the_rows_alone(drawn):
    rows, _order = drawn
    assert as_lists(Chain()(rows, rng_for(len(rows)))) == as_lists(rows)


def test_links_follow_one_another():
    rows = plain_rows(range(100, 140))
    rng = rng_for(1)
    expected = Mask(4, 0.5)(Crop()(rows, rng.named(0)), rng.named(1))
    assert as_lists(Chain((Crop(), Mask(4, 0.5)))(rows, rng)) == as_lists(expected)
    assert as_lists(Chain((Mask(4, 0.5), Crop()))(rows, rng)) != as_lists(expected)


def test_links_draw_independent_numbers():
    rows = many(plain_rows(range(100, 120)), 2000)
    twice = Chain((Mask(3, 0.5), Mask(4, 0.5)))(rows, rng_for(2000)).ids
    # Were the numbers the same, the second mask would hide exactly what the first one hid.
    assert abs((twice == 4).mean() - 0.5) < 0.02
    assert abs((twice == 3).mean() - 0.25) < 0.02
    assert abs((twice >= 100).mean() - 0.25) < 0.02


def test_a_chain_in_a_chain_draws_numbers_of_its_own():
    rows = plain_rows(range(100, 200))
    nested = Chain((Chain((Mask(4, 0.5),)),))(rows, rng_for(1))
    flat = Chain((Mask(4, 0.5),))(rows, rng_for(1))
    assert nested.ids.tolist() != flat.ids.tolist()
