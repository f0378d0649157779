"""Rows → one Arrow file that is memory-mapped, and made once for each state of its source.

Memory stays constant: rows are written in chunks. Where a later row needs a wider column than the first chunk had, the
file is written a second time with the columns that fit all rows.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from textcl.artifacts import write_whole
from textcl.corpus.formats import NumberedRow, Row
from textcl.errors import DataError
from textcl.progress import Advance

LINE_COLUMN = "__textcl_line__"
CHUNK_ROWS = 1000

_EXACT_IN_FLOAT = 2**53


@dataclass
class Facts:
    """What is known of a source besides its rows.

    Args:
        rows: Rows kept.
        blank_lines: Lines dropped because nothing is on them.
        kinds: Column → kind of value → the first line that has it; columns in the order they were met. Only for
            sources whose values have no declared type.
    """

    rows: int = 0
    blank_lines: int = 0
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)

    def see(self, lines: Sequence[int], rows: Sequence[Row]) -> None:
        """Widen `kinds` by these rows."""
        for line, row in zip(lines, rows, strict=True):
            for column, value in row.items():
                self.kinds.setdefault(column, {}).setdefault(kind_of(value), line)


def kind_of(value: object) -> str:
    """Return what a JSON value is: null, string, boolean, integer, long, huge, float, list or object.

    A `long` has no exact float, a `huge` has no 64-bit integer.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) <= _EXACT_IN_FLOAT:
            return "integer"
        return "long" if -(2**63) <= value < 2**63 else "huge"
    names = {str: "string", bool: "boolean", float: "float", list: "list", dict: "object", type(None): "null"}
    return names[type(value)]


def column_type(kinds: set[str]) -> pa.DataType:
    """Return the narrowest Arrow type that holds values of these kinds without loss; a mixture is a string."""
    present = kinds - {"null"}
    if not present:
        return pa.null()
    if present <= {"boolean"}:
        return pa.bool_()
    if present <= {"integer", "long"}:
        return pa.int64()
    return pa.float64() if present <= {"integer", "float"} else pa.string()


def write_rows(make_rows: Callable[[], Iterator[NumberedRow]], target: Path, advance: Advance) -> Facts:
    """Write all rows to an Arrow stream at `target`, with their line numbers as the column LINE_COLUMN.

    Args:
        make_rows: Starts the rows from the beginning; called at most twice.
        target: The file to write.
        advance: Told how many rows were read.
    """
    facts, schema = _write_pass(make_rows(), target, None, advance)
    if schema != _schema(facts):
        _write_pass(make_rows(), target, _schema(facts), advance)
    return facts


def _write_pass(
    rows: Iterator[NumberedRow], target: Path, schema: pa.Schema | None, advance: Advance
) -> tuple[Facts, pa.Schema]:
    """Write until a chunk does not fit `schema` (None: the first chunk's), and collect the facts of all rows."""
    facts = Facts()
    writer: pa.RecordBatchStreamWriter | None = None
    try:
        for lines, chunk in _chunks(rows, facts):
            facts.see(lines, chunk)
            schema = schema or _schema(facts)
            writer = writer or pa.ipc.new_stream(str(target), schema)
            if _columns_within(facts, schema):
                writer.write_batch(_batch(lines, chunk, schema))
            advance(len(chunk))
    finally:
        if writer is not None:
            writer.close()
    return facts, schema or _schema(facts)


def _chunks(rows: Iterator[NumberedRow], facts: Facts) -> Iterator[tuple[list[int], list[Row]]]:
    lines: list[int] = []
    chunk: list[Row] = []
    for line, row in rows:
        if row is None:
            facts.blank_lines += 1
            continue
        facts.rows += 1
        lines.append(line)
        chunk.append(row)
        if len(chunk) == CHUNK_ROWS:
            yield lines, chunk
            lines, chunk = [], []
    if chunk:
        yield lines, chunk


def _schema(facts: Facts) -> pa.Schema:
    columns = [(name, column_type(set(kinds))) for name, kinds in facts.kinds.items()]
    return pa.schema([*columns, (LINE_COLUMN, pa.int64())])


def _columns_within(facts: Facts, schema: pa.Schema) -> bool:
    """Tell whether every row seen so far fits `schema`, which may be wider."""
    for name, kinds in facts.kinds.items():
        index = schema.get_field_index(name)
        if index < 0 or column_type({*kinds, *_kinds_within(schema.field(index).type)}) != schema.field(index).type:
            return False
    return True


def _kinds_within(kept: pa.DataType) -> set[str]:
    """Return kinds that together make `column_type` answer `kept`."""
    examples = {pa.null(): {"null"}, pa.bool_(): {"boolean"}, pa.int64(): {"integer"}, pa.float64(): {"float"}}
    return examples.get(kept, {"string"})


def _batch(lines: list[int], rows: list[Row], schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pa.array([_fitted(row.get(name), kept) for row in rows], type=kept)
        for name, kept in zip(schema.names[:-1], schema.types[:-1], strict=True)
    ]
    return pa.record_batch([*columns, pa.array(lines, type=pa.int64())], schema=schema)


def _fitted(value: Any, kept: pa.DataType) -> Any:  # noqa: ANN401 (a JSON value)
    if value is None:
        return None
    if pa.types.is_string(kept) and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return float(value) if pa.types.is_float64(kept) else value


def write_parquet(source: Path, limit: int | None, target: Path, advance: Advance) -> Facts:
    """Write the rows of a parquet file to an Arrow stream at `target`; LINE_COLUMN is the row number from 1.

    Column types stay, except that dictionaries and views become plain values.

    Raises:
        DataError: If the file is not parquet, or a string in it is not UTF-8.
    """
    facts = Facts()
    writer: pa.RecordBatchStreamWriter | None = None
    try:
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches(batch_size=CHUNK_ROWS):
                kept = _plain_batch(batch if limit is None else batch.slice(0, limit - facts.rows), facts.rows, source)
                writer = writer or pa.ipc.new_stream(str(target), kept.schema)
                writer.write_batch(kept)
                facts.rows += kept.num_rows
                advance(kept.num_rows)
                if facts.rows == limit:
                    break
    except (pa.ArrowException, OSError) as error:
        problem = str(error).strip().split("\n")[0]
        raise DataError(f"cannot be read as parquet: {problem}; write it again", source) from error
    finally:
        if writer is not None:
            writer.close()
    return facts


def _plain_batch(batch: pa.RecordBatch, rows_before: int, source: Path) -> pa.RecordBatch:
    columns = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        plain = _plain_column(column)
        try:
            plain.validate(full=True)
        except pa.ArrowInvalid as error:
            problem = f"column {name!r} holds invalid values ({error}) in rows {rows_before + 1} and on"
            raise DataError(f"{problem}; write the file again", source) from error
        columns.append(plain)
    numbers = pa.array(range(rows_before + 1, rows_before + batch.num_rows + 1), type=pa.int64())
    return pa.record_batch([*columns, numbers], names=[*batch.schema.names, LINE_COLUMN])


def _plain_column(column: pa.Array) -> pa.Array:
    """Return the column in a type that `datasets` can describe."""
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def stored_facts(arrow: Path) -> Facts | None:
    """Return what `build` stored beside `arrow`, or None if there is no whole pair of files."""
    try:
        facts = Facts(**json.loads(_facts_path(arrow).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return facts if arrow.is_file() else None


def build(arrow: Path, write: Callable[[Path], Facts]) -> Facts:
    """Make the file `arrow` and what `stored_facts` reads beside it.

    Several processes may do so at once: each writes a file of its own, and the last rename stands.

    Args:
        arrow: The final place; its folder must exist.
        write: Writes the Arrow stream to the path it is given, and returns what is known of it.
    """
    partial = arrow.with_name(f".{arrow.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        facts = write(partial)
        if facts.rows:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(arrow)
            write_whole(_facts_path(arrow), json.dumps(asdict(facts), ensure_ascii=False))
        return facts
    finally:
        partial.unlink(missing_ok=True)


def _facts_path(arrow: Path) -> Path:
    return arrow.with_suffix(".json")
