"""Columns beside the texts → what is known of each document, as plain values that can be shown and asked for."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from textcl.corpus.readers import Records, check_column, iterate_values
from textcl.errors import DataError

Scalar: TypeAlias = str | int | float | bool | None
"""What a field holds of one document; None where its row has nothing."""

_EXPECTED = "expected a text, a number, true, false or null"


def iterate_metadata(records: Records, fields: Sequence[str]) -> Iterator[dict[str, Scalar]]:
    """Yield field → value for each row, in constant memory.

    Values are those of `read_records`: strings from csv and tsv, and from jsonl where a column has several types.

    Args:
        records: N rows.
        fields: Columns; of one that holds objects (such as `metadata` in BEIR folders) `column.key` is the value of
            that key, None in rows that lack it.

    Raises:
        DataError: If there is no such column, or no row has the key; or a value is a list, an object, of a type that
            JSON does not have, or a number that is not finite.
    """
    columns = [_field_values(records, field) for field in fields]
    for row in range(len(records)):
        yield {
            field: _checked(records, field, next(values), row) for field, values in zip(fields, columns, strict=True)
        }
    for values in columns:  # each has something to say at its end
        next(values, None)


def _field_values(records: Records, field: str) -> Iterator[object]:
    """Return the values of a field, which are not checked; faults of its column are found at once."""
    column, dot, key = field.partition(".")
    if dot and field not in records.columns and column in records.columns:
        _check_kinds(records, column, {"object", "null"}, f"expected objects, of which {field!r} is a key")
        return _key_values(records, column, key)
    check_column(records, field)
    hint = f"; name one of its keys as {field}.KEY" if "object" in records.kinds.get(field, ()) else ""
    allowed = {"string", "boolean", "integer", "long", "huge", "float", "null"}
    _check_kinds(records, field, allowed, f"{_EXPECTED}{hint}")
    return iterate_values(records, field)


def _check_kinds(records: Records, column: str, allowed: set[str], expected: str) -> None:
    """Find values of other kinds in jsonl, where they are JSON text by now."""
    others = [(line, kind) for kind, line in records.kinds.get(column, {}).items() if kind not in allowed]
    if others:
        line, kind = min(others)
        name = "number" if kind in ("integer", "long", "huge", "float") else kind
        raise DataError(f"column {column!r} holds a value of type {name} here; {expected}", records.source, line)


def _key_values(records: Records, column: str, key: str) -> Iterator[object]:
    """Yield the value of one key of a column's objects, which are JSON text or, from parquet and the hub, objects."""
    found = False
    others: set[str] = set()
    for row, value in enumerate(iterate_values(records, column)):
        entries = json.loads(value) if isinstance(value, str) and records.kinds else value
        if entries is not None and not isinstance(entries, dict):
            problem = f"column {column!r} holds a value of type {type(entries).__name__} here"
            raise records.fault(f"{problem}; expected objects, of which {f'{column}.{key}'!r} is a key", row)
        entries = entries or {}
        if not found:
            found = key in entries
            others.update(entries)
        yield entries.get(key)
    if not found:
        close = difflib.get_close_matches(key, sorted(others), n=1)
        hint = f" did you mean {close[0]}?" if close else ""
        known = ", ".join(sorted(others)) or "none"
        raise records.fault(f"no key {key!r} in column {column!r};{hint} there are: {known}")


def _checked(records: Records, field: str, value: object, row: int) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        raise records.fault(f"field {field!r} is {value} here; expected a finite number, or null for none", row)
    if value is None or isinstance(value, str | int | float):  # bool is an int
        return value
    raise records.fault(f"field {field!r} holds a value of type {type(value).__name__} here; {_EXPECTED}", row)
