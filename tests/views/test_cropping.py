from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import as_lists, plain_rows, rows_and_order
from tests.views.checks import MOMENTS, check_promises, check_ramp, many, near, rng_for, sides_of
from textcl.corpus.tokens import SENTENCE_START, TokenRows
from textcl.errors import ConfigError
from textcl.randomness import RowRandom
from textcl.views import Crop, InverseCloze, Neighbours, Ramp

FRACTIONS = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted)
KEEP_RATES = st.sampled_from([0.0, 0.3, 1.0])


@given(rows_and_order(), FRACTIONS)
def test_a_crop_keeps_the_promises_of_views(drawn, fractions):
    check_promises(Crop(*fractions), *drawn)


@given(rows_and_order(), FRACTIONS)
def test_a_crop_is_one_span_within_its_bounds(drawn, fractions):
    rows, _order = drawn
    for row, crop in zip(as_lists(rows), as_lists(Crop(*fractions)(rows, rng_for(len(rows)))), strict=True):
        if row:
            shortest, longest = (max(1, round(fraction * len(row))) for fraction in fractions)
            assert shortest <= len(crop) <= longest
        assert any(row[start : start + len(crop)] == crop for start in range(len(row) + 1))


def test_every_length_within_the_bounds_and_every_place_comes_up():
    rows = many(plain_rows(range(100, 110)), 4000)
    crops = as_lists(Crop(0.2, 0.5)(rows, rng_for(4000)))
    lengths = Counter(len(crop) for crop in crops)
    assert set(lengths) == {2, 3, 4, 5}
    # Rounding gives the two ends half as much room as the lengths between them.
    assert lengths[3] / 4000 == pytest.approx(1 / 3, abs=0.05)
    assert lengths[2] / 4000 == pytest.approx(1 / 6, abs=0.05)
    starts = Counter(crop[0][0] for crop in crops if len(crop) == 4)
    assert set(starts) == set(range(100, 107))
    assert max(starts.values()) < 1.5 * min(starts.values())


@pytest.mark.parametrize("options", [{"min_fraction": 0.4}, {"max_fraction": 0.9}])
def test_every_option_of_a_crop_matters(options):
    rows = many(plain_rows(range(100, 140)), 50)
    assert as_lists(Crop(**options)(rows, rng_for(50))) != as_lists(Crop()(rows, rng_for(50)))


def test_two_crops_of_one_text_differ():
    rows, rng = plain_rows(range(100, 200)), rng_for(1)
    assert as_lists(Crop()(rows, rng.named("first"))) != as_lists(Crop()(rows, rng.named("second")))


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((0, 0.5), r"^min_fraction: expected a share in \(0, 1\], got 0$"),
        ((1.1, 1.2), r"^min_fraction: expected a share in \(0, 1\], got 1.1$"),
        ((float("nan"), 1), r"^min_fraction: expected a share in \(0, 1\], got nan$"),
        ((0.5, 0.4), r"^max_fraction: expected a share in \[0.5, 1\], got 0.4$"),
        ((0.5, 1.1), r"^max_fraction: expected a share in \[0.5, 1\], got 1.1$"),
        ((Ramp(0.5, 0.0), 1), r"^min_fraction: expected a share in \(0, 1\], got '0.5 to 0.0'$"),
        ((Ramp(0.1, 0.5), 0.4), r"^max_fraction: expected a share in \[0.1 to 0.5, 1\], at any moment .*, got 0.4$"),
        ((0.5, Ramp(0.4, 0.9)), r"^max_fraction: expected a share in \[0.5, 1\], at any moment .*, got '0.4 to 0.9'$"),
        ((Ramp(0.1, 0.6, 0.2), Ramp(0.2, 0.7)), r"^max_fraction: expected a share in .*, got '0.2 to 0.7'$"),
    ],
)
def test_fractions_outside_their_range_are_refused(fractions, message):
    with pytest.raises(ConfigError, match=message):
        Crop(*fractions)


def test_fractions_may_move_as_long_as_the_shortest_stays_below_the_longest():
    crop = Crop(Ramp(0.1, 0.6), Ramp(0.2, 0.7))
    rows = many(plain_rows(range(100, 200)), 400)
    for progress, least, most in [(0.0, 10, 20), (1.0, 60, 70)]:
        lengths = crop(rows, rng_for(400, progress=progress)).lengths
        assert (lengths.min(), lengths.max()) == (least, most)


@pytest.mark.parametrize(
    "make",
    [lambda strength: Crop(strength, 0.75), lambda strength: Crop(0.125, strength), lambda strength: Crop(strength, 1)],
)
def test_a_fraction_that_moves_is_at_every_moment_that_moments_fraction(make):
    check_ramp(make, many(plain_rows(range(100, 140)), 20))


@pytest.mark.parametrize(("progress", "share"), MOMENTS.items())
def test_a_crop_between_two_moving_fractions_keeps_to_both(progress, share):
    rows = many(plain_rows(range(100, 180)), 500)
    crop = Crop(Ramp(0.125, 0.625, until=0.5), Ramp(0.75, 1.0, until=0.5))
    lengths = crop(rows, rng_for(500, progress=progress)).lengths
    assert lengths.min() == pytest.approx(80 * share, abs=1)
    assert lengths.max() == pytest.approx(80 * (0.6875 + share / 2), abs=1)


@given(rows_and_order(), KEEP_RATES)
def test_inverse_cloze_keeps_the_promises_of_views(drawn, keep_rate):
    check_promises(InverseCloze(keep_rate), *drawn)


def sentences_of(row):
    """Cut where sentences start; what stands before the first mark is no sentence."""
    starts = [place for place, (_token, mark) in enumerate(row) if mark & SENTENCE_START]
    return [row[start:end] for start, end in pairwise([*starts, len(row)])] if starts else []


@given(rows_and_order(), st.integers(0, 5))
def test_inverse_cloze_parts_a_sentence_from_its_row(drawn, seed):
    rows, _order = drawn
    sentence_side, rest_side = sides_of(InverseCloze(0.0)(rows, rng_for(len(rows), seed)))
    for row, sentence, rest in zip(as_lists(rows), sentence_side, rest_side, strict=True):
        sentences, half = sentences_of(row), (len(row) + 1) // 2
        if len(row) < 2:
            assert sentence == rest == row
        elif len(sentences) < 2:
            assert (sentence, rest) in [(row[:half], row[half:]), (row[half:], row[:half])]
        else:
            assert sentence in sentences
            places = range(len(row) - len(sentence) + 1)
            assert any(
                row[place : place + len(sentence)] == sentence and row[:place] + row[place + len(sentence) :] == rest
                for place in places
            )


@given(rows_and_order())
def test_inverse_cloze_that_keeps_always_has_the_whole_row_as_rest(drawn):
    rows, _order = drawn
    sentence, rest = sides_of(InverseCloze(1.0)(rows, rng_for(len(rows))))
    assert rest == as_lists(rows)
    assert sentence == sides_of(InverseCloze(0.0)(rows, rng_for(len(rows))))[0]


@pytest.mark.parametrize("keep_rate", [0.0, 0.1, 0.6, 1.0])
def test_the_keep_rate_is_the_share_of_rows_that_keep_their_sentence(keep_rate):
    rows = many(plain_rows(range(100, 106), sentences=[0, 2, 4]), 5000)
    kept = InverseCloze(keep_rate)(rows, rng_for(5000))[1].lengths == 6
    assert kept.mean() == pytest.approx(keep_rate, abs=5 * (keep_rate * (1 - keep_rate) / 5000) ** 0.5)


def test_every_sentence_is_drawn_equally_often_and_in_full():
    rows = many(plain_rows([10, 11, 12, 13, 14, 15], sentences=[0, 1, 3]), 6000)
    drawn = Counter(tuple(row.tolist()) for row in _rows(InverseCloze(0.0)(rows, rng_for(6000))[0]))
    assert set(drawn) == {(10,), (11, 12), (13, 14, 15)}
    assert min(drawn.values()) > 1800


def test_both_halves_of_a_single_sentence_are_drawn():
    rows = many(plain_rows([10, 11, 12], sentences=[0]), 2000)
    drawn = Counter(tuple(row.tolist()) for row in _rows(InverseCloze(0.0)(rows, rng_for(2000))[0]))
    assert set(drawn) == {(10, 11), (12,)}
    assert drawn[(12,)] / 2000 == pytest.approx(0.5, abs=0.06)


def _rows(rows):
    return [rows.row(index) for index in range(len(rows))]


def test_keeping_is_independent_of_which_sentence_is_drawn():
    rows = many(plain_rows(range(100, 104), sentences=[0, 1]), 10_000)
    sentence, rest = InverseCloze(0.5)(rows, rng_for(10_000))
    assert abs(np.corrcoef(sentence.lengths == 1, rest.lengths == 4)[0, 1]) < 0.05


def test_a_row_without_marks_before_a_row_with_some_is_cut_into_halves():
    rows = plain_rows([10, 11], [20, 21, 22], sentences=[2, 3])
    for seed in range(20):
        first, rest = InverseCloze(0.0)(rows, RowRandom((seed,), np.array([0, 1])))
        assert {first.row(0).tolist()[0], rest.row(0).tolist()[0]} == {10, 11}
        assert first.row(1).tolist() in ([20], [21, 22])


@pytest.mark.parametrize("keep_rate", [-0.1, 1.1, float("nan")])
def test_a_keep_rate_outside_its_range_is_refused(keep_rate):
    with pytest.raises(ConfigError, match=r"^keep_rate: expected a chance in \[0, 1\], got "):
        InverseCloze(keep_rate)


# --- Neighbours ---------------------------------------------------------------------------------------------------

SENTENCES = [[10, 11], [12], [13, 14, 15], [16], [17, 18]]
DOCUMENT = plain_rows(range(10, 19), sentences=[0, 2, 3, 6, 7])


def neighbours_of(row, distance, count):
    """Which two sentences, by number, are drawn from `count` copies of a document."""
    one, other = Neighbours(distance)(many(row, count), rng_for(count))
    sides = zip(_rows(one), _rows(other), strict=True)
    return Counter((SENTENCES.index(first.tolist()), SENTENCES.index(second.tolist())) for first, second in sides)


@given(rows_and_order(), st.integers(1, 4))
def test_neighbours_keep_the_promises_of_views(drawn, distance):
    check_promises(Neighbours(distance), *drawn)


@given(rows_and_order(), st.integers(1, 4), st.integers(0, 5))
def test_neighbours_are_two_sentences_no_farther_apart_than_the_distance(drawn, distance, seed):
    rows = _numbered(drawn[0])
    one_side, other_side = sides_of(Neighbours(distance)(rows, rng_for(len(rows), seed)))
    for row, one, other in zip(as_lists(rows), one_side, other_side, strict=True):
        sentences, half = sentences_of(row), (len(row) + 1) // 2
        if len(row) < 2:
            assert one == other == row
        elif len(sentences) < 2:
            assert (one, other) in [(row[:half], row[half:]), (row[half:], row[:half])]
        else:
            assert 1 <= abs(sentences.index(one) - sentences.index(other)) <= distance


def _numbered(rows):
    """The same rows with ids that tell sentences apart."""
    return TokenRows(np.arange(len(rows.ids), dtype=np.int32), rows.offsets, rows.marks)


@pytest.mark.parametrize(("distance", "farthest"), [(1, 1), (2, 2), (3, 3), (4, 4), (9, 4)])
def test_every_distance_every_place_and_both_orders_come_up_equally_often(distance, farthest):
    drawn = neighbours_of(DOCUMENT, distance, 8000)
    assert sum(count for (one, other), count in drawn.items() if one < other) / 8000 == pytest.approx(
        0.5, abs=near(0.5, 8000)
    )
    for apart in range(1, farthest + 1):
        share = 1 / farthest / (5 - apart) / 2
        for earlier in range(5 - apart):
            for pair in ((earlier, earlier + apart), (earlier + apart, earlier)):
                assert drawn.pop(pair) / 8000 == pytest.approx(share, abs=near(share, 8000)), pair
    assert not drawn


def test_a_row_of_two_sentences_has_its_two_sentences_for_sides_whatever_the_distance():
    row = plain_rows([10, 11, 12], sentences=[0, 2])
    for distance in (1, 5):
        assert set(neighbours_of(row, distance, 200)) == {(0, 1), (1, 0)}


def test_both_halves_of_a_single_sentence_stand_on_either_side():
    for row in (plain_rows([10, 11, 12], sentences=[0]), plain_rows([10, 11, 12])):
        one, other = Neighbours()(many(row, 2000), rng_for(2000))
        drawn = Counter((tuple(a.tolist()), tuple(b.tolist())) for a, b in zip(_rows(one), _rows(other), strict=True))
        assert set(drawn) == {((10, 11), (12,)), ((12,), (10, 11))}
        assert drawn[(12,), (10, 11)] / 2000 == pytest.approx(0.5, abs=near(0.5, 2000))


def test_a_row_of_one_token_stands_on_both_sides_and_an_empty_one_on_none():
    one, other = Neighbours()(plain_rows([10], [], [11, 12], sentences=[0]), rng_for(3))
    assert one.row(0).tolist() == other.row(0).tolist() == [10]
    assert one.row(1).tolist() == other.row(1).tolist() == []
    assert {one.row(2).tolist()[0], other.row(2).tolist()[0]} == {11, 12}


def test_the_distance_of_neighbours_matters():
    rows = many(DOCUMENT, 50)
    assert sides_of(Neighbours(1)(rows, rng_for(50))) != sides_of(Neighbours(3)(rows, rng_for(50)))


@pytest.mark.parametrize("distance", [0, -1])
def test_a_distance_below_one_is_refused(distance):
    with pytest.raises(ConfigError, match=rf"^distance: expected a number of sentences, at least 1, got {distance}$"):
        Neighbours(distance)
