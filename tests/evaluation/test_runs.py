from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textcl.errors import ConfigError, DataError
from textcl.evaluation.ranking import canonical_ranking
from textcl.evaluation.runs import read_run, write_run

IDS = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=4)
SCORES = st.floats(allow_nan=False, width=32)


@settings(deadline=None, max_examples=80)
@given(st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=5), min_size=1, max_size=3))
def test_a_run_reads_back_to_the_same_bits(tmp_path_factory, scored):
    path = tmp_path_factory.mktemp("runs") / "some.trec"
    run = {query_id: canonical_ranking(of.items(), query_id) for query_id, of in scored.items()}
    write_run(path, run)
    assert read_run(path) == run


def test_a_run_file_has_the_six_trec_fields_in_canonical_order(tmp_path):
    write_run(tmp_path / "r.trec", {"q1": [("a", 0.5), ("c", 0.5), ("b", float(np.float32(0.1)))]}, tag="base")
    assert (tmp_path / "r.trec").read_text() == ("q1 Q0 c 1 0.5 base\nq1 Q0 a 2 0.5 base\nq1 Q0 b 3 0.100000001 base\n")


def test_the_rank_column_and_the_order_of_lines_decide_nothing(tmp_path):
    (tmp_path / "r.trec").write_text("q Q0 a 1 0.1 t\n\nq Q0 b 9 0.9 t\n")
    assert [doc_id for doc_id, _score in read_run(tmp_path / "r.trec")["q"]] == ["b", "a"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"q Q0 a 1 0.5", "expected six fields .*, got 5"),
        (b"q Q0 a 1 high t", "score: expected a number, got 'high'"),
        (b"q Q0 a 1 nan t", "score: expected a number, got NaN"),
        (b"q Q0 \xff 1 0.5 t", "byte 6 is not UTF-8"),
        (b"q Q0 first 2 0.5 t", "query 'q' ranks document 'first' again"),
    ],
)
def test_a_faulty_line_is_named_by_file_and_number(tmp_path, line, problem):
    path = tmp_path / "r.trec"
    path.write_bytes(b"q Q0 first 1 0.9 t\n" + line + b"\n")
    with pytest.raises(DataError, match=rf"r\.trec:2: {problem}") as caught:
        read_run(path)
    assert caught.value.line == 2


def test_a_missing_or_empty_run_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such run file"):
        read_run(tmp_path / "none.trec")
    (tmp_path / "empty.trec").write_text("\n")
    with pytest.raises(DataError, match="holds no ranking"):
        read_run(tmp_path / "empty.trec")


@pytest.mark.parametrize("run", [{"q 1": [("d", 1.0)]}, {"q": [("d\t1", 1.0)]}, {"q": [("", 1.0)]}])
def test_an_id_that_the_format_cannot_hold_is_refused_and_nothing_is_written(tmp_path, run):
    with pytest.raises(DataError, match="is empty or has white space"):
        write_run(tmp_path / "r.trec", run)
    assert list(tmp_path.iterdir()) == []


def test_a_tag_with_white_space_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"^tag: expected a word without white space, got 'my run'"):
        write_run(tmp_path / "r.trec", {"q": [("d", 1.0)]}, tag="my run")


def test_a_byte_order_mark_is_no_part_of_the_first_query(tmp_path):
    (tmp_path / "a.trec").write_text("\ufeffq1 Q0 a 1 2 t\nq1 Q0 b 2 1 t\n", encoding="utf-8")
    assert read_run(tmp_path / "a.trec") == {"q1": [("a", 2.0), ("b", 1.0)]}
