from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.strategies import as_lists, plain_rows, rows_and_order
from tests.views.checks import check_promises, check_text_promises, many, near, rng_for, texts_and_order
from textcl.corpus.tokens import TokenRows
from textcl.errors import ConfigError
from textcl.randomness import RowRandom
from textcl.views import (
    Chain,
    Choice,
    Crop,
    Delete,
    Dropout,
    LetterCase,
    Mask,
    Ramp,
    Shuffle,
    Stored,
    Where,
    WordDelete,
    WordOrder,
)
from textcl.views.view import KINDS, kind_of, kinds_of, leaves, part, replaced, through

ROWS = 12


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


# --- Choice -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Say:
    """A view that shows where it has been: it puts its number in the place of everything."""

    number: int
    kind: ClassVar[str] = "tokens"

    def __call__(self, rows, rng):
        if isinstance(rows, TokenRows):
            return TokenRows(np.full_like(rows.ids, self.number), rows.offsets, rows.marks)
        return [str(self.number)] * len(rows) if isinstance(rows, list) else np.full_like(rows, self.number)


def options_drawn(choice, count, rng=None):
    """Which option of a choice among `Say`s is drawn for each of `count` rows."""
    return choice(np.full(count, -1), rng_for(count) if rng is None else rng)


@given(rows_and_order(), st.sampled_from([None, (1, 2, 3, 4), (0, 0.5, 0, 0.5)]))
def test_a_choice_keeps_the_promises_of_views(drawn, weights):
    check_promises(Choice((Mask(4, 0.5), Crop(0.3, 0.9), Dropout(), Delete(0.5)), weights), *drawn)


@given(texts_and_order(), st.sampled_from([None, (1, 2, 3), (0, 0.5, 0.5)]))
def test_a_choice_of_text_views_keeps_the_promises_of_views(drawn, weights):
    check_text_promises(Choice((WordDelete(0.5), Chain((LetterCase(0.9), WordOrder())), Dropout()), weights), *drawn)


@pytest.mark.parametrize(
    "weights", [None, (1, 1, 1), (3, 2, 5), (0, 1, 3), (1, 0, 3), (1, 3, 0), (0, 0, 2), (0.1, 0, 0)]
)
def test_options_are_drawn_by_their_weights_and_those_without_weight_never(weights):
    drawn = options_drawn(Choice((Say(0), Say(1), Say(2)), weights), 8000)
    for number, weight in enumerate(weights or (1, 1, 1)):
        share = weight / sum(weights or (1, 1, 1))
        assert (drawn == number).mean() == pytest.approx(share, abs=near(share, 8000)), number


@pytest.mark.parametrize("number", [0.0, 1 - 2.0**-53])
@pytest.mark.parametrize(
    ("weights", "first", "last"), [((0, 1, 0), 1, 1), ([0.1] * 10, 0, 9), ([0.1] * 10 + [0], 0, 9)]
)
def test_the_least_and_the_greatest_number_draw_an_option_that_has_weight(weights, first, last, number):
    class Fixed(RowRandom):
        def per_row(self, draw=0):
            return np.full(len(self.rows), number)

    choice = Choice(tuple(Say(place) for place in range(len(weights))), tuple(weights))
    drawn = options_drawn(choice, 3, Fixed(("fixed",), np.arange(3)))
    assert drawn.tolist() == [first if number == 0.0 else last] * 3


def test_a_choice_works_on_rows_on_texts_and_on_a_table_and_draws_the_same_for_each():
    choice, rng = Choice((Say(0), Dropout(), Say(2)), (1, 1, 2)), rng_for(200)
    table = choice(np.full(200, 7), rng)
    rows = choice(many(plain_rows([7, 7]), 200), rng)
    texts = choice(["7"] * 200, rng)
    assert set(table.tolist()) == {0, 7, 2}
    assert texts == [str(number) for number in table]
    assert rows.ids.reshape(200, 2).tolist() == [[number, number] for number in table]
    assert isinstance(rows, TokenRows)


def test_what_is_drawn_is_independent_of_what_the_options_and_other_choices_draw():
    rng = rng_for(8000)
    option = options_drawn(Choice((Say(0), Say(1))), 8000)
    other = options_drawn(Choice((Say(0), Say(1))), 8000, rng.named(1))
    assert abs(np.corrcoef(option, other)[0, 1]) < 5 / 8000**0.5
    masked = Choice((Mask(3, 0.5), Mask(4, 0.5)))(many(plain_rows([10]), 8000), rng).ids
    for number, token in enumerate((3, 4)):
        assert (masked[option == number] == token).mean() == pytest.approx(0.5, abs=near(0.5, 4000))


def test_two_options_draw_different_numbers():
    rows = many(plain_rows(range(10, 30)), 1)
    first, second = (Choice((Mask(4, 0.5), Mask(4, 0.5)), weights)(rows, rng_for(1)) for weights in [(1, 0), (0, 1)])
    assert as_lists(first) != as_lists(second)


def test_a_choice_hands_the_moment_of_training_on():
    rows = many(plain_rows(range(10, 30)), 50)
    choice = Choice((Mask(4, Ramp(0.0, 0.9)), Mask(4, Ramp(0.0, 0.9))))
    assert as_lists(choice(rows, rng_for(50))) == as_lists(rows)
    assert (choice(rows, rng_for(50, progress=1.0)).ids == 4).mean() == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize(
    ("options", "weights", "message"),
    [
        ((), None, "^of: a choice needs at least one view$"),
        ((Say(0),), (1, 2), r"^weights: expected 1 numbers, one a view, got \[1, 2\]$"),
        ((Say(0), Say(1)), (), r"^weights: expected 2 numbers, one a view, got \[\]$"),
        ((Say(0), Say(1)), (0, 0), r"^weights: expected numbers of at least 0, one of them above 0, got \[0, 0\]$"),
        ((Say(0), Say(1)), (1, -1), r"^weights: expected numbers of at least 0, one of them above 0, got \[1, -1\]$"),
        ((Say(0),), (float("nan"),), r"^weights: expected numbers of at least 0, one of them above 0, got \[nan\]$"),
        ((Say(0),), (float("inf"),), r"^weights: expected numbers of at least 0, one of them above 0, got \[inf\]$"),
    ],
)
def test_a_choice_of_nothing_or_with_wrong_weights_is_refused(options, weights, message):
    with pytest.raises(ConfigError, match=message):
        Choice(options, weights)


# --- Where and through --------------------------------------------------------------------------------------------


@given(rows_and_order())
def test_a_view_of_some_rows_keeps_the_promises_of_views(drawn):
    check_promises(Where(np.arange(20) % 2 == 0, Chain((Delete(0.5), Mask(4, 0.5)))), *drawn)


def test_where_goes_by_the_row_of_the_data_set_and_not_by_the_place_in_the_batch():
    view = Where(np.array([True, False, False, True]), Say(9))
    rng = RowRandom((0,), np.array([3, 1, 0, 2, 3]))
    assert view(np.full(5, -1), rng).tolist() == [9, -1, 9, -1, 9]
    inside = Choice((view, view))(np.full(5, -1), rng)
    assert inside.tolist() == [9, -1, 9, -1, 9]


def batches_of(rows):
    """The same content as token rows, as texts, and as rows of a table."""
    lists = as_lists(rows)
    return rows, [" ".join(str(token) for token, _mark in row) for row in lists], np.arange(len(rows)) + 100


@given(rows_and_order(), st.data())
def test_through_a_view_go_the_chosen_rows_and_the_others_stay(drawn, data):
    rows, _order = drawn
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    stored = Stored(np.arange(len(rows)) * 5, np.full(len(rows), 5))
    rng = RowRandom((3,), np.arange(len(rows)))
    for batch, view in zip(batches_of(rows), (Crop(0.1, 0.6), WordDelete(0.5), stored), strict=True):
        before, whole = plain(batch), plain(view(batch, rng))
        seen = through(view, batch, chosen, rng)
        assert plain(seen) == [new if take else old for old, new, take in zip(before, whole, chosen, strict=True)]
        assert plain(batch) == before
        assert type(seen) is type(batch)
        assert plain(through(Dropout(), batch, chosen, rng)) == before


def plain(batch):
    """A batch of any kind as a list."""
    if isinstance(batch, TokenRows):
        return as_lists(batch)
    return list(batch) if isinstance(batch, list) else batch.tolist()


# --- taking a composition apart -----------------------------------------------------------------------------------

# Each text of the data set has 3 stored variants, which lie behind the ROWS texts in the table.
STORED = Stored(ROWS + 3 * np.arange(ROWS), np.full(ROWS, 3))
LEAVES = [STORED, WordDelete(0.5), WordOrder(), LetterCase(0.9), Mask(4, 0.5), Crop(0.3, 0.9), Shuffle(), Dropout()]
WEIGHTS = st.lists(st.sampled_from([0, 0.25, 0.5, 2]), min_size=1, max_size=3).filter(any)


@st.composite
def choices(draw, views):
    weights = draw(WEIGHTS)
    return ("choice", weights, [draw(views) for _weight in weights])


COMPOSITIONS = st.recursive(
    st.sampled_from(LEAVES).map(lambda leaf: ("leaf", leaf)),
    lambda views: st.one_of(
        st.lists(views, max_size=3).map(lambda links: ("chain", links)),
        choices(views),
        st.tuples(st.just("where"), st.frozensets(st.integers(0, ROWS - 1)), views),
    ),
    max_leaves=8,
)
"""Compositions of stored, text and token views, in any order, as `oracles.leaves_taken` reads them."""


def composed(tree):
    """The view of a tree."""
    if tree[0] == "leaf":
        return tree[1]
    if tree[0] == "chain":
        return Chain(tuple(map(composed, tree[1])))
    if tree[0] == "choice":
        return Choice(tuple(map(composed, tree[2])), tuple(tree[1]))
    return Where(np.isin(np.arange(ROWS), list(tree[1])), composed(tree[2]))


def leaves_of(tree):
    if tree[0] == "leaf":
        return [tree[1]]
    below = {"chain": lambda: tree[1], "choice": lambda: tree[2], "where": lambda: [tree[2]]}[tree[0]]()
    return [leaf for one in below for leaf in leaves_of(one)]


def batch_of(kind):
    """A batch of one kind, row i of the data set at place i."""
    if kind == "stored":
        return np.arange(ROWS)
    if kind == "text":
        return ["the quick brown fox jumps over the lazy dog"] * ROWS
    return many(plain_rows(range(10, 20)), ROWS)


def one_of(batch, place):
    """A batch of one row of another."""
    if isinstance(batch, TokenRows):
        return batch.take(np.array([place]))
    return batch[place : place + 1]


@given(COMPOSITIONS, st.integers(0, 20))
def test_each_part_of_a_composition_does_what_the_leaves_of_its_kind_do_where_one_draw_decides_for_all(tree, seed):
    view, rng = composed(tree), RowRandom((seed, "view"), np.arange(ROWS), 0.5)
    alone = [rng.take(np.array([row])) for row in range(ROWS)]
    taken = [
        oracles.leaves_taken(tree, row, lambda name, own=alone[row]: own.named(*name).per_row()[0])
        for row in range(ROWS)
    ]
    for kind in KINDS:
        batch, expected = batch_of(kind), []
        for row in range(ROWS):
            seen = one_of(batch, row)
            for leaf, name in taken[row]:
                if kind_of(leaf) == kind:
                    seen = leaf(seen, alone[row].named(*name))
            expected += plain(seen)
        assert plain(part(view, kind)(batch, rng)) == expected, kind


@given(COMPOSITIONS)
def test_a_composition_tells_its_leaves_in_order_and_their_kinds(tree):
    view = composed(tree)
    found = leaves_of(tree)
    assert all(one is other for one, other in zip(leaves(view), found, strict=True))
    assert kinds_of(view) == {kind_of(leaf) for leaf in found} - {None}
    for kind in KINDS:
        assert kinds_of(part(view, kind)) == kinds_of(view) & {kind}
        assert len(leaves(part(view, kind))) == len(found)


@given(COMPOSITIONS)
def test_leaves_put_in_the_place_of_others_leave_the_shape_as_it_is(tree):
    numbers = iter(range(100))
    view = composed(tree)
    said = replaced(view, lambda leaf: Say(next(numbers)))
    assert [leaf.number for leaf in leaves(said)] == list(range(len(leaves_of(tree))))
    assert replaced(said, lambda leaf: leaf)(batch_of("stored"), rng_for(ROWS)).tolist() == (
        said(batch_of("stored"), rng_for(ROWS)).tolist()
    )
    assert all(one is other for one, other in zip(leaves(view), leaves_of(tree), strict=True))


def test_what_each_view_works_on():
    assert [kind_of(view) for view in (STORED, WordDelete(), Mask(4), Dropout(), Shuffle())] == [
        *("stored", "text", "tokens", None, "tokens"),
    ]
    assert kinds_of(Chain()) == set()
    assert leaves(Chain()) == []


def test_of_a_choice_between_words_and_masks_each_text_is_either_rewritten_or_masked():
    count = 2000
    rng = rng_for(count)
    texts, rows = ["a b c d e f g h i j"] * count, many(plain_rows(range(10, 30)), count)
    view = Choice((WordDelete(0.9), Mask(4, 0.9), Stored(np.full(count, count), np.full(count, 3))), (2, 1, 1))
    rewritten = np.array([new != old for old, new in zip(texts, part(view, "text")(texts, rng), strict=True)])
    masked = (part(view, "tokens")(rows, rng).ids == 4).reshape(count, 20).any(axis=1)
    stored = part(view, "stored")(np.arange(count), rng) >= count
    # Which of the three it was is one draw, though three stages act on it at different times.
    assert (rewritten.astype(int) + masked + stored == 1).all()
    assert rewritten.mean() == pytest.approx(0.5, abs=near(0.5, count))
    assert masked.mean() == pytest.approx(0.25, abs=near(0.25, count))
    assert Counter(part(view, "stored")(np.arange(count), rng)[stored].tolist()).keys() == {count, count + 1, count + 2}
