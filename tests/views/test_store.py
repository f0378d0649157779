from __future__ import annotations

import sqlite3
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textcl.errors import ArtifactError
from textcl.randomness import RowRandom
from textcl.views.store import FILE, Stored, ViewStore, build_views, differences, judge_views

FACTS = {"view": "double", "model": {"weights": "abc"}, "variants": 2}


class Doubler:
    """A rewriter of two variants a text, none for a text that ends in `!`; it counts what it is asked."""

    facts = FACTS
    notes = ()

    def __init__(self, stop_after=None):
        self.asked = Counter()
        self.stop_after = stop_after

    def rewrite(self, texts):
        if self.stop_after is not None and self.asked.total() >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.update(texts)
        return [[] if text.endswith("!") else [text * 2, text.upper()] for text in texts]

    def close(self):
        pass


@pytest.fixture
def store(tmp_path):
    return ViewStore(tmp_path / "store")


@settings(max_examples=30)
@given(texts=st.lists(st.text(max_size=5), max_size=8))
def test_what_is_stored_is_read_back_as_it_was(tmp_path_factory, texts):
    store = ViewStore(tmp_path_factory.mktemp("store"))
    made = build_views(store, Doubler(), texts)
    assert store.read(FACTS, texts) == Doubler().rewrite(texts)
    assert store.missing(FACTS, texts) == []
    empty = {text for text in texts if text.endswith("!")}
    assert (made.texts, made.written, made.empty) == (len(set(texts)), len(set(texts)), len(empty))


def test_texts_that_come_back_as_they_were_are_counted(store):
    assert build_views(store, Doubler(), ["A", "b", "CC", "", "d!"]).unchanged == 3  # upper case, and the empty text


def test_a_second_build_asks_for_nothing_and_new_texts_alone_are_written(store):
    build_views(store, Doubler(), ["a", "b!", "a"])
    again = Doubler()
    assert build_views(store, again, ["a", "b!", "c"]).written == 1
    assert again.asked == {"c": 1}


def test_a_build_that_was_stopped_goes_on_where_it_was(store):
    texts = [f"text {number}" for number in range(1000)]
    first, second = Doubler(stop_after=500), Doubler()
    with pytest.raises(KeyboardInterrupt):
        build_views(store, first, texts)
    kept = 1000 - len(store.missing(FACTS, texts))
    assert 0 < kept == first.asked.total() < 1000
    build_views(store, second, texts)
    assert first.asked + second.asked == Counter(texts)
    assert store.read(FACTS, texts) == Doubler().rewrite(texts)


def test_a_batch_is_kept_whole_or_not_at_all(store):
    store.add(FACTS, ["old"], [["view"]])
    with pytest.raises(ArtifactError, match=r"NOT NULL"):
        store.add(FACTS, ["one", "two"], [["fine"], ["fine", None]])
    assert store.missing(FACTS, ["old", "one", "two"]) == ["one", "two"]
    assert store.read(FACTS, ["old", "one", "two"]) == [["view"], [], []]


def test_the_first_of_two_writers_is_the_one_that_counts(store):
    store.add(FACTS, ["a"], [["first", "one"]])
    store.add(FACTS, ["a", "b"], [["second", "more", "three"], ["b"]])
    assert store.read(FACTS, ["a", "b"]) == [["first", "one"], ["b"]]


@pytest.mark.parametrize(
    "other", [{**FACTS, "variants": 3}, {**FACTS, "model": {"weights": "abd"}}, {**FACTS, "more": None}]
)
def test_other_settings_and_other_weights_are_other_views(store, other):
    store.add(FACTS, ["a"], [["of the first"]])
    assert store.missing(other, ["a"]) == ["a"]
    assert store.read(other, ["a"]) == [[]]
    store.add(other, ["a"], [["of the other"]])
    assert (store.read(FACTS, ["a"]), store.read(other, ["a"])) == ([["of the first"]], [["of the other"]])
    assert store.makers() == [FACTS, other]


def test_the_order_of_the_settings_does_not_matter(store):
    store.add(FACTS, ["a"], [["view"]])
    assert store.missing(dict(reversed(FACTS.items())), ["a"]) == []


def test_differences_name_the_settings_of_the_nearest_maker():
    far = {"view": "double", "model": {"weights": "x"}, "variants": 9}
    near = {**FACTS, "variants": 4}
    assert differences(FACTS, [far, near]) == ["variants was 4, is 2"]
    assert differences(FACTS, [{**FACTS, "model": {"weights": "abd"}}]) == ["model.weights was abd, is abc"]
    assert differences(FACTS, []) == []


def embed_by_length(texts):
    """Unit vectors at an angle of a tenth of the text's length."""
    angles = np.array([len(text) / 10 for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_every_variant_is_judged_once_for_each_judge(store):
    texts = [f"{'x' * (number % 7)}{number}" for number in range(1300)] + ["none!"]
    build_views(store, Doubler(), texts)
    calls = []

    def embed(asked):
        calls.append(len(asked))
        return embed_by_length(asked)

    judge_views(store, FACTS, texts, "judge", embed)
    found = store.cosines(FACTS, "judge", texts)
    for text, cosines in zip(texts, found, strict=True):
        expected = [] if text.endswith("!") else [np.cos(len(text) / 10), 1.0]
        assert cosines == pytest.approx(expected, abs=1e-6)
    assert sum(calls) == 3 * 1300
    judge_views(store, FACTS, texts, "judge", embed)
    assert sum(calls) == 3 * 1300
    assert store.cosines(FACTS, "another", texts[:2]) == [[], []]
    judge_views(store, FACTS, texts[:2], "another", embed)
    assert store.cosines(FACTS, "another", texts[:2]) == found[:2]


def test_a_store_that_does_not_exist_is_empty_and_is_not_made_by_reading(store):
    assert store.missing(FACTS, ["a", "b", "a"]) == ["a", "b"]
    assert store.read(FACTS, ["a"]) == [[]]
    assert store.makers() == []
    assert not store.path.exists()


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be looked at" * 20, b"SQLite format 3\0" * 40]
)
def test_a_damaged_store_is_named_with_what_to_do(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(
        ArtifactError, match=rf"^{tmp_path / FILE}: cannot be used as a store of views .* build the views"
    ):
        ViewStore(tmp_path).missing(FACTS, ["a"])


def test_a_store_that_another_process_holds_is_not_called_damaged(store, monkeypatch):
    store.add(FACTS, ["a"], [["view"]])
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *words, **more: connect(*words, **{**more, "timeout": 0.1}))
    holder = connect(store.path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(ArtifactError, match=r"cannot be used now \(database is locked\); what it holds stays$"):
            store.read(FACTS, ["a"])
    finally:
        holder.close()
    assert store.read(FACTS, ["a"]) == [["view"]]


def test_a_place_where_no_store_can_be_is_named_before_anything_is_written(tmp_path):
    (tmp_path / "file").write_text("")
    asked = Doubler()
    with pytest.raises(ArtifactError, match=r"file: cannot be the folder of a store: File exists$"):
        build_views(ViewStore(tmp_path / "file"), asked, ["a"])
    (tmp_path / "other" / FILE).mkdir(parents=True)
    with pytest.raises(ArtifactError, match=r"cannot be opened as a store of views"):
        build_views(ViewStore(tmp_path / "other"), asked, ["a"])
    assert not asked.asked


def test_a_store_of_another_version_is_refused_by_name(store):
    store.add(FACTS, ["a"], [["view"]])
    with sqlite3.connect(store.path) as base:
        base.execute("PRAGMA user_version = 9")
    base.close()
    with pytest.raises(ArtifactError, match=r"has format version 9, this textcl reads 1"):
        store.read(FACTS, ["a"])


def test_stored_views_are_drawn_evenly_and_a_text_without_any_stays():
    counts = np.array([3, 0, 1])
    view = Stored(np.array([3, 6, 6]), counts)
    rows = np.array([0, 1, 2])
    drawn = [view(rows, RowRandom((seed, "view"), rows)).tolist() for seed in range(3000)]
    first = Counter(row[0] for row in drawn)
    assert set(first) == {3, 4, 5}
    assert min(first.values()) > 850
    assert {(row[1], row[2]) for row in drawn} == {(1, 6)}


def test_which_variant_is_drawn_is_a_function_of_the_row_alone():
    view = Stored(np.arange(50) * 4 + 50, np.full(50, 4))
    rows = np.arange(50)
    whole = view(rows, RowRandom((1, "view"), rows))
    some = np.array([7, 3, 40])
    assert view(some, RowRandom((1, "view"), some)).tolist() == whole[some].tolist()
    assert view(rows, RowRandom((2, "view"), rows)).tolist() != whole.tolist()
