"""An index folder, opened and checked: vectors and texts stay on disk and are mapped into memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from textcl.artifacts import read_manifest
from textcl.errors import ArtifactError, ShapeError

KIND = "index"
FORMAT_VERSION = 1
FAISS_FILE = "index.faiss"
IDS_FILE = "ids.sqlite"
TEXTS_FILE = "texts/texts.arrow"
ENCODER_FACTS = ("dimension", "pooling", "max_tokens", "query_prompt", "document_prompt", "fingerprint")
"""What a query encoder must share with the encoder of the documents, the most telling first."""
UNIT_TOLERANCE = 1e-3  # of a length of 1: float32 is off by 1e-7, half precision by less than 1e-3

_FACTS = ("rows", "dimension", "normalised", "longest", "texts", "encoder")  # what an open index asks its manifest
_IDS_AT_ONCE = 500  # below SQLite's oldest limit of variables in one statement


class Index:
    """An open index; `open_index` and `build_index` make it. Close it, or use it in a `with` block.

    Args:
        folder: The folder, whose manifest is `manifest`.
        manifest: As `read_manifest` returned it.

    Raises:
        ArtifactError: If a file cannot be read or the files do not fit together.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder, self.manifest = folder, dict(manifest)
        self._vectors = _open_faiss(folder / FAISS_FILE)
        self.rows, self.dimension = int(self._vectors.ntotal), int(self._vectors.d)
        if (self.rows, self.dimension) != (manifest["rows"], manifest["dimension"]):
            found = f"{self.rows} rows of {self.dimension} numbers"
            said = f"{manifest['rows']} of {manifest['dimension']}"
            raise ArtifactError(folder / FAISS_FILE, f"holds {found}, the manifest says {said}; build the index again")
        self._texts: Any = _open_texts(folder / TEXTS_FILE) if manifest["texts"] else None
        # The file is opened unchangeable, so that any thread may read it.
        where = f"{(folder / IDS_FILE).absolute().as_uri()}?mode=ro&immutable=1"
        self._ids = sqlite3.connect(where, uri=True, check_same_thread=False)
        try:
            self._check_rows()
        except ArtifactError:
            self.close()
            raise

    @property
    def normalised(self) -> bool:
        """Whether all vectors have length 1, as queries then must."""
        return bool(self.manifest["normalised"])

    @property
    def longest(self) -> float:
        """The greatest length of a vector."""
        return float(self.manifest["longest"])

    def ids_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """Return the ids of `rows`, in their order; IndexError for a row that is not there."""
        wanted = _checked(rows, self.rows)
        found: dict[int, str] = {}
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            some = wanted[start : start + _IDS_AT_ONCE]
            marks = ", ".join("?" * len(some))
            found.update(self._ids.execute(f"SELECT row, id FROM rows WHERE row IN ({marks})", some))
        return [found[row] for row in wanted]

    def texts_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str | None]:
        """Return the texts of `rows`, in their order, None where the index keeps none; IndexError as `ids_of`."""
        wanted = _checked(rows, self.rows)
        if not self.manifest["texts"]:
            return [None] * len(wanted)
        size = self._texts.get_batch(0).num_rows  # all batches but the last have it
        return [self._texts.get_batch(row // size).column(0)[row % size].as_py() for row in wanted]

    def vectors_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of `rows` (n,) as (n, D); IndexError as `ids_of`."""
        _checked(rows, self.rows)
        vectors: NDArray[np.float32] = self._vectors.reconstruct_batch(np.asarray(rows, dtype=np.int64))
        return vectors

    def nearest(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return FAISS's own answer: scores and rows, (Q, k) each, best first; ties and last bits are FAISS's.

        Args:
            queries: (Q, D) float32.
            k: From 1 to `rows`.
        """
        scores, rows = self._vectors.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        return scores, rows

    def check_encoder(self, facts: Mapping[str, Any]) -> None:
        """Refuse queries of another encoder than the one that made the index.

        Args:
            facts: The query encoder's, at least the `ENCODER_FACTS`; a missing one counts as None.

        Raises:
            ArtifactError: If a fact differs; all that do are named, with both values.
        """
        built = self.manifest["encoder"]
        odd = [
            f"{fact} {built[fact]!r} in the index, {facts.get(fact)!r} in the query encoder"
            for fact in ENCODER_FACTS
            if built[fact] != facts.get(fact)
        ]
        if odd:
            advice = f"search with {built['model']!r} as it was, or build the index again"
            raise ArtifactError(self.folder, f"was built with another encoder: {'; '.join(odd)}; {advice}")

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._ids.close()
        self._texts = None
        self._vectors = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_rows(self) -> None:
        try:
            counted, last = self._ids.execute("SELECT count(*), max(row) FROM rows").fetchone()
        except sqlite3.DatabaseError as error:
            raise ArtifactError(self.folder / IDS_FILE, f"is damaged: {error}; build the index again") from error
        if (counted, last) != (self.rows, self.rows - 1):
            problem = f"names {counted} rows, the vectors are {self.rows}; build the index again"
            raise ArtifactError(self.folder / IDS_FILE, problem)
        if self._texts is not None:
            batches = (self._texts.get_batch(number).num_rows for number in range(self._texts.num_record_batches))
            if (texts := sum(batches)) != self.rows:
                problem = f"holds {texts} texts, the vectors are {self.rows}; build the index again"
                raise ArtifactError(self.folder / TEXTS_FILE, problem)


def is_index(folder: Path) -> bool:
    """Tell whether `folder` holds an index, sound or damaged."""
    return (folder / IDS_FILE).is_file()


def open_index(folder: Path, *, verify: bool = False) -> Index:
    """Return the index in `folder`, open.

    Args:
        folder: What `build_index` wrote.
        verify: Read every file and compare checksums; without it names, sizes and counts are compared.

    Raises:
        ArtifactError: If the folder is missing, no index, of another version, or damaged.
    """
    manifest = read_manifest(folder, KIND, FORMAT_VERSION, verify=verify)
    if missing := [fact for fact in _FACTS if fact not in manifest]:
        raise ArtifactError(folder, f"its manifest does not say {', '.join(missing)}; build the index again")
    return Index(folder, manifest)


def lengths_of(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Euclidean length of each row, (n,); NaN or infinite where the row is not finite."""
    lengths: NDArray[np.float64] = np.linalg.norm(np.asarray(rows, dtype=np.float64), axis=1)
    return lengths


def check_width(name: str, rows: NDArray[np.float32], width: int) -> None:
    """Raise ShapeError unless `rows` is (n, width)."""
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ShapeError(name, rows.shape, f"(Q, {width})")


def _checked(rows: Sequence[int] | NDArray[np.int64], count: int) -> list[int]:
    # FAISS answers -1 where it finds nothing; as a Python index that would be the last row.
    wanted = [int(row) for row in rows]
    for row in wanted:
        if not 0 <= row < count:
            raise IndexError(f"row {row} is not among the {count} rows of the index")
    return wanted


def _open_faiss(path: Path) -> Any:  # noqa: ANN401 (faiss has no types)
    try:
        # IFC maps flat vectors into memory; plain IO_FLAG_MMAP maps inverted lists only and reads a flat index whole.
        return faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ArtifactError(path, "is damaged: FAISS cannot read it; build the index again") from error


def _open_texts(path: Path) -> Any:  # noqa: ANN401 (pyarrow has no types)
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except pa.ArrowInvalid as error:
        raise ArtifactError(path, "is damaged: not an Arrow file; build the index again") from error
