"""Vectors, ids and texts → an index folder, written whole or not at all.

manifest.json        what it is, which encoder made the vectors, checksums
index.faiss          the FAISS index; a flat one holds the vectors themselves, so that there is no second copy
ids.sqlite           table rows: row (FAISS position) ⇄ id
texts/texts.arrow    one string column `text`, in the order of the rows; absent without texts
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from textcl.artifacts import check_target, whole_folder, write_manifest
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.index.store import (
    ENCODER_FACTS,
    FAISS_FILE,
    FORMAT_VERSION,
    IDS_FILE,
    KIND,
    TEXTS_FILE,
    UNIT_TOLERANCE,
    Index,
    lengths_of,
    open_index,
)
from textcl.progress import Progress, quiet

_FACTORY = "Flat"
_CHUNK_ROWS = 8192  # vectors checked and added at once
_TEXT_ROWS = 1024  # texts a record batch: what one read touches, and far below Arrow's 2 GB a batch


@dataclass(frozen=True)
class _Rows:
    """What goes into the index, checked; `longest` is the greatest length of a vector."""

    vectors: NDArray[np.float32]
    ids: Sequence[str]
    texts: Sequence[str] | None
    longest: float


def build_index(
    out: Path,
    *,
    vectors: NDArray[np.float32],
    ids: Sequence[str],
    texts: Sequence[str] | None,
    encoder: Mapping[str, Any],
    normalised: bool = True,
    force: bool = False,
    progress: Progress = quiet,
) -> Index:
    """Write an exact inner-product index of `vectors` to the folder `out` and return it, open.

    Everything is checked before anything is written.

    Args:
        out: The folder; it must not exist unless `force`.
        vectors: (N, D) float32, in memory or memory-mapped; read twice, in chunks.
        ids: N different ids, none empty.
        texts: N texts, or None to keep none.
        encoder: What made the vectors, kept in the manifest: at least the `ENCODER_FACTS` and `model`.
        normalised: The vectors have length 1, and queries will; False skips both checks.
        force: Replace an index that stands at `out`.
        progress: Told of vectors added.

    Raises:
        ConfigError: If `out` exists and may not be replaced, or `encoder` lacks a fact.
        ShapeError: If `vectors` is not (N, D), has another D than `encoder` says, or a list another length.
        DataError: If there is no vector, one is not finite or not of length 1, an id is empty or comes twice, or an
            id or text cannot be written as UTF-8.
    """
    check_target(out, force=force)
    started = time.perf_counter()
    rows = _check(vectors, ids, texts, encoder, normalised=normalised)
    with whole_folder(out, force=force) as folder:
        _write_vectors(folder / FAISS_FILE, vectors, progress)
        _write_ids(folder / IDS_FILE, ids)
        if texts is not None:
            _write_texts(folder / TEXTS_FILE, texts)
        write_manifest(folder, KIND, FORMAT_VERSION, _facts(rows, encoder, normalised, time.perf_counter() - started))
    return open_index(out)


def _facts(rows: _Rows, encoder: Mapping[str, Any], normalised: bool, build_s: float) -> dict[str, Any]:
    return {
        "faiss_version": faiss.__version__,
        "factory": _FACTORY,
        "metric": "inner_product",
        "normalised": normalised,
        "dimension": rows.vectors.shape[1],
        "rows": len(rows.ids),
        "longest": rows.longest,
        "texts": rows.texts is not None,
        "encoder": dict(encoder),
        "build_s": round(build_s, 3),
    }


def _check(
    vectors: NDArray[np.float32],
    ids: Sequence[str],
    texts: Sequence[str] | None,
    encoder: Mapping[str, Any],
    *,
    normalised: bool,
) -> _Rows:
    for fact in ("model", *ENCODER_FACTS):
        if fact not in encoder:
            raise ConfigError(
                f"encoder.{fact}", problem="is missing; the index must say which encoder made its vectors"
            )
    if vectors.ndim != 2 or vectors.shape != (len(ids), encoder["dimension"]):
        raise ShapeError("vectors", vectors.shape, f"({len(ids)}, {encoder['dimension']}), one row an id")
    if not len(ids):
        raise DataError("there is nothing to index; the corpus is empty")
    _check_ids(ids)
    if texts is not None:
        if len(texts) != len(ids):
            raise ShapeError("texts", (len(texts),), f"({len(ids)},), one text an id")
        for one, text in zip(ids, texts, strict=True):
            _check_utf8(text, f"the text of document {one!r}")
    return _Rows(vectors, ids, texts, _longest(vectors, ids, normalised=normalised))


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


def _longest(vectors: NDArray[np.float32], ids: Sequence[str], *, normalised: bool) -> float:
    """Return the greatest length of a vector, after refusing those that are not finite or not of length 1."""
    longest, wrong, first = 0.0, 0, ""
    for start in range(0, len(vectors), _CHUNK_ROWS):
        lengths = lengths_of(vectors[start : start + _CHUNK_ROWS])
        good = np.abs(lengths - 1) <= UNIT_TOLERANCE if normalised else np.isfinite(lengths)
        bad = np.flatnonzero(~good)
        if len(bad) and not wrong:
            row = start + int(bad[0])
            first = f"document {ids[row]!r} (row {row}) has length {lengths[bad[0]]:.6g}"
        wrong += len(bad)
        longest = max(longest, float(lengths.max()))
    if wrong:
        wanted = "length 1; normalise them" if normalised else "finite vectors; encode them again"
        raise DataError(f"{wrong} of {len(vectors)} vectors are wrong: the first, {first}; expected {wanted}")
    return longest


def _write_vectors(path: Path, vectors: NDArray[np.float32], progress: Progress) -> None:
    index = faiss.index_factory(vectors.shape[1], _FACTORY, faiss.METRIC_INNER_PRODUCT)
    with progress("indexing", len(vectors)) as advance:
        for start in range(0, len(vectors), _CHUNK_ROWS):
            chunk = np.ascontiguousarray(vectors[start : start + _CHUNK_ROWS], dtype=np.float32)
            index.add(chunk)
            advance(len(chunk))
    faiss.write_index(index, str(path))


def _write_ids(path: Path, ids: Sequence[str]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE rows (row INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, deleted INTEGER NOT NULL DEFAULT 0)"
        )
        database.executemany("INSERT INTO rows (row, id) VALUES (?, ?)", enumerate(ids))


def _write_texts(path: Path, texts: Sequence[str]) -> None:
    path.parent.mkdir()
    schema = pa.schema([("text", pa.string())])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for start in range(0, len(texts), _TEXT_ROWS):
            column = pa.array(list(texts[start : start + _TEXT_ROWS]), pa.string())
            writer.write_batch(pa.record_batch([column], schema=schema))
