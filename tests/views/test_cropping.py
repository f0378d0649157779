from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import as_lists, plain_rows, rows_and_order
from tests.views.checks import check_promises, many, rng_for, sides_of
from textcl.corpus.tokens import SENTENCE_START
from textcl.errors import ConfigError
from textcl.randomness import RowRandom
from textcl.views import Crop, InverseCloze

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
    ],
)
def test_fractions_outside_their_range_are_refused(fractions, message):
    with pytest.raises(ConfigError, match=message):
        Crop(*fractions)


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
