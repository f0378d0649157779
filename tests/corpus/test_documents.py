from __future__ import annotations

import json

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
