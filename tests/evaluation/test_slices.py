from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcl.errors import ConfigError
from textcl.evaluation.intervals import mean_interval
from textcl.evaluation.retrieval import evaluate_run
from textcl.evaluation.slices import by_field, by_length, by_positives, slice_result

QRELS = {f"q{number}": {"right": 1} for number in range(12)}
RUN = {f"q{number}": [("right", 1.0)] if number % 3 else [("wrong", 1.0)] for number in range(12)}


def test_each_slice_has_mean_interval_and_count_of_its_own_queries():
    result = evaluate_run(RUN, QRELS, ["mrr", "recall@1"], resamples=50)
    labels = {f"q{number}": "some" if number < 5 else "others" for number in range(12)} | {"not judged": "some"}
    slices = slice_result(result, "kind", labels, seed=3, resamples=60)
    assert [(one.by, one.value) for one in slices] == [("kind", "some"), ("kind", "others")]
    values = [0.0 if number % 3 == 0 else 1.0 for number in range(12)]
    assert slices[0].measures["mrr"] == mean_interval(values[:5], seed=3, resamples=60)
    assert slices[1].measures["recall@1"] == mean_interval(values[5:], seed=3, resamples=60)
    assert json.loads(json.dumps(slices[0].to_json()))["measures"]["mrr"]["queries"] == 5


def test_a_label_without_a_judged_query_is_no_slice():
    result = evaluate_run(RUN, QRELS, ["mrr"], resamples=20)
    assert slice_result(result, "kind", {"not judged": "none"}) == []


def test_queries_are_cut_into_thirds_by_their_words():
    texts = {f"q{words}": "word " * words for words in (9, 1, 2, 3, 4, 5, 6, 7, 8)}
    labels = by_length(texts)
    assert list(dict.fromkeys(labels.values())) == ["1 to 3 words", "4 to 6 words", "7 to 9 words"]
    assert (labels["q3"], labels["q4"], labels["q9"]) == ("1 to 3 words", "4 to 6 words", "7 to 9 words")


@given(st.lists(st.integers(1, 12), min_size=1, max_size=30))
def test_queries_of_one_length_are_in_one_slice_and_slices_do_not_overlap(lengths):
    labels = by_length({str(place): "w " * words for place, words in enumerate(lengths)})
    assert sorted(labels) == sorted(map(str, range(len(lengths))))
    of_label = {}
    for place, words in enumerate(lengths):
        of_label.setdefault(labels[str(place)], set()).add(words)
    assert 1 <= len(of_label) <= 3
    spans = sorted((min(own), max(own)) for own in of_label.values())
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))


def test_queries_are_told_apart_by_their_positives():
    counts = {"a": 2, "b": 0, "c": 1, "d": 3, "e": 10, "f": 11, "g": 4}
    qrels = {name: {f"d{number}": 2 for number in range(count)} | {"no": 0} for name, count in counts.items()}
    labels = by_positives(qrels)
    assert labels == {
        "b": "0",
        "c": "1",
        "a": "2 to 3",
        "d": "2 to 3",
        "g": "4 to 10",
        "e": "4 to 10",
        "f": "11 or more",
    }
    assert list(dict.fromkeys(labels.values())) == ["0", "1", "2 to 3", "4 to 10", "11 or more"]


def test_values_of_a_field_come_most_frequent_first():
    labels = by_field({"a": "x", "b": "y", "c": "y", "d": None}, "topic")
    assert labels == {"a": "x", "b": "y", "c": "y", "d": "none"}
    assert next(iter(labels.values())) == "y"


def test_many_numbers_become_thirds_and_few_do_not():
    assert set(by_field({str(year): year for year in range(1990, 2020)}, "year").values()) == {
        "1990 to 1999", "2000 to 2009", "2010 to 2019",
    }  # fmt: skip
    assert len(set(by_field({str(place): place % 10 for place in range(40)}, "grade").values())) == 10
    assert len(set(by_field({str(place): str(place) for place in range(40)}, "grade").values())) == 3


def test_a_field_of_too_many_values_is_refused():
    problem = r"^slices: 'author' has 51 different values; a field has at most 50, or numbers$"
    with pytest.raises(ConfigError, match=problem):
        by_field({str(place): f"name {place}" for place in range(51)}, "author")
    assert len(set(by_field({str(place): f"name {place}" for place in range(50)}, "author").values())) == 50


def test_numbers_are_shown_short():
    labels = by_field({str(place): value for place, value in enumerate(np.linspace(0, 1, 12))}, "share")
    assert next(iter(labels.values())) == "0 to 0.272727"


def test_thirds_of_large_numbers_have_names_of_their_own():
    found = by_field({f"q{i}": 1_700_000_000 + i for i in range(30)}, "time")
    assert list(dict.fromkeys(found.values())) == [
        "1700000000 to 1700000009", "1700000010 to 1700000019", "1700000020 to 1700000029"
    ]  # fmt: skip
