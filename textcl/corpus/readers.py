"""Files → memory-mapped tables of `datasets`, and the texts and ids in them.

A file is copied once into an Arrow file in a cache folder, in constant memory; reading it again opens that copy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from textcl.artifacts import fingerprint
from textcl.corpus.arrow_file import LINE_COLUMN, Facts, build, stored_facts, write_parquet, write_rows
from textcl.corpus.formats import PARQUET, TEXT_COLUMN, format_of, numbered_rows
from textcl.errors import ConfigError, DataError
from textcl.progress import Progress, quiet

HUB = "hub:"
ID_COLUMNS = ("_id", "id")

_CACHE_VERSION = 1
_BATCH_ROWS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """N rows of one source.

    Args:
        dataset: N rows, memory-mapped.
        source: The file, or `hub:NAME` or `hub:NAME:SPLIT`, as it was asked for.
        lines: (N,) int64, the line where each row starts, counted from 1; row numbers for parquet and the hub.
        blank_lines: Lines dropped because nothing is on them.
        kinds: For jsonl, column → kind of value → first line that has it (kinds as `arrow_file.kind_of` names them);
            empty where the format declares its types.
    """

    dataset: datasets.Dataset
    source: str
    lines: NDArray[np.int64]
    blank_lines: int = 0
    kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the order of the source."""
        return list(self.dataset.column_names)

    def take(self, rows: range) -> Records:
        """Return some rows that follow each other, memory-mapped as the whole; its notes are of all rows."""
        part = slice(rows.start, rows.stop)
        return Records(self.dataset.select(rows), self.source, self.lines[part], self.blank_lines, self.kinds)

    def fault(self, problem: str, row: int | None = None) -> DataError:
        """Return the error that names this source, and the line of `row` where one row is at fault."""
        return DataError(problem, self.source, None if row is None else int(self.lines[row]))


def read_records(
    source: str | Path, *, limit: int | None = None, cache: Path | None = None, progress: Progress = quiet
) -> Records:
    """Open a file or a hub data set as memory-mapped rows.

    Formats go by the ending: .txt (a text a line → column "text"; blank lines are dropped and counted), .csv (standard
    quoting, header line), .tsv (no quoting, header line), .jsonl, all of them also with .gz, and .parquet. Values of
    csv and tsv are strings. In jsonl a column that a row lacks is None there, lists and objects become JSON text, and
    a column of several types becomes strings.

    Args:
        source: A file, `hub:NAME` or `hub:NAME:SPLIT` (split `train` unless named).
        limit: Read only the first rows; None for all.
        cache: Folder for the Arrow copy; None for the folder `textcl` in the cache of `datasets`. A copy belongs to the
            file's path, size and time of change; old ones are not removed.
        progress: Told the rows that are read when no copy exists yet.

    Raises:
        ConfigError: If `limit` is below 1.
        DataError: If the source is missing, of an unknown format, damaged, or has no rows; one at fault is named.
    """
    if limit is not None and limit < 1:
        raise ConfigError("limit", limit, "a whole number above 0")
    if str(source).startswith(HUB):
        return _read_hub(str(source), limit, cache)
    path = Path(source)
    if not path.exists():
        raise DataError("no such file", path)
    if not path.is_file():
        raise DataError("is a folder; expected a file", path)
    arrow, facts = _copy(path, limit, cache, progress)
    dataset = datasets.Dataset.from_file(str(arrow))
    lines = np.concatenate([chunk.to_numpy() for chunk in dataset.data.column(LINE_COLUMN).chunks])
    return Records(dataset.remove_columns(LINE_COLUMN), str(source), lines, facts.blank_lines, facts.kinds)


def _copy(path: Path, limit: int | None, cache: Path | None, progress: Progress) -> tuple[Path, Facts]:
    """Return the Arrow copy of `path` and what is known of it, made now unless it exists."""
    ending, state = format_of(path), _state(path)
    folder = cache if cache is not None else Path(datasets.config.HF_DATASETS_CACHE) / "textcl"
    folder.mkdir(parents=True, exist_ok=True)
    arrow = folder / f"{fingerprint([str(_CACHE_VERSION), str(path.resolve()), state, str(limit)])}.arrow"
    facts = stored_facts(arrow)
    if facts is not None:
        return arrow, facts
    with progress(f"read {path.name}", limit) as advance:

        def write(target: Path) -> Facts:
            if ending == PARQUET:
                found = write_parquet(path, limit, target, advance)
            else:
                found = write_rows(lambda: numbered_rows(path, limit), target, advance)
            if _state(path) != state:
                raise DataError("changed while it was read; start again when it is whole", path)
            return found

        facts = build(arrow, write)
    if facts.rows == 0:
        raise DataError("has no rows; expected at least one", path)
    return arrow, facts


def _state(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _read_hub(source: str, limit: int | None, cache: Path | None) -> Records:
    name, _colon, split = source.removeprefix(HUB).partition(":")
    try:
        dataset = datasets.load_dataset(name, split=split or "train", cache_dir=None if cache is None else str(cache))
    except Exception as error:  # whatever the hub's client, its network library or the data's own format raise
        problem = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot be loaded ({problem}); check name, split and network", source) from error
    if len(dataset) == 0:
        raise DataError("has no rows; expected at least one", source)
    if limit is not None:
        dataset = dataset.select(range(min(limit, len(dataset))))
    return Records(dataset, source, np.arange(1, len(dataset) + 1))


def pick_column(records: Records, wanted: str | None = None) -> str:
    """Return the column that holds the texts: `wanted`, else "text", else the only one of strings that is no id.

    Raises:
        DataError: If the wanted column does not exist, or nobody can tell which column is meant.
    """
    if wanted is not None:
        check_column(records, wanted)
        return wanted
    if TEXT_COLUMN in records.columns:
        return TEXT_COLUMN
    candidates = [name for name in records.columns if name not in ID_COLUMNS and _holds_strings(records, name)]
    if len(candidates) != 1:
        known = ", ".join(records.columns) or "none"
        raise records.fault(f"which column is the text? Name one with --column or data.columns; there are: {known}")
    return candidates[0]


def check_column(records: Records, column: str) -> None:
    """Raise DataError, naming the columns that exist, if `column` is not one of them."""
    if column not in records.columns:
        close = difflib.get_close_matches(column, records.columns, n=1)
        hint = f" did you mean {close[0]}?" if close else ""
        raise records.fault(f"no column {column!r};{hint} there are: {', '.join(records.columns) or 'none'}")


def _holds_strings(records: Records, column: str) -> bool:
    declared = records.dataset.features.arrow_schema.field(column).type
    is_string = pa.types.is_string(declared) or pa.types.is_large_string(declared)
    return is_string and "string" in records.kinds.get(column, {"string": 1})


def column_texts(records: Records, column: str, *, allow_empty: bool = False) -> list[str]:
    """Return the texts of one column, (N,), as they stand in the source.

    Args:
        records: N rows.
        column: Its name.
        allow_empty: Take a missing value, and one of white space only, as "" instead of raising.

    Raises:
        DataError: If the column does not exist, or a row has no text in it. Numbers, lists and objects are no texts.
    """
    return list(iterate_texts(records, column, allow_empty=allow_empty))


def iterate_texts(records: Records, column: str, *, allow_empty: bool = False) -> Iterator[str]:
    """Yield what `column_texts` returns, and raise what it raises, in constant memory."""
    check_column(records, column)
    _check_kinds(records, column)
    for row, value in enumerate(iterate_values(records, column)):
        if value is not None and not isinstance(value, str):
            problem = f"column {column!r} holds a value of type {type(value).__name__} here; expected a text"
            raise records.fault(problem, row)
        if not value or value.isspace():
            if not allow_empty:
                raise records.fault(f"no text in column {column!r}; fill it or remove the row", row)
            value = ""
        yield value


def _check_kinds(records: Records, column: str) -> None:
    """Find values that are no strings though the column is one of strings: it held several types, or JSON text."""
    others = [(line, kind) for kind, line in records.kinds.get(column, {}).items() if kind not in ("string", "null")]
    if others:
        line, kind = min(others)
        name = "number" if kind in ("integer", "long", "huge", "float") else kind
        raise DataError(f"column {column!r} holds a {name} here; expected a text", records.source, line)


def iterate_values(records: Records, column: str) -> Iterator[object]:
    """Yield the values of a column that exists, as Python has them, in constant memory."""
    if len(records) == 0:
        return
    for table in records.dataset.select_columns([column]).with_format("arrow").iter(batch_size=_BATCH_ROWS):
        yield from table.column(0).to_pylist()


def ids(records: Records) -> list[str]:
    """Return the name of each row, (N,): column `_id` or `id` as strings, else the row numbers "0", "1", ….

    Raises:
        DataError: If a row has no id, or two rows have the same.
    """
    check_ids(records)
    return list(iterate_ids(records))


def iterate_ids(records: Records) -> Iterator[str]:
    """Yield what `ids` returns, in constant memory, without looking for ids that two rows have.

    Raises:
        DataError: If a row has no id.
    """
    column = next((name for name in ID_COLUMNS if name in records.columns), None)
    if column is None:
        yield from map(str, range(len(records)))
        return
    for row, value in enumerate(iterate_values(records, column)):
        name = "" if value is None else str(value)
        if not name.strip():
            raise records.fault(f"no value in column {column!r}; every row needs an id", row)
        yield name


def check_ids(records: Records) -> None:
    """Raise DataError if a row has no id, or two rows have the same; takes 16 bytes a row while it looks."""
    if not any(name in records.columns for name in ID_COLUMNS):
        return
    digests = np.fromiter(map(hash, iterate_ids(records)), np.int64, len(records))
    digests.sort()
    suspects = set(digests[1:][digests[1:] == digests[:-1]].tolist())  # equal ids, or by chance different ones
    first_rows: dict[str, int] = {}
    for row, name in enumerate(iterate_ids(records) if suspects else ()):
        if hash(name) in suspects and (first := first_rows.setdefault(name, row)) != row:
            problem = f"duplicate id {name!r}, first on line {records.lines[first]}; make the ids unique"
            raise records.fault(problem, row)
