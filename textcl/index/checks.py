"""Vectors, ids and texts are looked at before anything of them is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.index.grow import CHUNK_ROWS, chunks
from textcl.index.shard_files import Documents
from textcl.index.store import ENCODER_FACTS, UNIT_TOLERANCE, lengths_of


def check_encoder_facts(encoder: Mapping[str, Any]) -> None:
    """Raise ConfigError if it is not said which encoder made the vectors."""
    for fact in ("model", *ENCODER_FACTS):
        if fact not in encoder:
            problem = "is missing; the index must say which encoder made its vectors"
            raise ConfigError(f"encoder.{fact}", problem=problem)


def check_documents(documents: Documents, vectors: NDArray[np.float32], dimension: int) -> None:
    """Raise ShapeError or DataError if documents and vectors do not fit together, or cannot be kept."""
    if not len(documents.ids):
        raise DataError("there is nothing to index; the corpus is empty")
    if vectors.ndim != 2 or vectors.shape != (documents.rows, dimension):
        raise ShapeError("vectors", vectors.shape, f"({documents.rows}, {dimension}), one row an id or passage")
    _check_ids(documents.ids)
    for name, column in (("texts", documents.texts), ("metadata", documents.metadata)):
        if column is not None and len(column) != len(documents.ids):
            raise ShapeError(name, (len(column),), f"({len(documents.ids)},), one an id")
    for one, text in zip(documents.ids, documents.texts or (), strict=False):
        _check_utf8(text, f"the text of document {one!r}")
    if documents.passages is not None:
        _check_passages(documents.passages, len(documents.ids))


def _check_passages(passages: NDArray[np.int64], documents: int) -> None:
    owners = passages[:, 0]
    steps = np.diff(owners, prepend=-1, append=documents)
    if ((steps[:-1] < 0) | (steps[:-1] > 1)).any() or steps[-1] != 1:
        raise DataError("passages must stand in the order of their documents, and every document must have one")


def _check_ids(ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for row, one in enumerate(ids):
        if not one:
            raise DataError(f"row {row}: its id is empty; give every document an id")
        if one in seen:
            raise DataError(f"row {row}: the id {one!r} comes twice; ids must differ")
        _check_utf8(one, f"the id {one!r}")
        seen.add(one)


def _check_utf8(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = f"{what} has half a character (U+{ord(text[error.start]):04X}) at {error.start}; repair it"
        raise DataError(problem) from error


def check_vectors(vectors: NDArray[np.float32], documents: Documents, *, normalised: bool) -> float:
    """Return the greatest length of a vector, after refusing those that are not finite or not of length 1."""
    longest, wrong, first = 0.0, 0, ""
    for number, block in enumerate(chunks(vectors)):
        lengths = lengths_of(block)
        good = np.abs(lengths - 1) <= UNIT_TOLERANCE if normalised else np.isfinite(lengths)
        bad = np.flatnonzero(~good)
        if len(bad) and not wrong:
            row = number * CHUNK_ROWS + int(bad[0])
            owner = row if documents.passages is None else int(documents.passages[row, 0])
            first = f"document {documents.ids[owner]!r} (row {row}) has length {lengths[bad[0]]:.6g}"
        wrong += len(bad)
        longest = max(longest, float(lengths.max()))
    if wrong:
        wanted = "length 1; normalise them" if normalised else "finite vectors; encode them again"
        raise DataError(f"{wrong} of {len(vectors)} vectors are wrong: the first, {first}; expected {wanted}")
    return longest
