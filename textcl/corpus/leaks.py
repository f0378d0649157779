"""Texts that stand both in training and in evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from textcl.corpus.readers import Records


def leaking_rows(training: Iterable[Sequence[Sequence[str]]], evaluated: Iterable[str]) -> list[int]:
    """Return which training rows, counted from 0, hold a text that is also evaluated on.

    Texts are equal when they differ in letter case and white space alone; an empty one is no text.

    Args:
        training: The training rows, block by block; a block has one sequence of N texts for each side.
        evaluated: Queries, and the documents judged relevant to them.
    """
    known = {_plain(text) for text in evaluated} - {""}
    rows = (row for block in training for row in zip(*block, strict=True))
    return [number for number, row in enumerate(rows) if any(_plain(text) in known for text in row)]


def text_blocks(records: Records, rows: int = 4096) -> Iterator[list[list[str]]]:
    """Yield the texts of all columns that hold texts, so many rows at a time; an empty cell is an empty text.

    Lists of texts in a cell are not looked into.

    Raises:
        DataError: If no column holds texts.
    """
    kinds = ("string", "large_string")
    columns = [name for name, kind in records.dataset.features.items() if getattr(kind, "dtype", "") in kinds]
    if not columns:
        raise records.fault("has no column of texts to compare with what is evaluated on")
    for start in range(0, len(records), rows):
        block = records.dataset[start : start + rows]
        yield [[text or "" for text in block[name]] for name in columns]


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
