from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import oracles
from tests.strategies import as_lists, make_rows, plain_rows, rows_and_order
from tests.views.checks import check_promises, check_ramp, many, near, rng_for
from textcl.corpus.tokens import offsets_of
from textcl.errors import ConfigError
from textcl.views import Cutoff, Mask, Ramp, Replace, SpanMask

VOCABULARY = np.arange(2000, 2010, dtype=np.int32)
RATES = st.sampled_from([0.0, 0.15, 0.9])
BERT: dict[str, Any] = {"random_fraction": 0.1, "kept_fraction": 0.1, "vocabulary": VOCABULARY}
WORDS = make_rows([[(10, 0), (11, 0), (12, 1), (13, 3), (14, 0), (15, 0), (16, 1), (17, 0)]])
"""Four words: two tokens without a mark at the row's begin, one, three and two."""


def check_that_ids_alone_change(view, rows, allowed):
    """The view leaves lengths and marks alone, and every new id is one of `allowed`."""
    seen = view(rows, rng_for(len(rows)))
    assert seen.offsets.tolist() == rows.offsets.tolist()
    assert seen.marks.tolist() == rows.marks.tolist()
    assert seen.ids.dtype == np.int32
    assert ((seen.ids == rows.ids) | np.isin(seen.ids, allowed)).all()


@given(
    rows_and_order(),
    RATES,
    st.booleans(),
    st.sampled_from([{}, BERT, {"kept_fraction": 0.5}, {**BERT, "random_fraction": 0.9}]),
)
def test_a_mask_keeps_the_promises_of_views(drawn, rate, whole_words, options):
    check_promises(Mask(4, rate, whole_words=whole_words, **options), *drawn)


@given(rows_and_order(), st.floats(0, 0.99))
def test_a_mask_changes_ids_to_the_mask_token_and_nothing_else(drawn, rate):
    check_that_ids_alone_change(Mask(4, rate), drawn[0], [4])


@given(rows_and_order(), st.floats(0, 0.99), st.booleans())
def test_random_tokens_come_from_the_vocabulary(drawn, rate, whole_words):
    rows = drawn[0]
    check_that_ids_alone_change(Mask(4, rate, whole_words=whole_words, **BERT), rows, [4, *VOCABULARY])
    only_random = Mask(4, rate, random_fraction=1.0, whole_words=whole_words, vocabulary=VOCABULARY)
    check_that_ids_alone_change(only_random, rows, VOCABULARY)


@pytest.mark.parametrize("rate", [0.0, 0.15, 0.5, 0.95])
def test_the_rate_is_the_share_of_tokens_that_are_masked(rate):
    rows = many(plain_rows(range(10, 30)), 2000)
    masked = Mask(4, rate)(rows, rng_for(2000)).ids == 4
    assert masked.mean() == pytest.approx(rate, abs=near(rate, len(masked)))


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


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize(("random_fraction", "kept_fraction"), [(0.1, 0.1), (0.0, 0.1), (0.3, 0.0), (0.5, 0.5), (1, 0)])
def test_the_chosen_tokens_become_masks_random_ones_or_stay_in_the_shares_that_are_asked_for(
    random_fraction, kept_fraction, whole_words
):
    rows = many(WORDS, 8000)
    chosen = Mask(4, 0.5, whole_words=whole_words)(rows, rng_for(8000)).ids == 4
    view = Mask(4, 0.5, random_fraction, kept_fraction, whole_words, VOCABULARY)
    seen = view(rows, rng_for(8000)).ids
    assert (seen[~chosen] == rows.ids[~chosen]).all()
    became = {
        "masked": (seen[chosen] == 4).mean(),
        "random": np.isin(seen[chosen], VOCABULARY).mean(),
        "kept": (seen[chosen] == rows.ids[chosen]).mean(),
    }
    shares = {"masked": 1 - random_fraction - kept_fraction, "random": random_fraction, "kept": kept_fraction}
    for name, share in shares.items():
        assert became[name] == pytest.approx(share, abs=near(share, chosen.sum())), name


@pytest.mark.parametrize(
    "view", [Mask(4, 0.5, 0.1, 0.1, vocabulary=VOCABULARY), Replace(VOCABULARY, 0.5)], ids=["Mask", "Replace"]
)
def test_every_id_of_the_vocabulary_comes_up_equally_often(view):
    seen = view(many(plain_rows(range(10, 30)), 8000), rng_for(8000)).ids
    drawn = Counter(seen[seen >= 2000].tolist())
    assert set(drawn) == set(VOCABULARY.tolist())
    assert max(drawn.values()) < 1.2 * min(drawn.values())


def test_what_becomes_of_a_token_is_drawn_apart_for_each_token_of_a_word():
    seen = Mask(4, 0.9, 0.5, 0.0, True, VOCABULARY)(many(WORDS, 500), rng_for(500)).ids.reshape(500, 8)
    assert ((seen[:, 3] == 4) != (seen[:, 4] == 4)).any()
    assert (seen[:, 3][seen[:, 3] >= 2000] != seen[:, 4][seen[:, 3] >= 2000]).any()


@given(rows_and_order(), st.floats(0.01, 0.99))
def test_whole_words_are_masked_and_replaced_with_all_their_tokens_or_not_at_all(drawn, rate):
    rows, _order = drawn
    for view in (Mask(4, rate, whole_words=True), Replace(VOCABULARY, rate, whole_words=True)):
        seen = view(rows, rng_for(len(rows)))
        changed = as_lists(seen)
        for row, new in zip(as_lists(rows), changed, strict=True):
            place = 0
            for word in oracles.units(row, whole_words=True):
                hidden = [new[place + number][0] != token for number, (token, _mark) in enumerate(word)]
                assert len(set(hidden)) == 1
                place += len(word)


@pytest.mark.parametrize("view", [Mask(4, 0.3, whole_words=True), Replace(VOCABULARY, 0.3, whole_words=True)])
def test_the_rate_of_whole_words_is_the_share_of_words_however_long(view):
    rows = many(WORDS, 8000)
    changed = (view(rows, rng_for(8000)).ids != rows.ids).reshape(8000, 8)
    starts = [0, 2, 3, 6]
    assert changed[:, starts].mean(axis=0) == pytest.approx(np.full(4, 0.3), abs=near(0.3, 8000))
    one, other = changed[:, 2], changed[:, 3]
    assert (one & other).mean() == pytest.approx(0.09, abs=near(0.09, 8000))


@pytest.mark.parametrize(
    ("view", "other"),
    [
        (Mask(4), Mask(4, 0.3)),
        (Mask(4), Mask(4, random_fraction=0.5, vocabulary=VOCABULARY)),
        (Mask(4), Mask(4, kept_fraction=0.5)),
        (Mask(4), Mask(4, whole_words=True)),
        (Mask(4, random_fraction=0.5, vocabulary=VOCABULARY), Mask(4, random_fraction=0.5, vocabulary=VOCABULARY[:5])),
        (Replace(VOCABULARY), Replace(VOCABULARY, 0.3)),
        (Replace(VOCABULARY), Replace(VOCABULARY, whole_words=True)),
        (Replace(VOCABULARY), Replace(VOCABULARY[:5])),
        (SpanMask(4), SpanMask(3)),
        (SpanMask(4), SpanMask(4, 0.3)),
        (SpanMask(4), SpanMask(4, mean_span=3)),
        (SpanMask(4), SpanMask(4, max_span=5)),
        (Cutoff(0), Cutoff(1)),
        (Cutoff(0), Cutoff(0, 0.3)),
    ],
)
def test_every_option_of_what_hides_tokens_matters(view, other):
    rows = many(WORDS, 50)
    assert as_lists(view(rows, rng_for(50))) != as_lists(other(rows, rng_for(50)))


@pytest.mark.parametrize(
    "make",
    [
        lambda rate: Mask(4, rate),
        lambda rate: Mask(4, rate, whole_words=True, **BERT),
        lambda rate: Replace(VOCABULARY, rate),
        lambda rate: SpanMask(4, rate),
        lambda rate: Cutoff(0, rate),
    ],
    ids=["Mask", "whole words", "Replace", "SpanMask", "Cutoff"],
)
def test_a_rate_that_moves_is_at_every_moment_that_moments_rate(make):
    check_ramp(make, many(plain_rows(range(10, 30)), 20))


def test_a_rate_that_moves_from_nothing_masks_nothing_at_first():
    rows, view = many(plain_rows(range(10, 30)), 1000), Mask(4, Ramp(0.0, 0.8, until=0.5))
    shares = [
        (view(rows, rng_for(1000, progress=progress)).ids == 4).mean() for progress in (0.0, 0.125, 0.25, 0.5, 1.0)
    ]
    assert shares[0] == 0.0
    assert shares[1:] == pytest.approx([0.2, 0.4, 0.8, 0.8], abs=near(0.5, 20_000))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
@pytest.mark.parametrize(
    "make",
    [
        lambda rate: Mask(4, rate),
        lambda rate: Replace(VOCABULARY, rate),
        lambda rate: SpanMask(4, rate),
        lambda rate: Cutoff(0, rate),
    ],
    ids=["Mask", "Replace", "SpanMask", "Cutoff"],
)
def test_a_rate_outside_its_range_is_refused(make, rate):
    with pytest.raises(ConfigError, match=rf"^rate: expected a chance in \[0, 1\), got {rate}$"):
        make(rate)
    with pytest.raises(ConfigError, match=rf"^rate: expected a chance in \[0, 1\), got '0.5 to {rate}'$"):
        make(Ramp(0.5, rate))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mask(4, random_fraction=-0.1), r"^random_fraction: expected a share in \[0, 1\], got -0.1$"),
        (lambda: Mask(4, random_fraction=1.1), r"^random_fraction: expected a share in \[0, 1\], got 1.1$"),
        (lambda: Mask(4, kept_fraction=-0.1), r"^kept_fraction: expected a share in \[0, 1\], got -0.1$"),
        (lambda: Mask(4, kept_fraction=math.nan), r"^kept_fraction: expected a share in \[0, 1\], got nan$"),
        (
            lambda: Mask(4, random_fraction=0.3, kept_fraction=0.8, vocabulary=VOCABULARY),
            r"^kept_fraction: expected a share in \[0, 0.7\], got 0.8$",
        ),
        (
            lambda: Mask(4, random_fraction=0.1),
            "^vocabulary: random_fraction needs the ids from which random tokens come$",
        ),
        (lambda: Replace(VOCABULARY[:0]), "^vocabulary: needs at least one id$"),
        (lambda: SpanMask(4, mean_span=0.9), "^mean_span: expected a number of at least 1, got 0.9$"),
        (lambda: SpanMask(4, mean_span=math.inf), "^mean_span: expected a number of at least 1, got inf$"),
        (lambda: SpanMask(4, max_span=0), "^max_span: expected a number of tokens from 1 to 4096, got 0$"),
    ],
)
def test_settings_outside_their_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@given(st.integers(0, 100))
@example(90)
def test_two_shares_that_are_one_together_are_allowed(hundredths):
    # 1 - 0.9 is a little less than 0.1.
    view = Mask(4, 0.5, hundredths / 100, (100 - hundredths) / 100, vocabulary=VOCABULARY)
    rows = many(WORDS, 20)
    assert not (view(rows, rng_for(20)).ids == 4).any()


# --- Replace ------------------------------------------------------------------------------------------------------


@given(rows_and_order(), RATES, st.booleans())
def test_a_replacement_keeps_the_promises_of_views(drawn, rate, whole_words):
    check_promises(Replace(VOCABULARY, rate, whole_words), *drawn)


@given(rows_and_order(), st.floats(0, 0.99), st.booleans())
def test_a_replacement_changes_ids_to_some_of_the_vocabulary_and_nothing_else(drawn, rate, whole_words):
    check_that_ids_alone_change(Replace(VOCABULARY, rate, whole_words), drawn[0], VOCABULARY)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.9])
def test_the_rate_is_the_share_of_tokens_that_are_replaced(rate):
    rows = many(plain_rows(range(10, 30)), 2000)
    replaced = Replace(VOCABULARY, rate)(rows, rng_for(2000)).ids != rows.ids
    assert replaced.mean() == pytest.approx(rate, abs=near(rate, len(replaced)))


# --- SpanMask -----------------------------------------------------------------------------------------------------

SPANS = st.tuples(st.sampled_from([1.0, 1.5, 3.8, 5.0, 40.0]), st.integers(1, 12))


@given(rows_and_order(), RATES, SPANS)
def test_span_masking_keeps_the_promises_of_views(drawn, rate, spans):
    check_promises(SpanMask(4, rate, *spans), *drawn)


@given(rows_and_order(), st.floats(0, 0.99), SPANS, st.integers(0, 100))
def test_span_masking_equals_plain_loops(drawn, rate, spans, seed):
    (rows, _order), (mean_span, max_span) = drawn, spans
    rng = rng_for(len(rows), seed)
    wide = offsets_of(rows.lengths + max_span - 1)
    begins, lengths = rng.per_token(wide), rng.per_token(wide, 1)
    start_rate = oracles.span_start_rate(rate, mean_span, max_span)
    seen = as_lists(SpanMask(4, rate, mean_span, max_span)(rows, rng))
    for number, (row, new) in enumerate(zip(as_lists(rows), seen, strict=True)):
        own = slice(wide[number], wide[number + 1])
        hidden = oracles.span_mask(
            len(row), begins[own].tolist(), lengths[own].tolist(), start_rate, mean_span, max_span
        )
        assert new == [(4 if hide else token, mark) for hide, (token, mark) in zip(hidden, row, strict=True)]


@pytest.mark.parametrize("tokens", [1, 3, 400])
@pytest.mark.parametrize(
    ("rate", "mean_span", "max_span"), [(0.15, 5.0, 10), (0.5, 3.0, 4), (0.9, 20.0, 30), (0.3, 1.0, 10), (0.3, 4.0, 1)]
)
def test_the_rate_of_span_masking_is_reached_on_short_and_on_long_rows(rate, mean_span, max_span, tokens):
    count = 40_000 // tokens
    rows = many(plain_rows(range(10, 10 + tokens)), count)
    hidden = (SpanMask(4, rate, mean_span, max_span)(rows, rng_for(count)).ids == 4).reshape(count, tokens)
    # Tokens that may stand in one span are not independent of each other.
    independent = count * max(1, tokens // max_span)
    assert hidden.mean() == pytest.approx(rate, abs=near(rate, independent))
    assert hidden[:, 0].mean() == pytest.approx(rate, abs=near(rate, count))
    assert hidden[:, -1].mean() == pytest.approx(rate, abs=near(rate, count))


def runs_of(hidden):
    """The lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(hidden.astype(int), prepend=0, append=0))
    return (edges[1::2] - edges[::2]).tolist()


def spans_of(mean_span, max_span, rate=0.002):
    """Lengths of spans so few that hardly any two of them meet."""
    rows = plain_rows(range(10, 400_010))
    return runs_of(SpanMask(4, rate, mean_span, max_span)(rows, rng_for(1)).ids == 4)


def test_spans_are_geometric_and_cut_at_the_longest():
    lengths = Counter(spans_of(mean_span=3.0, max_span=4, rate=0.01))
    total = sum(lengths.values())
    expected = {1: 1 / 3, 2: 2 / 9, 3: 4 / 27, 4: 8 / 27}
    for length, share in expected.items():
        assert lengths[length] / total == pytest.approx(share, abs=near(share, total) + 0.005), length
    # The few beyond are two that met.
    assert sum(count for length, count in lengths.items() if length > 4) / total < 0.02


@pytest.mark.parametrize("max_span", [1, 3, 10])
def test_no_span_alone_is_longer_than_the_longest(max_span):
    assert max(spans_of(50.0, max_span, rate=0.0005)) == max_span


def test_a_longer_mean_gives_longer_spans():
    short, long = spans_of(2.0, 1000, 0.01), spans_of(8.0, 1000, 0.01)
    assert np.mean(short) == pytest.approx(2.0, rel=0.1)
    assert np.mean(long) == pytest.approx(8.0, rel=0.2)


def test_spans_of_one_token_are_plain_masking():
    rows = many(plain_rows(range(10, 30)), 500)
    for spans in (SpanMask(4, 0.3, mean_span=1.0, max_span=1), SpanMask(4, 0.3, mean_span=5.0, max_span=1)):
        assert as_lists(spans(rows, rng_for(500))) == as_lists(Mask(4, 0.3)(rows, rng_for(500)))


def test_spans_of_mean_one_hide_tokens_that_are_independent_of_their_neighbours():
    rows = many(plain_rows(range(10, 30)), 4000)
    hidden = (SpanMask(4, 0.3, mean_span=1.0)(rows, rng_for(4000)).ids == 4).reshape(4000, 20)
    assert abs(np.corrcoef(hidden[:, :-1].ravel(), hidden[:, 1:].ravel())[0, 1]) < 0.02


def test_a_span_does_not_reach_into_the_next_row():
    rows = plain_rows(*[[10] * 3] * 4000)
    hidden = (SpanMask(4, 0.3, mean_span=5.0)(rows, rng_for(4000)).ids == 4).reshape(4000, 3)
    assert abs(np.corrcoef(hidden[:-1, -1], hidden[1:, 0])[0, 1]) < 5 / 4000**0.5
    assert np.corrcoef(hidden[:, 0], hidden[:, 1])[0, 1] > 0.5


# --- Cutoff -------------------------------------------------------------------------------------------------------


@given(rows_and_order(), RATES)
def test_a_cutoff_keeps_the_promises_of_views(drawn, rate):
    check_promises(Cutoff(0, rate), *drawn)


@given(rows_and_order(), st.floats(0, 0.999), st.integers(0, 100))
@example((plain_rows([10], [10, 11], [10, 11, 12]), []), 0.99, 0)
@example((plain_rows(range(10, 20)), []), 0.25, 0)
def test_a_cutoff_blanks_exactly_the_rate_of_each_row_but_never_all_of_it(drawn, rate, seed):
    rows, _order = drawn
    check_that_ids_alone_change(Cutoff(0, rate), rows, [0])
    for row, new in zip(as_lists(rows), as_lists(Cutoff(0, rate)(rows, rng_for(len(rows), seed))), strict=True):
        blank = sum(token == 0 for token, _mark in new)
        assert blank == max(0, min(round(rate * len(row)), len(row) - 1))


def test_every_choice_of_tokens_is_cut_off_equally_often():
    rows = many(plain_rows([10, 11, 12, 13]), 6000)
    seen = Counter(map(tuple, Cutoff(0, 0.5)(rows, rng_for(6000)).ids.reshape(6000, 4).tolist()))
    assert len(seen) == 6
    assert min(seen.values()) / 6000 == pytest.approx(1 / 6, abs=near(1 / 6, 6000))
    assert max(seen.values()) / 6000 == pytest.approx(1 / 6, abs=near(1 / 6, 6000))
