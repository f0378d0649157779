"""A column of groups → a label for each row."""

from __future__ import annotations

from textcl.corpus.readers import Records, check_column
from textcl.errors import DataError


def column_groups(records: Records, column: str) -> list[str | None]:
    """Return the group of each row, (N,); None for a row whose cell is blank, which says nothing.

    Args:
        records: N rows.
        column: Its name.

    Raises:
        DataError: If the column is not there, or holds values of several types: whether 1 and "1" are one group nobody
            can tell.
    """
    check_column(records, column)
    types: dict[str, int] = {}
    for kind, line in records.kinds.get(column, {}).items():
        name = "number" if kind in ("integer", "long", "huge", "float") else kind
        if kind != "null":
            types[name] = min(line, types.get(name, line))
    if len(types) > 1:
        (first, _line), (other, line) = sorted(types.items(), key=lambda one: one[1])[:2]
        problem = f"column {column!r} holds a {other} here and a {first} before; groups need values of one type"
        raise DataError(problem, records.source, line)
    values = ("" if value is None else str(value) for value in records.dataset[column])
    return [value if value.strip() else None for value in values]
