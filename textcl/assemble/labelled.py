"""Files of labelled texts, labelled pairs and graded pairs → what evaluations take; every fault names its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textcl.corpus.groups import column_groups
from textcl.corpus.readers import Records, check_column, column_texts, read_records
from textcl.errors import DataError
from textcl.randomness import permutation

_YES_OR_NO = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


@dataclass(frozen=True)
class GradedPairs:
    """Pairs of texts, how alike people say they are, and the file they come from."""

    first: list[str]
    second: list[str]
    grades: NDArray[np.float64]
    records: Records


@dataclass(frozen=True)
class LabelledPairs:
    """N pairs of texts, whether each is a pair of equals (N,), and the file they come from."""

    first: list[str]
    second: list[str]
    labels: NDArray[np.bool_]
    records: Records


@dataclass(frozen=True)
class LabelledTexts:
    """N texts with their labels, the rows (N,) of the file they come from, and that file."""

    texts: list[str]
    labels: list[str]
    rows: NDArray[np.int64]
    records: Records

    def yes_or_no(self, column: str) -> NDArray[np.bool_]:
        """Return the labels as 0 and 1, (N,).

        Args:
            column: Their column, for errors.

        Raises:
            DataError: If a label is neither 0 nor 1, or all are equal.
        """
        return _yes_or_no(self.records, column, self.labels, self.rows)


def read_graded_pairs(
    data: str | Path,
    columns: tuple[str, str, str] = ("sentence1", "sentence2", "score"),
    split: str | None = None,
    most: int | None = None,
) -> GradedPairs:
    """Return the graded pairs of a file.

    Args:
        data: A file with a pair a row.
        columns: Names of the two texts and of the grade.
        split: Rows whose column `split` has this value; None takes all rows.
        most: Texts at most, two a pair, drawn at random; None takes all.

    Raises:
        DataError: If a column is missing, a grade is no number, or fewer than two rows are in the split.
    """
    records = read_records(data)
    first, second = column_texts(records, columns[0]), column_texts(records, columns[1])
    chosen = drawn(chosen_rows(records, split), None if most is None else most // 2)
    grades = _grades(records, columns[2], chosen)
    if len(chosen) < 2:
        raise records.fault("has a single pair; a correlation needs at least 2")
    return GradedPairs([first[row] for row in chosen], [second[row] for row in chosen], grades, records)


def read_labelled_pairs(
    data: str | Path, columns: tuple[str, str, str], split: str | None, most: int | None = None
) -> LabelledPairs:
    """Return the labelled pairs of a file.

    Args:
        data: A file with a pair a row.
        columns: Names of the two texts and of the label.
        split: Rows whose column `split` has this value; None takes all rows.
        most: Texts at most, two a pair, drawn at random; None takes all.

    Raises:
        DataError: If a column is missing, a text is empty, a label is neither 0 nor 1, or all labels are equal.
    """
    records = read_records(data)
    first, second = (column_texts(records, name) for name in columns[:2])
    rows = chosen_rows(records, split)
    named_labels = _labels(records, columns[2], rows)
    kept = drawn(np.arange(len(rows)), None if most is None else most // 2, named_labels)
    rows = rows[kept]
    labels = _yes_or_no(records, columns[2], [named_labels[place] for place in kept], rows)
    return LabelledPairs([first[row] for row in rows], [second[row] for row in rows], labels, records)


def read_labelled_texts(
    data: str | Path,
    columns: tuple[str, str],
    split: str | None = None,
    most: int | None = None,
    strata_column: str | None = None,
) -> LabelledTexts:
    """Return the labelled texts of a file.

    Args:
        data: A file with a text a row.
        columns: Names of the text and of the label.
        split: Rows whose column `split` has this value; None takes all rows.
        most: Texts at most, drawn at random in proportion to labels, but two of each; None takes all.
        strata_column: A column in proportion to which they are drawn too.

    Raises:
        DataError: If a column is missing, or a text or a label is empty.
    """
    records = read_records(data)
    texts, rows = column_texts(records, columns[0]), chosen_rows(records, split)
    labels = _labels(records, columns[1], rows)
    strata = labels
    if strata_column is not None:
        check_column(records, strata_column)
        values = list(records.dataset[strata_column])
        strata = [f"{label}\0{values[row]}" for label, row in zip(labels, rows.tolist(), strict=True)]
    kept = drawn(np.arange(len(rows)), most, strata)
    rows = rows[kept]
    return LabelledTexts([texts[row] for row in rows], [labels[place] for place in kept], rows, records)


def chosen_rows(records: Records, split: str | None) -> NDArray[np.int64]:
    """Return the rows of a split, or all rows."""
    return np.arange(len(records)) if split is None else rows_of_split(records, split)


def drawn(rows: NDArray[np.int64], most: int | None, labels: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return so many of the rows at most, drawn at random, always the same ones, in their order.

    Args:
        rows: (N,).
        most: How many; None keeps all.
        labels: N labels, in proportion to which the rows are drawn; but two of each label are kept in any case.
    """
    if most is None or len(rows) <= most:
        return rows
    order = permutation(len(rows), 0, "judged by")
    if labels is None:
        return rows[np.sort(order[:most])]
    kinds = np.unique(np.array(labels), return_inverse=True)[1][order]
    by_kind = np.argsort(kinds, kind="stable")
    counts = np.bincount(kinds)
    places = np.empty(len(rows), dtype=np.int64)  # of a row among those of its label
    places[by_kind] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    shares = np.where(places < 2, -1.0, places / counts[kinds])
    chosen = np.argsort(shares, kind="stable")[: max(most, int((shares < 0).sum()))]
    return rows[np.sort(order[chosen])]


def rows_of_split(records: Records, split: str) -> NDArray[np.int64]:
    """Return the rows whose column `split` has a value.

    Raises:
        DataError: If there is no such column, or no row has it.
    """
    check_column(records, "split")
    splits = list(map(str, records.dataset["split"]))
    if split not in splits:
        raise records.fault(f"no row of split {split!r}; there are: {', '.join(sorted(set(splits)))}")
    return np.flatnonzero(np.array(splits) == split)


@contextmanager
def named(records: Records) -> Iterator[None]:
    """Name the file in a DataError that is raised in the block."""
    try:
        yield
    except DataError as error:
        raise records.fault(error.problem) from None


def _labels(records: Records, column: str, rows: NDArray[np.int64]) -> list[str]:
    every = column_groups(records, column)
    found = []
    for row in rows.tolist():
        label = every[row]
        if label is None:
            raise records.fault(f"no label in column {column!r}; fill it or remove the row", row)
        found.append(label)
    return found


def _yes_or_no(records: Records, column: str, labels: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.empty(len(labels), dtype=bool)
    for place, label in enumerate(labels):
        if label.strip().casefold() not in _YES_OR_NO:
            raise records.fault(f"column {column!r}: expected a label of 0 or 1, got {label!r}", int(rows[place]))
        found[place] = _YES_OR_NO[label.strip().casefold()]
    if found.all() == found.any():
        problem = f"all {len(found)} labels in column {column!r} are {int(found[0])}"
        raise records.fault(f"{problem}; nothing can be told apart without both 0 and 1")
    return found


def _grades(records: Records, column: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    check_column(records, column)
    values = records.dataset[column]
    grades = np.empty(len(rows))
    for place, row in enumerate(rows.tolist()):
        try:
            grades[place] = float(values[row])
        except (TypeError, ValueError):
            grades[place] = np.nan
        if not np.isfinite(grades[place]):
            raise records.fault(f"column {column!r}: expected a number, got {values[row]!r}", row)
    return grades
