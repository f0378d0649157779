from __future__ import annotations

import datetime
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textcl.corpus.documents import open_texts, read_texts
from textcl.errors import DataError


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("column", [None, "text"])
@pytest.mark.parametrize("beir", [True, False])
def test_a_stream_has_the_ids_and_texts_that_reading_has(tmp_path, column, beir):
    rows = [{"_id": f"d{place}", "title": f"t{place}", "text": f"body {place}"} for place in range(25)]
    file = written(tmp_path / "corpus.jsonl", rows)
    source = tmp_path if beir else file
    read, stream = read_texts(source, column=column, limit=23), open_texts(source, column=column, limit=23)
    assert (len(stream), list(stream.ids()), list(stream.texts())) == (23, read.ids, read.texts)
    assert [len(texts) for _ids, texts in stream.blocks(10)] == [10, 10, 3]
    assert [name for ids, _texts in stream.blocks(10) for name in ids] == read.ids


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"_id": "1", "text": "x"}, ":4: duplicate id '1', first on line 2; make the ids unique"),
        ({"_id": "", "text": "x"}, ":4: no value in column '_id'; every row needs an id"),
        ({"_id": "9", "text": " "}, ":4: no text in column 'text'; fill it or remove the row"),
    ],
)
def test_a_row_at_fault_is_found_when_the_stream_is_opened(tmp_path, row, problem):
    file = written(tmp_path / "a.jsonl", [*({"_id": str(place), "text": "x"} for place in range(3)), row])
    for read in (open_texts, read_texts):
        with pytest.raises(DataError) as fault:
            read(file)
        assert str(fault.value) == f"{file}{problem}"


def test_a_folder_that_is_no_collection_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"is a folder without corpus\.jsonl"):
        open_texts(tmp_path)


ROWS = [
    {"_id": "1", "text": "a", "year": 1999, "open": True, "share": 0.5, "by": "Ann", "metadata": {"url": "x", "n": 1}},
    {"_id": "2", "text": "b", "year": None, "open": False, "share": 2, "by": "", "metadata": {"url": "y"}},
    {"_id": "3", "text": "c"},
]
KNOWN = [
    {"year": 1999, "open": True, "share": 0.5, "by": "Ann", "metadata.url": "x", "metadata.n": 1},
    {"year": None, "open": False, "share": 2.0, "by": "", "metadata.url": "y", "metadata.n": None},
    {"year": None, "open": None, "share": None, "by": None, "metadata.url": None, "metadata.n": None},
]
FIELDS = ["year", "open", "share", "by", "metadata.url", "metadata.n"]


def typed(rows):
    return [{name: (type(value), value) for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("beir", [True, False])
def test_fields_come_along_with_their_types_row_by_row(tmp_path, beir):
    file = written(tmp_path / "corpus.jsonl", ROWS)
    source = tmp_path if beir else file
    read, stream = read_texts(source, fields=FIELDS), open_texts(source, fields=FIELDS)
    assert typed(read.metadata) == typed(stream.metadata()) == typed(KNOWN)
    assert (read.ids, read.texts) == (["1", "2", "3"], ["a", "b", "c"])
    assert read_texts(source, fields=["by"], limit=1).metadata == [{"by": "Ann"}]


def test_without_fields_there_is_no_metadata_and_none_is_read(tmp_path):
    file = written(tmp_path / "a.jsonl", [{"text": "a", "tags": ["x"]}, {"text": "b"}])
    assert read_texts(file).metadata is None
    assert read_texts(file, fields=[]).metadata == [{}, {}]
    assert list(open_texts(file).metadata()) == [{}, {}]


def test_values_of_csv_are_strings_and_those_of_parquet_what_it_declares(tmp_path):
    (tmp_path / "a.csv").write_text("text,year\na,1999\nb,\n")
    assert read_texts(tmp_path / "a.csv", fields=["year"]).metadata == [{"year": "1999"}, {"year": ""}]
    columns = {"text": ["a", "b"], "n": pa.array([7, None], pa.int16()), "of": [{"k": 1}, None]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = read_texts(tmp_path / "a.parquet", fields=["n", "of.k"]).metadata
    assert found == [{"n": 7, "of.k": 1}, {"n": None, "of.k": None}]


def test_a_column_with_a_dot_in_its_name_is_a_column(tmp_path):
    file = written(tmp_path / "a.jsonl", [{"text": "a", "m.k": 1, "m": {"k": 2}}])
    assert read_texts(file, fields=["m.k"]).metadata == [{"m.k": 1}]


def test_a_column_of_several_types_is_one_of_strings(tmp_path):
    file = written(tmp_path / "a.jsonl", [{"text": "a", "k": 1}, {"text": "b", "k": "x"}])
    assert read_texts(file, fields=["k"]).metadata == [{"k": "1"}, {"k": "x"}]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (["yaer"], ": no column 'yaer'; did you mean year? there are: text, year, tags, share, of, id"),
        (["year", "of.ulr"], ": no key 'ulr' in column 'of'; did you mean url? there are: key, url"),
        (["tags"], ":2: column 'tags' holds a value of type list here; expected a text, a number, true, false or null"),
        (
            ["of"],
            ":1: column 'of' holds a value of type object here; expected a text, a number, true, false or null; "
            "name one of its keys as of.KEY",
        ),
        (["share"], ":3: field 'share' is nan here; expected a finite number, or null for none"),
        (
            ["year.k"],
            ":1: column 'year' holds a value of type number here; expected objects, of which 'year.k' is a key",
        ),
        (
            ["of.key"],
            ":3: field 'of.key' holds a value of type list here; expected a text, a number, true, false or null",
        ),
    ],
)
def test_a_field_at_fault_is_named_with_its_row(tmp_path, fields, problem):
    rows = [
        {"text": "a", "year": 1, "tags": None, "share": 0.5, "of": {"url": "x"}, "id": 1},
        {"text": "b", "year": 2, "tags": ["x"], "share": 0.5, "of": {"key": "x"}, "id": 2},
        {"text": "c", "year": 3, "tags": "x", "share": math.nan, "of": {"key": [1]}, "id": 3},
    ]
    file = written(tmp_path / "a.jsonl", rows)
    for read in (open_texts, read_texts):
        with pytest.raises(DataError) as fault:
            read(file, fields=fields)
        assert str(fault.value) == f"{file}{problem}"


@pytest.mark.parametrize("values", [[datetime.date(2024, 1, 2)], [b"raw"], [[1, 2]], [{"k": 1}]])
def test_a_type_that_json_does_not_have_is_refused_in_parquet(tmp_path, values):
    pq.write_table(pa.table({"text": ["a", "b"], "odd": [None, *values]}), tmp_path / "a.parquet")
    kind = type(values[0]).__name__
    with pytest.raises(
        DataError, match=rf"a\.parquet:2: field 'odd' holds a value of type {kind} here; expected a text"
    ):
        read_texts(tmp_path / "a.parquet", fields=["odd"])
    if kind != "dict":
        with pytest.raises(
            DataError, match=rf"a\.parquet:2: column 'odd' holds a value of type {kind} here; expected ob"
        ):
            read_texts(tmp_path / "a.parquet", fields=["odd.k"])


def test_a_column_of_texts_has_no_keys_in_parquet(tmp_path):
    pq.write_table(pa.table({"text": ["a"], "of": ['{"k": 1}']}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet:1: column 'of' holds a value of type str here; expected objects"):
        read_texts(tmp_path / "a.parquet", fields=["of.k"])
