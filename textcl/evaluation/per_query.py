"""The table of queries behind the means: a row a query, to a file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textcl.artifacts import write_whole
from textcl.errors import ConfigError
from textcl.evaluation.ranking import Qrels
from textcl.evaluation.retrieval import RetrievalResult

ENDINGS = (".jsonl", ".csv", ".parquet")


def check_per_query_file(path: Path) -> None:
    """Raise ConfigError if no table is written to a file with this ending; call it before long work starts."""
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError("per_query", str(path), f"a file that ends in one of {', '.join(ENDINGS)}")


def query_rows(result: RetrievalResult, qrels: Qrels) -> list[dict[str, Any]]:
    """Return a row a judged query, in the order of `qrels`: query_id, positives, ranked, and each measure.

    `positives` are its documents judged 1 or more, `ranked` the documents that the run has for it.
    """
    return [
        {
            "query_id": query_id,
            "positives": sum(1 for gain in judgements.values() if gain >= 1),
            "ranked": len(result.run.get(query_id, ())),
            **{name: values[query_id] for name, values in result.per_query.items()},
        }
        for query_id, judgements in qrels.items()
    ]


def write_per_query(path: Path, result: RetrievalResult, qrels: Qrels) -> None:
    """Write `query_rows` as JSON lines, csv or parquet, by the ending, whole or not at all; its parents are made.

    Raises:
        ConfigError: If the ending is another.
    """
    check_per_query_file(path)
    rows = query_rows(result, qrels)
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix.lower()
    if ending == ".parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink)
        write_whole(path, sink.getvalue().to_pybytes())
    elif ending == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(path, text.getvalue())
    else:
        write_whole(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
