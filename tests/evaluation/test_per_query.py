from __future__ import annotations

import csv
import json

import pyarrow.parquet as pq
import pytest

from textcl.errors import ConfigError
from textcl.evaluation.per_query import write_per_query
from textcl.evaluation.retrieval import evaluate_run

QRELS = {"q1": {"a": 1, "b": 2, "c": 0}, "ä": {"a": 1}}
ROWS = [
    {"query_id": "q1", "positives": 2, "ranked": 2, "mrr": 0.5, "recall@2": 0.5},
    {"query_id": "ä", "positives": 1, "ranked": 0, "mrr": 0.0, "recall@2": 0.0},
]


@pytest.fixture
def result():
    return evaluate_run({"q1": [("c", 2.0), ("a", 1.0)]}, QRELS, ["mrr", "recall@2"], resamples=10)


def test_the_table_has_a_row_a_judged_query_in_every_format(tmp_path, result):
    paths = [tmp_path / "new" / f"table{ending}" for ending in (".jsonl", ".csv", ".parquet")]
    for path in paths:
        write_per_query(path, result, QRELS)
    lines = paths[0].read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    with paths[1].open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [{key: str(value) for key, value in row.items()} for row in ROWS]
    assert pq.read_table(paths[2]).to_pylist() == ROWS


def test_another_ending_is_refused_and_nothing_is_written(tmp_path, result):
    with pytest.raises(
        ConfigError, match=r"^per_query: expected a file that ends in one of .jsonl, .csv, .parquet, got"
    ):
        write_per_query(tmp_path / "new" / "table.xlsx", result, QRELS)
    assert list(tmp_path.iterdir()) == []
