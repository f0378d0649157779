from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import oracles
from tests.strategies import as_lists, make_rows, plain_rows, rows_and_order
from tests.views.checks import check_promises, check_ramp, many, near, rng_for
from textcl.corpus.tokens import SENTENCE_START
from textcl.errors import ConfigError
from textcl.views import Delete, Ramp, Repeat, Shuffle

RATES = st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.999])
DISTANCES = st.sampled_from([0, 0.5, 1, 2.5, 3, 50])
SEEDS = st.integers(0, 100)
WORDS = make_rows([[(10, 0), (11, 0), (12, 1), (13, 3), (14, 0), (15, 0), (16, 1), (17, 0)]])
"""Four words: two tokens without a mark at the row's begin, one, three and two."""


def numbered(rows):
    """The same rows with ids that tell tokens apart."""
    return make_rows([[(5 + place, mark) for place, (_id, mark) in enumerate(row)] for row in as_lists(rows)])


def numbers_of(rows, rng):
    """The numbers that each row's tokens draw, as lists."""
    draws = rng.per_token(rows.offsets).tolist()
    return [draws[start:end] for start, end in pairwise(rows.offsets.tolist())]


# --- Delete -------------------------------------------------------------------------------------------------------


@given(rows_and_order(), RATES, st.booleans())
def test_deletion_keeps_the_promises_of_views(drawn, rate, whole_words):
    check_promises(Delete(rate, whole_words), *drawn)


@given(rows_and_order(), st.floats(0, 0.999), st.booleans(), SEEDS)
def test_deletion_equals_plain_loops(drawn, rate, whole_words, seed):
    rows, _order = drawn
    rng = rng_for(len(rows), seed)
    expected = [
        oracles.delete(row, numbers, rate, whole_words)
        for row, numbers in zip(as_lists(rows), numbers_of(rows, rng), strict=True)
    ]
    assert as_lists(Delete(rate, whole_words)(rows, rng)) == expected


@given(rows_and_order(), RATES, st.booleans(), SEEDS)
def test_what_deletion_leaves_stands_in_order_and_whole_words_are_whole(drawn, rate, whole_words, seed):
    rows = numbered(drawn[0])
    for row, kept in zip(
        as_lists(rows), as_lists(Delete(rate, whole_words)(rows, rng_for(len(rows), seed))), strict=True
    ):
        assert kept == [token for token in row if token in kept]
        if whole_words:
            assert kept == [token for word in oracles.units(row, True) if word[0] in kept for token in word]


def test_the_most_zealous_deletion_leaves_one_token_or_one_word():
    rows = many(WORDS, 200)
    assert set(Delete(0.9999)(rows, rng_for(200)).lengths.tolist()) == {1}
    kept = {tuple(token for token, _mark in row) for row in as_lists(Delete(0.9999, True)(rows, rng_for(200)))}
    assert kept == {(10, 11), (12,), (13, 14, 15), (16, 17)}


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_the_rate_is_the_share_of_tokens_or_words_that_are_deleted(rate, whole_words):
    rows = many(plain_rows(range(10, 30)), 2000)
    left = Delete(rate, whole_words)(rows, rng_for(2000)).lengths.sum()
    assert 1 - left / 40_000 == pytest.approx(rate, abs=near(rate, 40_000))
    words_left = Counter(Delete(rate, whole_words)(many(WORDS, 4000), rng_for(4000)).ids.tolist())
    kept = np.array([words_left[first] for first in (10, 12, 13, 16)]) / 4000
    # One word stays where all four would go.
    assert kept == pytest.approx(np.full(4, 1 - rate), abs=near(rate, 4000) + rate**4 / 4)


# --- Shuffle ------------------------------------------------------------------------------------------------------


@given(rows_and_order(), DISTANCES, st.booleans())
def test_shuffling_keeps_the_promises_of_views(drawn, distance, whole_words):
    check_promises(Shuffle(distance, whole_words), *drawn)


@given(rows_and_order(), DISTANCES, st.booleans(), SEEDS)
def test_shuffling_equals_plain_loops(drawn, distance, whole_words, seed):
    rows, _order = drawn
    rng = rng_for(len(rows), seed)
    expected = [
        oracles.shuffle(row, numbers, distance, whole_words)
        for row, numbers in zip(as_lists(rows), numbers_of(rows, rng), strict=True)
    ]
    seen = Shuffle(distance, whole_words)(rows, rng)
    assert as_lists(seen) == expected
    assert seen.offsets.tolist() == rows.offsets.tolist()


@given(rows_and_order(), DISTANCES, st.booleans(), SEEDS)
def test_nothing_is_shuffled_farther_than_the_distance_and_words_stay_in_one_piece(drawn, distance, whole_words, seed):
    rows = numbered(drawn[0])
    seen = as_lists(Shuffle(distance, whole_words)(rows, rng_for(len(rows), seed)))
    for row, moved in zip(as_lists(rows), seen, strict=True):
        units, flat = oracles.units(row, whole_words), list(moved)
        order = []
        while flat:
            place = next(place for place, unit in enumerate(units) if unit[0] == flat[0])
            assert flat[: len(units[place])] == units[place]
            del flat[: len(units[place])]
            order.append(place)
        assert sorted(order) == list(range(len(units)))
        assert all(abs(now - place) <= math.ceil(distance) for now, place in enumerate(order))


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("distance", [1, 2, 2.5, 3])
def test_every_distance_up_to_the_farthest_is_moved(distance, whole_words):
    rows = many(plain_rows(range(100, 120)), 3000)
    moved = Shuffle(distance, whole_words)(rows, rng_for(3000)).ids.reshape(3000, 20) - np.arange(100, 120)
    assert set(np.abs(moved).ravel().tolist()) == set(range(math.ceil(distance) + 1))


def test_two_tokens_change_places_as_often_as_the_paper_has_it():
    rows = many(plain_rows([10, 11]), 8000)
    swapped = Shuffle(3)(rows, rng_for(8000)).ids[::2] == 11
    # 1 + 4u < 4v for two even numbers u and v: half of the square (3 / 4)².
    assert swapped.mean() == pytest.approx(9 / 32, abs=near(9 / 32, 8000))


def test_a_row_is_shuffled_alike_wherever_it_stands_in_its_batch():
    # Place and noise are 1.5 and 1.5 - 2**-52 in the row, whose difference is lost in sums of 9 and more.
    row, far = [10, 11], plain_rows([20] * 8, [10, 11])
    draws = np.array([0.75, 0.25 - 2.0**-53])
    alone = Shuffle(1)(plain_rows(row), SimpleNamespace(per_token=lambda offsets: draws))
    behind = Shuffle(1)(far, SimpleNamespace(per_token=lambda offsets: np.concatenate([np.zeros(8), draws])))
    assert alone.row(0).tolist() == behind.row(1).tolist() == [11, 10]


# --- Repeat -------------------------------------------------------------------------------------------------------


@given(rows_and_order(), RATES, st.booleans())
def test_repetition_keeps_the_promises_of_views(drawn, max_fraction, whole_words):
    check_promises(Repeat(max_fraction, whole_words), *drawn)


@given(rows_and_order(), RATES, st.booleans(), SEEDS)
def test_repetition_equals_plain_loops(drawn, max_fraction, whole_words, seed):
    rows, _order = drawn
    rng = rng_for(len(rows), seed)
    expected = [
        oracles.repeat(row, numbers, count_number, max_fraction, whole_words)
        for row, numbers, count_number in zip(
            as_lists(rows), numbers_of(rows, rng), rng.per_row().tolist(), strict=True
        )
    ]
    assert as_lists(Repeat(max_fraction, whole_words)(rows, rng)) == expected


@given(rows_and_order(), RATES, st.booleans(), SEEDS)
def test_a_copy_stands_behind_its_original_and_starts_no_sentence(drawn, max_fraction, whole_words, seed):
    rows = numbered(drawn[0])
    seen = as_lists(Repeat(max_fraction, whole_words)(rows, rng_for(len(rows), seed)))
    for row, said in zip(as_lists(rows), seen, strict=True):
        units, flat, twice = oracles.units(row, whole_words), list(said), 0
        for unit in units:
            assert flat[: len(unit)] == unit
            del flat[: len(unit)]
            copy = [(token, mark & ~int(SENTENCE_START)) for token, mark in unit]
            if flat[: len(unit)] == copy:
                del flat[: len(unit)]
                twice += 1
        assert flat == []
        assert twice <= min(len(units), max(2, int(max_fraction * len(units)))) * (max_fraction > 0)


@pytest.mark.parametrize(
    ("tokens", "max_fraction", "most"), [(1, 0.32, 1), (2, 0.32, 2), (3, 0.9, 2), (6, 0.32, 2), (10, 0.5, 5), (5, 0, 0)]
)
def test_every_number_of_repetitions_up_to_the_bound_is_as_likely(tokens, max_fraction, most):
    for whole_words in (False, True):
        view, rows = Repeat(max_fraction, whole_words), many(plain_rows(range(10, 10 + tokens)), 6000)
        drawn = Counter((view(rows, rng_for(6000)).lengths - tokens).tolist())
        assert set(drawn) == set(range(most + 1))
        share = 1 / (most + 1)
        assert np.array(list(drawn.values())) / 6000 == pytest.approx(np.full(most + 1, share), abs=near(share, 6000))


def test_the_bound_on_repetitions_counts_words_where_words_are_whole():
    rows = many(make_rows([[(10 + place, int(place % 3 == 0)) for place in range(30)]]), 2000)
    added = Repeat(0.5, whole_words=True)(rows, rng_for(2000)).lengths - 30
    assert set(added.tolist()) == {0, 3, 6, 9, 12, 15}


def test_every_token_is_repeated_equally_often():
    rows = many(plain_rows(range(10, 20)), 6000)
    said = Counter(Repeat(0.5)(rows, rng_for(6000)).ids.tolist())
    assert np.array([said[token] for token in range(10, 20)]) / 6000 == pytest.approx(np.full(10, 1.25), abs=0.03)


# --- all three ----------------------------------------------------------------------------------------------------


@given(rows_and_order(), st.booleans())
@example((plain_rows([10, 11], [], [12]), []), True)
def test_without_strength_nothing_is_edited(drawn, whole_words):
    rows, _order = drawn
    for view in (Delete(0.0, whole_words), Shuffle(0, whole_words), Repeat(0.0, whole_words)):
        assert as_lists(view(rows, rng_for(len(rows)))) == as_lists(rows)


@pytest.mark.parametrize(
    ("view", "other"),
    [
        (Delete(), Delete(0.3)),
        (Delete(), Delete(whole_words=True)),
        (Shuffle(), Shuffle(1)),
        (Shuffle(), Shuffle(whole_words=True)),
        (Repeat(), Repeat(0.7)),
        (Repeat(), Repeat(whole_words=True)),
    ],
)
def test_every_option_of_editing_matters(view, other):
    rows = many(WORDS, 50)
    assert as_lists(view(rows, rng_for(50))) != as_lists(other(rows, rng_for(50)))


@pytest.mark.parametrize("view", [Delete(0.5), Shuffle(), Repeat()])
def test_two_edits_of_one_row_differ(view):
    rows, rng = plain_rows(range(100, 200)), rng_for(1)
    assert as_lists(view(rows, rng.named("first"))) != as_lists(view(rows, rng.named("second")))


@pytest.mark.parametrize(
    "view", [Delete(0.5), Delete(0.5, True), Shuffle(), Shuffle(3, True), Repeat(), Repeat(0.3, True)]
)
def test_a_batch_without_rows_or_tokens_is_edited_into_one(view):
    assert as_lists(view(plain_rows(), rng_for(0))) == []
    assert as_lists(view(plain_rows([], []), rng_for(2))) == [[], []]


@pytest.mark.parametrize("make", [Delete, Shuffle, Repeat])
def test_a_strength_that_moves_is_at_every_moment_that_moments_strength(make):
    check_ramp(make, many(plain_rows(range(10, 50)), 20))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Delete(1.0), r"^rate: expected a chance in \[0, 1\), got 1.0$"),
        (lambda: Delete(-0.1), r"^rate: expected a chance in \[0, 1\), got -0.1$"),
        (lambda: Delete(Ramp(0.1, 1.0)), r"^rate: expected a chance in \[0, 1\), got '0.1 to 1.0'$"),
        (lambda: Shuffle(-1), "^distance: expected a number of at least 0, got -1$"),
        (lambda: Shuffle(math.inf), "^distance: expected a number of at least 0, got inf$"),
        (lambda: Shuffle(math.nan), "^distance: expected a number of at least 0, got nan$"),
        (lambda: Shuffle(Ramp(3, -1)), "^distance: expected a number of at least 0, got '3 to -1'$"),
        (lambda: Repeat(1.0), r"^max_fraction: expected a chance in \[0, 1\), got 1.0$"),
        (lambda: Repeat(-0.1), r"^max_fraction: expected a chance in \[0, 1\), got -0.1$"),
        (lambda: Repeat(Ramp(2.0, 0.1)), r"^max_fraction: expected a chance in \[0, 1\), got '2.0 to 0.1'$"),
    ],
)
def test_options_outside_their_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
