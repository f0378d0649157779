from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcl.corpus.leaks import leaking_rows, text_blocks
from textcl.corpus.readers import read_records
from textcl.errors import DataError


def count_leaks(training, evaluated):
    return len(leaking_rows(training, evaluated))


def test_rows_with_a_text_of_the_evaluation_are_counted_once_each():
    anchors = ["a query", "another", "both", "clean"]
    positives = ["an answer", "judged", "judged", "free"]
    assert count_leaks([[anchors, positives]], ["a query", "judged", "both"]) == 3


def test_one_side_is_enough_of_a_row():
    assert count_leaks([[["a", "b", "a"]]], ["a"]) == 2


@pytest.mark.parametrize("text", ["What is HONEY?", "  what\tis\n honey? ", "what is honey?", "WHAT IS HONEY?"])
def test_case_and_white_space_do_not_hide_a_leak(text):
    assert count_leaks([[["What is honey?"]]], [text]) == 1


@pytest.mark.parametrize("text", ["what is honey", "what ishoney?", "what is the honey?"])
def test_another_text_is_no_leak(text):
    assert count_leaks([[["what is honey?"]]], [text]) == 0


def test_case_is_folded_beyond_ascii():
    assert count_leaks([[["STRASSE"]]], ["straße"]) == 1


WORDS = st.lists(st.sampled_from(["a", "A", "b", " a", "a b", "A  B", ""]), max_size=6)


@given(WORDS, WORDS)
def test_the_count_equals_loops(training, evaluated):
    plain = [" ".join(text.lower().split()) for text in evaluated]
    expected = 0
    for text in training:
        expected += bool(text.split()) and " ".join(text.lower().split()) in plain
    assert count_leaks([[training]], evaluated) == expected


def test_an_empty_text_is_no_leak():
    assert count_leaks([[["a", "", " "]]], ["q", "", "  "]) == 0


def test_a_file_without_texts_is_refused(tmp_path):
    (tmp_path / "numbers.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match="has no column of texts"):
        list(text_blocks(read_records(tmp_path / "numbers.jsonl")))


def test_texts_of_both_of_arrows_kinds_count(tmp_path):
    table = pa.table({"one": pa.array(["x", "y"], pa.large_string()), "two": pa.array(["p", None], pa.string())})
    pq.write_table(table, tmp_path / "t.parquet")
    assert list(text_blocks(read_records(tmp_path / "t.parquet"))) == [[["x", "y"], ["p", ""]]]
