"""Bytes of a text, csv, tsv or jsonl file → its rows, each with the line it came from.

Everything that can be wrong with a file's form is found here and named with its line.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, cast

from textcl.errors import DataError

Row = dict[str, Any]
NumberedRow = tuple[int, Row | None]
"""A row and the number, counted from 1, of the line where it starts; None where the line is blank."""

TEXT_COLUMN = "text"
TEXT_FORMATS = (".txt", ".csv", ".tsv", ".jsonl")
PARQUET = ".parquet"
KNOWN_ENDINGS = (*TEXT_FORMATS, *(f"{ending}.gz" for ending in TEXT_FORMATS), PARQUET)

_MARK = b"\xef\xbb\xbf"


def format_of(path: Path) -> str:
    """Return the ending that says how `path` is read, without `.gz`.

    Raises:
        DataError: If no reader has this ending.
    """
    name = path.name.lower()
    ending = next((known for known in KNOWN_ENDINGS if name.endswith(known)), None)
    if ending is None:
        raise DataError(f"unknown file ending; expected one of {', '.join(KNOWN_ENDINGS)}", path)
    return ending.removesuffix(".gz")


def numbered_lines(path: Path) -> Generator[tuple[int, str], None, None]:
    r"""Yield each line with its number, counted from 1; the line end (`\n` or `\r\n`) stays, a byte order mark goes.

    Args:
        path: A UTF-8 file, gzip-compressed where its name ends in .gz.

    Raises:
        DataError: If a line is not UTF-8, or the compressed file is damaged.
    """
    number = 0
    with _open(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                yield number, _decode(line.removeprefix(_MARK) if number == 1 else line, path, number)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            problem = f"is damaged: not a whole gzip file ({error}); fetch or compress it again"
            raise DataError(problem, path, number + 1) from error


def _open(path: Path) -> IO[bytes]:
    try:
        return cast(IO[bytes], gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")
    except OSError as error:
        raise DataError(f"cannot be opened: {error.strerror}", path) from error


def _decode(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{line[error.start]:02x} at offset {error.start} of the line"
        raise DataError(f"invalid UTF-8 ({wrong}); save the file as UTF-8", path, number) from error


def numbered_rows(path: Path, limit: int | None = None) -> Iterator[NumberedRow]:
    """Yield the rows of a text, csv, tsv or jsonl file; blank lines come as None.

    Values of txt, csv and tsv are strings; those of jsonl are what JSON has. After `limit` rows that are not blank the
    rest of the file is not read.

    Raises:
        DataError: If a line is not what the file's ending promises.
    """
    readers = {".txt": _text_rows, ".csv": _csv_rows, ".tsv": _tsv_rows, ".jsonl": _json_rows}
    taken = 0
    with closing(readers[format_of(path)](path)) as rows:
        for line, row in rows:
            yield line, row
            taken += row is not None
            if taken == limit:
                return


def _text_rows(path: Path) -> Generator[NumberedRow, None, None]:
    for number, line in numbered_lines(path):
        text = line.rstrip("\r\n")
        yield number, {TEXT_COLUMN: text} if text.strip() else None


def _tsv_rows(path: Path) -> Generator[NumberedRow, None, None]:
    header: list[str] | None = None
    for number, line in numbered_lines(path):
        fields = line.rstrip("\r\n").split("\t")
        if header is None:
            header = _checked_header(fields, path, number)
        elif fields == [""]:
            yield number, None
        else:
            yield number, _row(header, fields, path, number)


def _csv_rows(path: Path) -> Generator[NumberedRow, None, None]:
    header: list[str] | None = None
    for number, fields in _csv_fields(path):
        if not fields:
            if header is not None:
                yield number, None
        elif header is None:
            header = _checked_header(fields, path, number)
        else:
            yield number, _row(header, fields, path, number)


def _csv_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each csv row with the line where it starts; a quoted field may hold line ends."""
    with closing(numbered_lines(path)) as lines:
        # strict: a quote that is never closed would otherwise swallow the rest of the file as one field.
        reader = csv.reader((line for _number, line in lines), strict=True)
        while True:
            start = reader.line_num + 1
            # The csv module's limit on a field's length is global, and too low for documents.
            limit = csv.field_size_limit(sys.maxsize)
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise DataError(f"invalid csv: {error}; check the quotes of this row", path, start) from error
            finally:
                csv.field_size_limit(limit)
            if fields is None:
                return
            yield start, fields


def _checked_header(fields: list[str], path: Path, number: int) -> list[str]:
    repeated = next((name for index, name in enumerate(fields) if name in fields[:index]), None)
    if repeated is not None:
        raise DataError(f"column {repeated!r} is named twice in the header; rename one", path, number)
    return fields


def _row(header: list[str], fields: list[str], path: Path, number: int) -> Row:
    if len(fields) != len(header):
        problem = f"expected {len(header)} fields as in the header, got {len(fields)}"
        hint = "" if format_of(path) == ".tsv" else "; put quotes around a field that holds a comma"
        raise DataError(problem + hint, path, number)
    return dict(zip(header, fields, strict=True))


def _json_rows(path: Path) -> Generator[NumberedRow, None, None]:
    for number, line in numbered_lines(path):
        yield number, _json_row(line, path, number) if line.strip() else None


def _json_row(line: str, path: Path, number: int) -> Row:
    try:
        row = json.loads(line)
        if "\\u" in line:
            line_again = json.dumps(row, ensure_ascii=False)
            line_again.encode("utf-8")
    except UnicodeEncodeError as error:
        problem = "invalid text: half of a surrogate pair (\\ud800 … \\udfff); write the whole character"
        raise DataError(problem, path, number) from error
    except json.JSONDecodeError as error:
        problem = f"invalid JSON: {error.msg} at column {error.colno}; one object a line is expected"
        raise DataError(problem, path, number) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of brackets
        raise DataError(f"invalid JSON: {error}", path, number) from error
    if not isinstance(row, dict):
        raise DataError(
            f"expected a JSON object, got {type(row).__name__}; one object a line is expected", path, number
        )
    return row
