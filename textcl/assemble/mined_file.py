"""Mined negatives ⇄ a jsonl file that trains as it is, a row a line.

anchor, positive, group     the pair; group only where groups were given, null for a row in one of its own
negative_1 …                its negatives
positive_score, negative_1_score …
made_from                   what the pairs and documents were: sixteen hexadecimal digits
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textcl.artifacts import write_whole
from textcl.assemble.mining_pairs import MiningPairs
from textcl.corpus.readers import Records, column_texts, read_records
from textcl.errors import DataError
from textcl.index.mine import Mined

_DIGITS = 7  # of scores: a float32 has no more


@dataclass(frozen=True)
class MinedFile:
    """N lines of a mined file; `negatives` are H columns of N texts."""

    anchors: list[str]
    positives: list[str]
    negatives: tuple[list[str], ...]


def write_mined(path: Path, pairs: MiningPairs, mined: Mined, rows: NDArray[np.int64]) -> int:
    """Write the pairs that have all their negatives, whole or not at all, and return how many; parents are made.

    Args:
        path: The file.
        pairs: N pairs.
        mined: The negatives of n of them.
        rows: (n,) which ones.

    Raises:
        DataError: If no pair has all its negatives; nothing is written then.
    """
    full = np.flatnonzero((mined.negatives >= 0).all(axis=1))
    if not len(full):
        lost = mined.dropped
        causes = f"{lost.forbidden} are forbidden, {lost.margin} within the margin, {lost.max_score} above max_score"
        problem = f"no row has {mined.negatives.shape[1]} negatives; of the candidates {causes}"
        raise DataError(f"{problem}: widen the ranks, lower the margin, or give more documents", pairs.documents.source)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(_lines(pairs, mined, rows, full)))
    return len(full)


def _lines(pairs: MiningPairs, mined: Mined, rows: NDArray[np.int64], full: NDArray[np.int64]) -> Iterator[str]:
    names = [f"negative_{number + 1}" for number in range(mined.negatives.shape[1])]
    for place in full:
        row = int(rows[place])
        line: dict[str, object] = {"anchor": pairs.anchors[row], "positive": pairs.positives[row]}
        if pairs.groups is not None:
            line["group"] = pairs.groups[row]
        line |= {name: pairs.documents.texts[doc] for name, doc in zip(names, mined.negatives[place], strict=True)}
        line["positive_score"] = round(float(mined.positive_scores[place]), _DIGITS)
        scores = mined.scores[place].tolist()
        line |= {f"{name}_score": round(score, _DIGITS) for name, score in zip(names, scores, strict=True)}
        yield json.dumps({**line, "made_from": pairs.made_from}, ensure_ascii=False) + "\n"


def read_mined(path: str | Path, made_from: str) -> MinedFile:
    """Read a mined file, if these pairs and documents are what it was mined from.

    Args:
        path: What `write_mined` wrote.
        made_from: Of the pairs, as `MiningPairs` says it.

    Raises:
        DataError: If the file is missing, lacks a column or a text, or was mined from something else.
    """
    records = read_records(path)
    for name in ("anchor", "positive", "negative_1", "made_from"):
        if name not in records.columns:
            raise records.fault(f"no column {name!r}; it was not written by textcl mine")
    for row, found in enumerate(records.dataset["made_from"]):
        if found != made_from:
            advice = f"mine again: textcl mine MODEL PAIRS --out {path} --force"
            raise records.fault(f"was mined from other pairs or documents; {advice}", row)
    negatives = tuple(column_texts(records, name) for name in _negative_columns(records))
    return MinedFile(column_texts(records, "anchor"), column_texts(records, "positive"), negatives)


def _negative_columns(records: Records) -> list[str]:
    """Return negative_1, negative_2, …; the last one that exists says how many there must be."""
    numbers = [int(found[1]) for name in records.columns if (found := re.fullmatch(r"negative_([1-9]\d*)", name))]
    return [f"negative_{number}" for number in range(1, max(numbers) + 1)]
