from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.views.checks import TEXTS, check_text_promises, near, rng_for, texts_and_order
from textcl.errors import ConfigError
from textcl.views import Keywords

COUNT = 4000
CORPUS = [
    "The river rises in the hills.",
    "The mill stands by the river, the old mill.",
    "The miller's bees",
    "the well-known BEES of the hills",
]
TEXT = "The bees of the mill by the river"


def seen(view, text, count=COUNT):
    """The queries for `count` copies of a text."""
    return view([text] * count, rng_for(count))


def words_in(queries):
    """How often each word stands in the queries."""
    return Counter(word for query in queries for word in query.split())


@given(texts_and_order(), st.integers(1, 3), st.integers(0, 4), st.sampled_from([0.0, 1.0, 4.0]), st.booleans())
def test_keywords_keep_the_promises_of_views(drawn, min_words, more, sharpness, fitted):
    view = Keywords(min_words, min_words + more, sharpness)
    check_text_promises(view.fit(drawn[0]) if fitted else view, *drawn)


def test_fit_counts_the_texts_that_hold_a_word_and_not_the_words():
    view = Keywords(1, 3, 2.0).fit(CORPUS)
    assert view.texts == 4
    assert view.counts == {
        **{"the": 4, "river": 2, "bees": 2, "hills": 2},
        **dict.fromkeys(["rises", "in", "mill", "stands", "by", "old", "miller's", "well-known", "of"], 1),
    }
    assert (view.min_words, view.max_words, view.sharpness) == (1, 3, 2.0)


def test_fit_tells_how_many_texts_it_has_counted():
    told = []

    class Told:
        def __init__(self, name, total):
            told.append((name, total))

        def __enter__(self):
            return told.append

        def __exit__(self, *error):
            return None

    Keywords().fit(iter(CORPUS), progress=Told, total=4)
    assert told == [("count words", 4), 1, 1, 1, 1]


def test_rare_words_are_taken_more_often_than_words_of_every_text():
    taken = words_in(seen(Keywords(2, 2).fit(CORPUS), TEXT))
    rare, common = min(taken[word] for word in ("of", "mill", "by")), taken["the"]
    assert rare > 2 * max(taken["bees"], taken["river"])
    assert min(taken["bees"], taken["river"]) > 2 * common


def test_one_word_is_drawn_by_its_weight():
    view = Keywords(1, 1, 2.0).fit(CORPUS)
    taken = words_in(seen(view, TEXT))
    weights = {
        "the": (1 + math.log(3)) * math.log(5 / 4),
        "bees": math.log(5 / 2),
        "river": math.log(5 / 2),
        **dict.fromkeys(["of", "mill", "by"], math.log(5)),
    }
    total = sum(weight**2 for weight in weights.values())
    for word, weight in weights.items():
        share = weight**2 / total
        assert taken[word] / COUNT == pytest.approx(share, abs=near(share, COUNT)), word


def test_a_word_that_the_corpus_lacks_counts_as_rare():
    taken = words_in(seen(Keywords(1, 1).fit(CORPUS), "mill copper"))
    assert taken["copper"] / COUNT == pytest.approx(0.5, abs=near(0.5, COUNT))


def test_a_word_said_often_is_taken_more_often_also_without_a_corpus():
    taken = words_in(seen(Keywords(1, 1, 1.0), "tin tin tin copper"))
    share = (1 + math.log(3)) / (2 + math.log(3))
    assert taken["tin"] / COUNT == pytest.approx(share, abs=near(share, COUNT))


def test_without_sharpness_all_words_are_taken_evenly():
    taken = words_in(seen(Keywords(2, 2, sharpness=0).fit(CORPUS), TEXT))
    shares = np.array([taken[word] for word in ("the", "bees", "of", "mill", "by", "river")]) / COUNT
    assert shares == pytest.approx(np.full(6, 1 / 3), abs=near(1 / 3, COUNT))


@pytest.mark.parametrize("sharpness", [40.0, 1000.0, 1e6])
def test_the_sharpest_draw_takes_the_rarest_words_and_no_number_overflows(sharpness):
    corpus = [f"common{' half' * (place % 2)} word{place}" for place in range(2000)]
    view = Keywords(2, 2, sharpness).fit(corpus)
    assert set(seen(view, "common half word1", 200)) == {"half word1"}
    assert set(seen(view, "word1 word1 word2 word2 word3", 200)) == {"word1 word2"}


@pytest.mark.parametrize(("min_words", "max_words"), [(1, 1), (2, 4), (3, 6)])
def test_every_number_of_words_within_the_bounds_is_as_likely(min_words, max_words):
    numbers = Counter(len(query.split()) for query in seen(Keywords(min_words, max_words), TEXT))
    assert set(numbers) == set(range(min_words, max_words + 1))
    share = 1 / len(numbers)
    for count in numbers.values():
        assert count / COUNT == pytest.approx(share, abs=near(share, COUNT))


@given(TEXTS, st.integers(1, 8), st.integers(0, 100))
@example("Bees, bees and BEES of the Well-Known fox's den", 3, 0)
def test_a_query_has_words_of_its_text_each_once_in_small_letters_and_in_their_order(text, number, seed):
    [query] = Keywords(number, number)([text], rng_for(1, seed))
    [all_of_them] = Keywords(10**6, 10**6)([text], rng_for(1, seed))
    left, words = iter(all_of_them.split()), query.split()
    if words:
        assert all(word in left for word in words)
        assert len(words) == min(number, len(all_of_them.split()))


def test_a_text_with_fewer_words_than_are_asked_for_gives_all_it_has():
    assert seen(Keywords(4, 6), "The Fox's, the fox's: DEN!", 3) == ["the fox's den"] * 3


@pytest.mark.parametrize("text", ["", "  ", "?!", "👩‍👩‍👧 …", "\u0301"])
def test_a_text_without_words_stays_as_it_is(text):
    for view in (Keywords(), Keywords().fit([text])):
        assert view([text], rng_for(1)) == [text]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Don\u2019t stop the fox's well-known, e-mail-like 'den'.",
            "don\u2019t stop the fox's well-known e-mail-like den",
        ),
        ("हिन्दी भाषा।", "हिन्दी भाषा"),
        ("مَرْحَبًا، می‌خواهم", "مَرْحَبًا می‌خواهم"),
        ("cafe\u0301s, ภาษาไทยดี", "cafe\u0301s ภาษาไทยดี"),
        ("東京、京都", "東京 京都"),
        ("x_1 = 3,5", "x_1 3 5"),
    ],
)
def test_words_are_letters_and_digits_with_their_marks_in_any_script(text, words):
    assert Keywords(99, 99)([text], rng_for(1)) == [words]


def test_an_empty_corpus_and_none_at_all_are_the_same():
    assert seen(Keywords().fit([]), TEXT, 50) == seen(Keywords(), TEXT, 50)


@pytest.mark.parametrize("options", [{"min_words": 4}, {"max_words": 3}, {"sharpness": 0.5}])
def test_every_option_of_keywords_matters(options):
    assert seen(Keywords(**options).fit(CORPUS), TEXT, 50) != seen(Keywords().fit(CORPUS), TEXT, 50)


def test_the_corpus_matters_and_epochs_ask_differently():
    view = Keywords().fit(CORPUS)
    assert seen(view, TEXT, 50) != seen(Keywords(), TEXT, 50)
    assert view([TEXT] * 50, rng_for(50, seed=0)) != view([TEXT] * 50, rng_for(50, seed=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_words": 0}, "^min_words: expected a number of words, at least 1, got 0$"),
        ({"min_words": 5, "max_words": 4}, "^max_words: expected a number of words, at least 5, got 4$"),
        ({"sharpness": -0.1}, "^sharpness: expected a number of at least 0, got -0.1$"),
        ({"sharpness": math.inf}, "^sharpness: expected a number of at least 0, got inf$"),
        ({"sharpness": math.nan}, "^sharpness: expected a number of at least 0, got nan$"),
    ],
)
def test_options_outside_their_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Keywords(**options)
