from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.views.checks import TEXTS, check_ramp, check_text_promises, near, rng_for, texts_and_order
from textcl.errors import ConfigError
from textcl.views import LetterCase, Ramp, Typos, WordDelete, WordOrder

RATES = st.sampled_from([0.0, 0.1, 0.5, 0.999])
DISTANCES = st.sampled_from([0, 0.5, 1, 2.5, 3, 50])
CASES = st.lists(st.sampled_from(["lower", "upper", "title"]), min_size=1, max_size=3, unique=True).map(tuple)
SEEDS = st.integers(0, 100)
COUNT = 4000
PANGRAM = "The quick brown fox jumps over the lazy dog"


def seen(view, text, count=COUNT):
    """The views of `count` copies of a text."""
    return view([text] * count, rng_for(count))


# --- WordDelete ---------------------------------------------------------------------------------------------------


@given(texts_and_order(), RATES)
def test_deletion_of_words_keeps_the_promises_of_views(drawn, rate):
    check_text_promises(WordDelete(rate), *drawn)


@given(TEXTS, st.floats(0, 0.999), SEEDS)
@example("don't ", 0.5, 0)  # all of its words stay, since one always does
def test_the_words_that_stay_stand_in_their_order(text, rate, seed):
    words = text.split()
    [view] = WordDelete(rate)([text], rng_for(1, seed))
    left = iter(words)
    assert all(word in left for word in view.split())
    assert view in (text, " ".join(view.split()))
    assert (view == text) or len(view.split()) < len(words)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_the_share_of_words_that_are_deleted(rate):
    kept = Counter(word for view in seen(WordDelete(rate), PANGRAM.lower()) for word in view.split())
    shares = np.array([kept[word] for word in ("quick", "brown", "fox", "dog")]) / COUNT
    # One word stays where all nine would go.
    assert shares == pytest.approx(np.full(4, 1 - rate), abs=near(rate, COUNT) + rate**9 / 9)


def test_the_most_zealous_deletion_leaves_one_word_any_of_them():
    views = Counter(seen(WordDelete(0.9999), "one two three"))
    assert set(views) == {"one", "two", "three"}
    assert min(views.values()) / COUNT == pytest.approx(1 / 3, abs=near(1 / 3, COUNT))


def test_white_space_is_kept_where_no_word_goes():
    text = "  two\twords \n"
    assert set(seen(WordDelete(0.5), text)) == {text, "two", "words"}


# --- WordOrder ----------------------------------------------------------------------------------------------------


@given(texts_and_order(), DISTANCES)
def test_another_order_of_words_keeps_the_promises_of_views(drawn, distance):
    check_text_promises(WordOrder(distance), *drawn)


@given(TEXTS, DISTANCES, SEEDS)
def test_another_order_has_the_same_words(text, distance, seed):
    [view] = WordOrder(distance)([text], rng_for(1, seed))
    assert sorted(view.split()) == sorted(text.split())
    assert view in (text, " ".join(view.split()))


@pytest.mark.parametrize("distance", [1, 2, 2.5, 3])
def test_no_word_is_moved_farther_than_the_distance_and_every_move_up_to_it_comes_up(distance):
    words = [str(place) for place in range(20)]
    moves = {
        abs(int(word) - now)
        for view in seen(WordOrder(distance), " ".join(words))
        for now, word in enumerate(view.split())
    }
    assert moves == set(range(math.ceil(distance) + 1))


def test_two_words_change_places_as_often_as_the_paper_has_it():
    swapped = seen(WordOrder(3), "a  b").count("b a") / COUNT
    # 1 + 4u < 4v for two even numbers u and v: half of the square (3 / 4)².
    assert swapped == pytest.approx(9 / 32, abs=near(9 / 32, COUNT))


# --- Typos --------------------------------------------------------------------------------------------------------


@given(texts_and_order(), RATES)
@example((["a", " b ", "é", "e\u0301", "ab", "aa bb", "中", "中文", "١٢"], [3, 1]), 0.999)
def test_typos_keep_the_promises_of_views(drawn, rate):
    check_text_promises(Typos(rate), *drawn)


@given(TEXTS, st.floats(0, 0.999), SEEDS)
def test_typos_leave_everything_but_letters_where_it_was(text, rate, seed):
    [view] = Typos(rate)([text], rng_for(1, seed))
    assert [one for one in view if not one.isalnum()] == [one for one in text if not one.isalnum()]


@given(TEXTS, SEEDS)
def test_a_word_keeps_a_letter_and_at_most_doubles(text, seed):
    [view] = Typos(0.999)([text], rng_for(1, seed))
    for old, new in zip(runs_of_letters(text), runs_of_letters(view), strict=True):
        assert 1 <= len(new) <= 2 * len(old)


def runs_of_letters(text):
    """The letters and digits that stand together."""
    return "".join(one if one.isalnum() else " " for one in text).split()


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("letter", ["k", "5", "ж", "中", "ع"])
def test_the_rate_is_the_share_of_letters_that_are_mistyped(letter, rate):
    text = " ".join([letter] * 20)
    changed = [word != letter for view in seen(Typos(rate), text, 1000) for word in view.split()]
    assert np.mean(changed) == pytest.approx(rate, abs=near(rate, len(changed)))


def test_the_rate_holds_for_the_letters_of_words():
    views = seen(Typos(0.05), "importance")
    untouched = views.count("importance") / COUNT
    # A swap spares the letter behind it; it happens to every fourth of the mistakes.
    assert untouched == pytest.approx(0.95**10, abs=near(0.95**10, COUNT))


def test_all_four_mistakes_come_up_equally_often():
    word, found = "importance", Counter()
    for view in seen(Typos(0.002), word, 40_000):
        if view != word:
            found[mistake_in(word, view)] += 1
    total = sum(found.values())
    # The last letter has none behind it to be swapped with, so a tenth of the swaps are keys beside.
    shares = {"drop": 0.25, "double": 0.25, "swap": 0.225, "neighbour": 0.275}
    assert set(found) <= {*shares, "several"}
    for name, share in shares.items():
        assert found[name] / total == pytest.approx(share, abs=near(share, total) + 0.01), name


def mistake_in(word, view):
    """The one mistake that makes `view` of `word`."""
    for place, letter in enumerate(word):
        if view == word[:place] + word[place + 1 :]:
            return "drop"
        if view == word[:place] + letter + word[place:]:
            return "double"
        if view == word[:place] + word[place + 1 : place + 2] + letter + word[place + 2 :]:
            return "swap"
        if len(view) == len(word) and view[:place] + letter + view[place + 1 :] == word:
            return "neighbour"
    return "several"


@pytest.mark.parametrize(
    ("letter", "keys"), [("a", "qwsz"), ("g", "tyfhvb"), ("p", "ol"), ("q", "wa"), ("m", "njk"), ("A", "QWSZ")]
)
def test_a_key_beside_is_one_that_lies_beside_it_and_keeps_the_case(letter, keys):
    typed = Counter(seen(Typos(0.9), letter))
    assert set(typed) == {letter, letter * 2, *keys}
    assert min(typed[key] for key in keys) > 0.6 * max(typed[key] for key in keys)


def test_two_letters_that_change_places_have_had_their_mistake():
    swapped = seen(Typos(0.99), "on").count("no") / COUNT
    assert swapped == pytest.approx(0.99 / 4, abs=near(0.25, COUNT))


def test_any_one_letter_of_a_word_may_be_all_that_is_left():
    assert {"a", "b", "c"} <= set(seen(Typos(0.5), "abc"))


def test_letters_that_the_keyboard_lacks_are_doubled_swapped_or_dropped():
    assert set(seen(Typos(0.9), "ж")) == {"ж", "жж"}
    assert {"ж", "я", "яж", "жж"} <= set(seen(Typos(0.5), "жя"))
    assert all(set(view) <= set("жя") for view in seen(Typos(0.9), "жя"))


# --- LetterCase ---------------------------------------------------------------------------------------------------


@given(texts_and_order(), RATES, CASES)
def test_letter_case_keeps_the_promises_of_views(drawn, rate, cases):
    check_text_promises(LetterCase(rate, cases), *drawn)


@given(TEXTS, CASES, SEEDS)
def test_only_the_cases_that_are_asked_for_are_written(text, cases, seed):
    titled = "".join(one.upper() if place == 0 or text[place - 1].isspace() else one for place, one in enumerate(text))
    written = {"lower": text.lower(), "upper": text.upper(), "title": titled}
    [view] = LetterCase(0.999, cases)([text], rng_for(1, seed))
    assert view in {text, *(written[case] for case in cases)}


def test_the_rate_is_the_share_of_texts_and_the_cases_come_up_evenly():
    text = "the Fox's well-known den"
    written = Counter(seen(LetterCase(0.3), text))
    expected = {
        text: 0.7,
        "the fox's well-known den": 0.1,
        "THE FOX'S WELL-KNOWN DEN": 0.1,
        "The Fox's Well-known Den": 0.1,
    }
    assert set(written) == set(expected)
    for view, share in expected.items():
        assert written[view] / COUNT == pytest.approx(share, abs=near(share, COUNT)), view


@pytest.mark.parametrize(("cases", "got"), [((), r"\[\]"), (("upper", "snake"), r"\['upper', 'snake'\]")])
def test_cases_that_there_are_none_of_are_refused(cases, got):
    with pytest.raises(ConfigError, match=rf"^cases: expected some of lower, upper, title, got {got}$"):
        LetterCase(cases=cases)


# --- all four -----------------------------------------------------------------------------------------------------


@given(st.lists(TEXTS, max_size=4))
def test_without_strength_texts_stay_as_they_are(texts):
    for view in (WordDelete(0.0), WordOrder(0), Typos(0.0), LetterCase(0.0)):
        assert view(texts, rng_for(len(texts))) == texts


@pytest.mark.parametrize(
    ("view", "other"),
    [
        (WordDelete(), WordDelete(0.3)),
        (WordOrder(), WordOrder(1)),
        (Typos(), Typos(0.1)),
        (LetterCase(), LetterCase(0.1)),
        (LetterCase(), LetterCase(cases=("upper",))),
    ],
)
def test_every_option_of_views_of_words_matters(view, other):
    assert seen(view, PANGRAM, 50) != seen(other, PANGRAM, 50)


@pytest.mark.parametrize("view", [WordDelete(0.5), WordOrder(), Typos(0.5), LetterCase()])
def test_two_views_of_one_text_differ(view):
    texts, rng = [PANGRAM] * 20, rng_for(20)
    assert view(texts, rng.named("first")) != view(texts, rng.named("second"))


@pytest.mark.parametrize("make", [WordDelete, WordOrder, Typos, LetterCase])
def test_a_strength_that_moves_is_at_every_moment_that_moments_strength(make):
    check_ramp(make, [PANGRAM] * 50)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *(
            (lambda make=make, rate=rate: make(rate), rf"^rate: expected a chance in \[0, 1\), got {got}$")
            for make in (WordDelete, Typos, LetterCase)
            for rate, got in [(1.0, "1.0"), (-0.1, "-0.1"), (math.nan, "nan"), (Ramp(0.1, 1.5), "'0.1 to 1.5'")]
        ),
        (lambda: WordOrder(-1), "^distance: expected a number of at least 0, got -1$"),
        (lambda: WordOrder(math.inf), "^distance: expected a number of at least 0, got inf$"),
        (lambda: WordOrder(Ramp(3, -1)), "^distance: expected a number of at least 0, got '3 to -1'$"),
    ],
)
def test_strengths_outside_their_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
