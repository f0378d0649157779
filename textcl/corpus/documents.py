"""Any input of documents → ids and texts in order: held, or read a block at a time from mapped files."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from textcl.corpus.beir_files import corpus_file, is_collection
from textcl.corpus.formats import TEXT_COLUMN
from textcl.corpus.metadata import Scalar, iterate_metadata
from textcl.corpus.readers import (
    ID_COLUMNS,
    Records,
    check_column,
    check_ids,
    iterate_ids,
    iterate_texts,
    pick_column,
    read_records,
)
from textcl.errors import DataError


@dataclass(frozen=True)
class Texts:
    """N texts with their ids, all different, in the order of `source`.

    Args:
        ids: N ids.
        texts: N texts.
        source: As it was asked for.
        metadata: Field → value for each text, N of them; None where no field was asked for.
    """

    ids: list[str]
    texts: list[str]
    source: str
    metadata: list[dict[str, Scalar]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(self, rows: int) -> Iterator[tuple[list[str], list[str]]]:
        """Yield ids and texts of so many rows at a time."""
        for start in range(0, len(self.ids), rows):
            yield self.ids[start : start + rows], self.texts[start : start + rows]


@dataclass(frozen=True)
class TextStream:
    """N texts with their ids, all different, read as often as asked for in constant memory.

    Args:
        records: N rows.
        column: The column of texts; None for title and text joined by one space, as BEIR folders have them.
        source: As it was asked for.
        allow_empty: Take a row whose `column` is empty.
        fields: Columns that come along with the texts; None for none.
    """

    records: Records
    column: str | None
    source: str
    allow_empty: bool = False
    fields: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def ids(self) -> Iterator[str]:
        """Yield the id of each text."""
        return iterate_ids(self.records)

    def texts(self) -> Iterator[str]:
        """Yield each text."""
        if self.column is not None:
            return iterate_texts(self.records, self.column, allow_empty=self.allow_empty)
        # Published collections have documents without a text; as they are judged, they stay, and are found or not.
        texts = iterate_texts(self.records, TEXT_COLUMN, allow_empty=True)
        if "title" not in self.records.columns:
            return (text.strip() for text in texts)
        titles = iterate_texts(self.records, "title", allow_empty=True)
        return (f"{title} {text}".strip() for title, text in zip(titles, texts, strict=True))

    def metadata(self) -> Iterator[dict[str, Scalar]]:
        """Yield field → value of each text; without fields nothing is in it."""
        return iterate_metadata(self.records, self.fields or ())

    def blocks(self, rows: int) -> Iterator[tuple[list[str], list[str]]]:
        """Yield ids and texts of so many rows at a time."""
        ids, texts = self.ids(), self.texts()
        while block := list(islice(texts, rows)):
            yield list(islice(ids, len(block))), block


def open_texts(
    source: str | Path,
    *,
    column: str | None = None,
    limit: int | None = None,
    fields: Sequence[str] | None = None,
) -> TextStream:
    """Open what `read_texts` reads, all of it checked.

    Args:
        source: As `read_texts` has it.
        column: Likewise.
        limit: Likewise.
        fields: Likewise.

    Raises:
        DataError: Likewise.
    """
    made = replace(_stream(source, column, limit, None), fields=None if fields is None else tuple(fields))
    deque(made.texts(), maxlen=0)  # a text that is wrong is found before long work starts
    if fields is not None:
        deque(made.metadata(), maxlen=0)
    return made


def read_texts(
    source: str | Path,
    *,
    column: str | None = None,
    limit: int | None = None,
    cache: Path | None = None,
    allow_empty: bool = False,
    fields: Sequence[str] | None = None,
) -> Texts:
    """Read documents from a BEIR folder (its corpus) or from anything that `read_records` reads.

    Args:
        source: The folder, file or hub name.
        column: The column of texts; None for the one that `pick_column` finds, and in a BEIR folder for title and text
            joined by one space.
        limit: Read only the first rows; None for all.
        cache: Folder for the Arrow copy, as in `read_records`.
        allow_empty: Take empty texts from other sources than BEIR folders too.
        fields: Columns that come along as `metadata`, as `iterate_metadata` reads them; in a BEIR folder those of its
            corpus. None leaves it None.

    Raises:
        DataError: As `read_records`, `column_texts`, `ids` and `iterate_metadata` raise it; or if a folder is no BEIR
            folder.
    """
    made = replace(_stream(source, column, limit, cache), allow_empty=allow_empty)
    metadata = None if fields is None else list(iterate_metadata(made.records, fields))
    return Texts(list(made.ids()), list(made.texts()), made.source, metadata)


def _stream(source: str | Path, column: str | None, limit: int | None, cache: Path | None) -> TextStream:
    """Return the texts of a source, their ids checked."""
    beir = Path(source).is_dir()
    if beir and not is_collection(source):
        raise DataError("is a folder without corpus.jsonl or corpus.jsonl.gz; name a file or a BEIR folder", source)
    records = read_records(corpus_file(source) if beir else source, limit=limit, cache=cache)
    if beir:
        check_has_ids(records)
    check_ids(records)
    return TextStream(records, column if beir else pick_column(records, column), str(source))


def check_has_ids(records: Records) -> None:
    """Raise DataError if rows have no ids of their own, without which nothing can be judged."""
    if not any(name in records.columns for name in ID_COLUMNS):
        check_column(records, ID_COLUMNS[0])
