from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textcl.corpus import arrow_file
from textcl.corpus.readers import Records, column_texts, ids, pick_column, read_records
from textcl.errors import ConfigError, DataError


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def read(tmp_path, cache):
    """Write `content` as the file `name` and read it."""

    def write_and_read(name: str, content: str | bytes, **options) -> Records:
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") and not data.startswith(b"\x1f\x8b") else data)
        return read_records(path, cache=cache, **options)

    return write_and_read


def rows_of(records: Records) -> list[dict]:
    return list(records.dataset)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "A.TXT"])
def test_a_text_file_gives_a_row_a_line_without_the_blank_ones(read, name):
    records = read(name, "one\n\n  two \r\n \t\nthree")
    assert rows_of(records) == [{"text": "one"}, {"text": "  two "}, {"text": "three"}]
    assert records.lines.tolist() == [1, 3, 5]
    assert records.lines.dtype == np.int64
    assert records.blank_lines == 2


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv_has_standard_quoting_and_rows_start_where_the_first_of_their_lines_is(read, name):
    records = read(name, 'id,text\n1,"a, ""quoted""\ntext"\n\n2,b\n')
    assert rows_of(records) == [{"id": "1", "text": 'a, "quoted"\ntext'}, {"id": "2", "text": "b"}]
    assert records.lines.tolist() == [2, 5]
    assert records.blank_lines == 1


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_tsv_takes_quotes_as_they_stand(read, name):
    records = read(name, 'id\ttext\r\n1\t"open, and\r\n2\t""\r\n')
    assert rows_of(records) == [{"id": "1", "text": '"open, and'}, {"id": "2", "text": '""'}]
    assert records.lines.tolist() == [2, 3]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_jsonl_keeps_scalars_fills_missing_columns_and_keeps_nested_values_as_json(read, name):
    first = {"text": "é", "count": 3, "share": 0.5, "good": True, "more": {"k": ["v", 1]}}
    records = read(name, json.dumps(first) + "\n\n" + json.dumps({"text": None, "late": "x", "share": 2}) + "\n")
    assert rows_of(records) == [
        {"text": "é", "count": 3, "share": 0.5, "good": True, "more": '{"k": ["v", 1]}', "late": None},
        {"text": None, "count": None, "share": 2.0, "good": None, "more": None, "late": "x"},
    ]
    assert records.lines.tolist() == [1, 3]


def test_a_json_column_of_several_types_is_one_of_strings(read):
    values = ["a", 3, True, None, 1.5]
    records = read("a.jsonl", "".join(json.dumps({"mixed": value}) + "\n" for value in values))
    assert records.dataset["mixed"][:] == ["a", "3", "true", None, "1.5"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2**63 - 1, -(2**63)], [2**63 - 1, -(2**63)]),
        ([2**63, 1], [str(2**63), "1"]),
        ([2**53 + 1, 0.5], [str(2**53 + 1), "0.5"]),
        ([True, 1], ["true", "1"]),
    ],
)
def test_no_json_number_loses_a_digit(read, values, expected):
    records = read("a.jsonl", "".join(json.dumps({"n": value}) + "\n" for value in values))
    assert records.dataset["n"][:] == expected


def test_a_column_that_changes_after_the_first_chunk_is_widened_for_all_rows(read):
    rows = [{"text": f"t{row}", "n": row} for row in range(arrow_file.CHUNK_ROWS + 5)]
    rows[-1] = {"text": "last", "n": "many", "late": 1}
    records = read("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert len(records) == len(rows)
    assert records.dataset[0] == {"text": "t0", "n": "0", "late": None}
    assert records.dataset[-1] == {"text": "last", "n": "many", "late": 1}
    assert records.lines.tolist() == list(range(1, len(rows) + 1))


def test_parquet_keeps_its_types_and_counts_rows_as_lines(tmp_path, cache):
    texts = pa.array(["a", "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"text": texts, "n": pa.array([1, 2, 3], pa.int16())}), tmp_path / "a.parquet")
    records = read_records(tmp_path / "a.parquet", cache=cache)
    assert rows_of(records) == [{"text": "a", "n": 1}, {"text": "b", "n": 2}, {"text": "a", "n": 3}]
    assert records.lines.tolist() == [1, 2, 3]
    assert records.dataset.features["n"].dtype == "int16"
    assert len(read_records(tmp_path / "a.parquet", cache=cache, limit=2)) == 2


def test_a_file_that_is_no_parquet_says_so(read):
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as parquet: .*write it again$"):
        read("a.parquet", "not parquet at all")


def test_invalid_utf8_inside_parquet_names_the_column(tmp_path, cache):
    bad = pa.array([b"ok", b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: column 'text' holds invalid values"):
        read_records(tmp_path / "a.parquet", cache=cache)


def test_a_byte_order_mark_is_no_part_of_the_first_column(read):
    assert read("a.csv", b"\xef\xbb\xbftext,n\na,1\n").columns == ["text", "n"]


def test_a_field_longer_than_the_csv_module_likes_is_read(read):
    assert len(read("a.csv", f"text\n{'x' * 200_000}\n").dataset[0]["text"]) == 200_000


def test_the_limit_counts_rows_and_the_rest_is_not_read(read):
    records = read("a.txt", b"one\n\ntwo\nthree \xff\n", limit=2)
    assert rows_of(records) == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(tmp_path, limit):
    with pytest.raises(ConfigError, match=rf"^limit: expected a whole number above 0, got {limit}$"):
        read_records(tmp_path / "a.txt", limit=limit)


def test_the_dataset_is_memory_mapped_from_the_cache(read, cache):
    records = read("a.txt", "one\ntwo\n")
    (arrow,) = cache.glob("*.arrow")
    assert [entry["filename"] for entry in records.dataset.cache_files] == [str(arrow)]


def test_a_second_read_reuses_the_copy_and_gives_the_same(tmp_path, read, cache):
    first = read("a.jsonl", '{"text": "a"}\n\n{"text": 1}\n')
    (arrow,) = cache.glob("*.arrow")
    os.utime(arrow, ns=(1, 1))
    second = read_records(tmp_path / "a.jsonl", cache=cache)
    assert arrow.stat().st_mtime_ns == 1
    assert rows_of(first) == rows_of(second)
    assert first.lines.tolist() == second.lines.tolist()
    assert (first.blank_lines, first.kinds) == (second.blank_lines, second.kinds)


def test_a_changed_file_is_read_again(tmp_path, read, cache):
    read("a.txt", "one\n")
    path = tmp_path / "a.txt"
    path.write_text("two\n")
    os.utime(path, ns=(10**18, 10**18))
    assert rows_of(read_records(path, cache=cache)) == [{"text": "two"}]


def test_a_copy_without_its_facts_is_made_again(tmp_path, read, cache):
    read("a.txt", "one\n\n")
    (facts,) = cache.glob("*.json")
    facts.write_text("{")
    assert read_records(tmp_path / "a.txt", cache=cache).blank_lines == 1


def test_without_a_cache_folder_the_copy_lies_in_that_of_datasets(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    (tmp_path / "a.txt").write_text("one\n")
    read_records(tmp_path / "a.txt")
    assert len(list((tmp_path / "hf" / "textcl").glob("*.arrow"))) == 1


FAULTS = {
    "empty": ("a.txt", b"", "a.txt: has no rows; expected at least one"),
    "only blank": ("a.txt", b"\n  \n", "a.txt: has no rows; expected at least one"),
    "only a header": ("a.csv", b"text\n", "a.csv: has no rows; expected at least one"),
    "ending": ("a.docx", b"x", "a.docx: unknown file ending; expected one of .txt, .csv, .tsv, .jsonl, .txt.gz,"),
    "utf-8": ("a.txt", b"fine\nab\xff\n", "a.txt:2: invalid UTF-8 (byte 0xff at offset 2 of the line); save"),
    "utf-16": ("a.txt", "text".encode("utf-16"), "a.txt:1: invalid UTF-8 (byte 0xff at offset 0"),
    "json": ("a.jsonl", b'{"a": 1}\n\n{"a": \n', "a.jsonl:3: invalid JSON: Expecting value at column"),
    "list": ("a.jsonl", b"[1]\n", "a.jsonl:1: expected a JSON object, got list;"),
    "deep": ("a.jsonl", b"[" * 100_000, "a.jsonl:1: invalid JSON:"),
    "surrogate": ("a.jsonl", b'{"a": "\\ud800"}\n', "a.jsonl:1: invalid text: half of a surrogate pair"),
    "csv fields": ("a.csv", b"a,b\n1,2\n1,2,3\n", "a.csv:3: expected 2 fields as in the header, got 3; put quotes"),
    "tsv fields": ("a.tsv", b"a\tb\n1\n", "a.tsv:2: expected 2 fields as in the header, got 1"),
    "open quote": ("a.csv", b'a\nx\n"open\nnever closed\n', "a.csv:3: invalid csv: unexpected end of data; check"),
    "header": ("a.csv", b"a,b,a\n1,2,3\n", "a.csv:1: column 'a' is named twice in the header; rename one"),
    "cut gzip": ("a.txt.gz", gzip.compress(b"one\n" * 99)[:-9], "a.txt.gz:"),
    "no gzip": ("a.txt.gz", b"\x1f\x8bxxxxxxxxxxxxxxxxxxxx", "a.txt.gz:1: is damaged: not a whole gzip file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_names_the_file_and_the_line_and_leaves_no_copy(read, cache, tmp_path, fault):
    name, content, expected = FAULTS[fault]
    with pytest.raises(DataError) as caught:
        read(name, content)
    assert str(caught.value).startswith(str(tmp_path / expected))
    assert "\n" not in str(caught.value)
    assert not list(cache.glob("*"))
    assert not list(cache.glob(".*"))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: no such file$"):
        read_records(tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"is a folder; expected a file$"):
        read_records(tmp_path)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, cache):
    path = tmp_path / "a.txt"
    path.write_text("one\n" * 10)

    def touch(_rows):
        with path.open("a") as file:
            file.write("more\n")

    class Touching:
        def __init__(self, description, total): ...
        def __enter__(self):
            return touch

        def __exit__(self, *error): ...

    with pytest.raises(DataError, match=r"a\.txt: changed while it was read"):
        read_records(path, cache=cache, progress=Touching)
    assert not list(cache.glob("*"))


def test_an_unreachable_hub_data_set_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"^hub:nobody/nothing:test: cannot be loaded \(.*\); check name, split and"):
        read_records("hub:nobody/nothing:test", cache=tmp_path)


def test_a_hub_name_is_loaded_with_its_split_and_limit(tmp_path, cache):
    # `datasets` takes a folder for a hub data set, so that the loading itself needs no network.
    folder = tmp_path / "set"
    folder.mkdir()
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(f'{{"text": "{split} {row}"}}\n' for row in range(3)))
    assert column_texts(read_records(f"hub:{folder}", cache=cache), "text")[0] == "train 0"
    records = read_records(f"hub:{folder}:test", cache=cache, limit=2)
    assert column_texts(records, "text") == ["test 0", "test 1"]
    assert records.lines.tolist() == [1, 2]


def test_texts_come_as_they_stand_across_chunks(read):
    expected = [f" text {row} " for row in range(2 * arrow_file.CHUNK_ROWS + 1)]
    assert column_texts(read("a.txt", "\n".join(expected)), "text") == expected


def test_an_unknown_column_names_its_neighbour_and_all_others(read):
    records = read("a.csv", "question,answer\na,b\n")
    with pytest.raises(
        DataError, match=r"a\.csv: no column 'anwser'; did you mean answer\? there are: question, answer$"
    ):
        column_texts(records, "anwser")


@pytest.mark.parametrize("value", ["null", '""', '" \\t\\u00a0"'])
def test_a_row_without_text_is_named_and_may_be_allowed(read, value):
    records = read("a.jsonl", f'{{"text": "a"}}\n\n{{"text": {value}}}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:3: no text in column 'text'; fill it or remove the row$"):
        column_texts(records, "text")
    assert column_texts(records, "text", allow_empty=True) == ["a", ""]


@pytest.mark.parametrize(
    ("value", "kind"), [("5", "number"), ("0.5", "number"), ("true", "boolean"), ('["a"]', "list"), ("{}", "object")]
)
def test_what_is_no_string_is_no_text_even_in_a_column_of_strings(read, value, kind):
    records = read("a.jsonl", f'{{"text": "a"}}\n{{"text": {value}}}\n{{"text": {value}}}\n')
    with pytest.raises(DataError, match=rf"a\.jsonl:2: column 'text' holds a {kind} here; expected a text$"):
        column_texts(records, "text")


def test_numbers_in_parquet_are_no_texts(tmp_path, cache):
    pq.write_table(pa.table({"n": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet:1: column 'n' holds a value of type int here; expected a text$"):
        column_texts(read_records(tmp_path / "a.parquet", cache=cache), "n")


@pytest.mark.parametrize(
    ("header", "wanted", "expected"),
    [("a,b", "b", "b"), ("a,text", None, "text"), ("body", None, "body"), ("_id,body", None, "body")],
)
def test_the_text_column_is_the_wanted_one_or_text_or_the_only_one(read, header, wanted, expected):
    assert pick_column(read("a.csv", f"{header}\n{','.join('x' * len(header.split(',')))}\n"), wanted) == expected


def test_numbers_and_lists_are_no_candidates_for_the_text_column(read):
    assert pick_column(read("a.jsonl", '{"n": 1, "list": ["a"], "body": "b", "none": null}\n')) == "body"


def test_an_unclear_text_column_lists_the_columns(read):
    with pytest.raises(DataError, match=r"a\.csv: which column .* --column or data\.columns; there are: a, b$"):
        pick_column(read("a.csv", "a,b\n1,2\n"))
    with pytest.raises(DataError, match=r"no column 'c'"):
        pick_column(read("b.csv", "a,b\n1,2\n"), "c")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"_id": "x", "id": "1"}\n{"_id": "y", "id": "1"}\n', ["x", "y"]),
        ('{"id": 7}\n{"id": 8}\n', ["7", "8"]),
        ('{"text": "a"}\n\n{"text": "b"}\n', ["0", "1"]),
    ],
)
def test_ids_come_from_their_column_or_count_the_rows(read, content, expected):
    assert ids(read("a.jsonl", content)) == expected


def test_a_repeated_id_names_both_lines(read):
    records = read("a.jsonl", '{"_id": "x"}\n\n{"_id": "y"}\n{"_id": "x"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:4: duplicate id 'x', first on line 1; make the ids unique$"):
        ids(records)


def test_a_row_without_an_id_is_named(read):
    with pytest.raises(DataError, match=r"a\.jsonl:2: no value in column '_id'; every row needs an id$"):
        ids(read("a.jsonl", '{"_id": "x"}\n{"text": "b"}\n'))


def test_a_fault_of_a_row_names_the_line_it_came_from(read):
    records = read("a.txt", "\none\n")
    assert re.search(r"a\.txt:2: bad$", str(records.fault("bad", 0)))
    assert str(records.fault("bad")) == f"{Path(records.source)}: bad"
