from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcl.randomness import RowRandom, key_of, permutation, philox, stream

ROWS = 20_000
ONE_EACH = np.arange(ROWS + 1)  # offsets of rows of one token
NAMES = st.lists(st.one_of(st.integers(), st.text(max_size=4)), min_size=1, max_size=3).map(tuple)


def rows_of(*numbers):
    return np.array(numbers, dtype=np.int64)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, expected):
    low, high = (int(word, 16) for word in key.split())
    words = np.array([[int(word, 16) for word in counter.split()]], dtype=np.uint64)
    assert [f"{word:08x}" for word in philox(words, low | high << 32)[0]] == expected.split()


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=8), st.data())
def test_a_row_alone_draws_what_it_draws_in_any_batch(rows, data):
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows)))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    together = RowRandom((0, "view"), rows_of(*rows))
    for index, row in enumerate(rows):
        alone = RowRandom((0, "view"), rows_of(row))
        assert alone.per_row(3)[0] == together.per_row(3)[index]
        own = rows_of(0, lengths[index])
        assert alone.per_token(own, 2).tolist() == together.per_token(offsets, 2)[offsets[index] :][: own[1]].tolist()
        assert alone.for_text(0).random() == together.for_text(index).random()


def test_row_numbers_beyond_32_bits_are_rows_of_their_own():
    numbers = RowRandom((0,), rows_of(7, 7 + 2**32, 7 + 2**33)).per_row()
    assert len(set(numbers.tolist())) == 3


def test_uniform_numbers_have_the_mean_and_variance_of_their_law():
    numbers = RowRandom((0,), np.arange(200_000)).per_row()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    # The mean's standard error is 0.29 / sqrt(n) = 0.00065, that of the variance 0.075 / sqrt(n) = 0.00017.
    assert numbers.mean() == pytest.approx(1 / 2, abs=0.0033)
    assert numbers.var() == pytest.approx(1 / 12, abs=0.0009)


def test_uniform_numbers_use_53_bits():
    numbers = RowRandom((0,), np.arange(1000)).per_row() * 2**53
    assert (numbers == np.floor(numbers)).all()
    assert (numbers % 2 == 1).mean() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda rng: rng.per_row(0), lambda rng: rng.per_row(1)),
        (lambda rng: rng.per_token(ONE_EACH, 0), lambda rng: rng.per_token(ONE_EACH, 1)),
        (lambda rng: rng.per_row(0), lambda rng: rng.named("part").per_row(0)),
        (lambda rng: rng.named(0).per_row(), lambda rng: rng.named(1).per_row()),
        (lambda rng: rng.per_row(), lambda rng: RowRandom((1, "view"), rng.rows).per_row()),
        (lambda rng: rng.per_row(), lambda rng: RowRandom(rng.name, rng.rows + ROWS).per_row()),
        (lambda rng: rng.per_row(), lambda rng: rng.per_token(ONE_EACH)),
    ],
    ids=["draws", "token draws", "parts", "links", "seeds", "rows", "purposes"],
)
def test_numbers_for_different_ends_are_independent(first, second):
    rng = RowRandom((0, "view"), np.arange(ROWS))
    one, other = first(rng), second(rng)
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(one))
    assert not np.isin(one, other).any()


def test_tokens_of_one_row_draw_independent_numbers():
    numbers = RowRandom((0,), rows_of(5)).per_token(rows_of(0, 20_000))
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 5 / np.sqrt(len(numbers))


def test_rows_without_tokens_draw_nothing():
    assert RowRandom((0,), rows_of(1, 2)).per_token(rows_of(0, 0, 0)).shape == (0,)
    assert RowRandom((0,), rows_of()).per_row().shape == (0,)


@given(NAMES, NAMES)
def test_equal_names_and_only_those_have_equal_keys(first, second):
    assert (key_of(*first) == key_of(*second)) == (first == second)
    assert 0 <= key_of(*first) < 2**64


def test_a_stream_is_its_names_alone():
    assert stream(0, "a").random() == stream(0, "a").random()
    assert stream(0, "a").random() != stream(1, "a").random()
    assert stream("1").random() != stream(1).random()


@given(st.integers(0, 50), st.integers())
def test_a_permutation_holds_every_number_once_and_is_its_names_alone(length, seed):
    order = permutation(length, seed, "order")
    assert sorted(order.tolist()) == list(range(length))
    assert order.tolist() == permutation(length, seed, "order").tolist()


def test_permutations_of_other_names_differ():
    orders = {tuple(permutation(20, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25


def test_numbers_never_change_between_versions():
    # Runs that stopped with an older version resume on these.
    assert key_of(0, "order", 1) == 0xC2E5552BF08B9137
    assert permutation(6, 0, "order").tolist() == [5, 1, 2, 0, 4, 3]
    assert RowRandom((0, 1, "first"), rows_of(0, 1)).per_row().tolist() == [0.23703492093641365, 0.8424018089524252]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=8), st.data())
def test_some_of_the_rows_draw_what_they_draw_among_all(rows, data):
    places = rows_of(*data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)))
    whole = RowRandom((0, "view"), rows_of(*rows), progress=0.3)
    some = whole.take(places)
    assert some.name == whole.name
    assert some.rows.tolist() == [rows[place] for place in places]
    assert some.per_row(2).tolist() == whole.per_row(2)[places].tolist()
    assert some.named("part").per_row().tolist() == whole.named("part").per_row()[places].tolist()
    assert [some.for_text(index).random() for index in range(len(places))] == [
        whole.for_text(place).random() for place in places
    ]


def test_how_far_training_is_goes_to_every_part_and_changes_no_number():
    start, later = RowRandom((0, "view"), np.arange(50)), RowRandom((0, "view"), np.arange(50), progress=0.7)
    assert start.progress == 0.0
    for part in (later, later.named("part"), later.take(rows_of(3, 1)), later.named("part").take(rows_of(2)).named(0)):
        assert part.progress == 0.7
    assert later.per_row().tolist() == start.per_row().tolist()
    assert later.per_token(np.arange(51)).tolist() == start.per_token(np.arange(51)).tolist()
    assert later.for_text(3).random() == start.for_text(3).random()
