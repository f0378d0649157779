"""One shard of an index, open; `shard_files` says what it is made of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from textcl.errors import ArtifactError
from textcl.index.families import Family, Structure
from textcl.index.shard_files import DOCUMENTS_FILE, HEADER_BYTES, PASSAGES_FILE, SEARCH_FILE, TEXTS_FILE, VECTORS_FILE

_CHUNK_ROWS = 8192
_IDS_AT_ONCE = 500  # below SQLite's oldest limit of variables in one statement


class Shard:
    """A shard, open: files are mapped into memory. Close it, or let the index do so.

    Args:
        folder: Its folder.
        facts: Its entry in the manifest.
        family: Of the index.

    Raises:
        ArtifactError: If a file cannot be read, or the files do not fit together.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], family: Family) -> None:
        self.folder, self.rows, self.documents = folder, int(facts["rows"]), int(facts["documents"])
        self.flat = _open_faiss(folder / VECTORS_FILE, faiss.IO_FLAG_MMAP_IFC)
        shape = (self.rows, family.dimension)
        self.vectors: NDArray[np.float32] = _map_vectors(folder / VECTORS_FILE, shape, self.flat)
        self.structure = self._open_structure(family) if facts["structure"] else None
        self._texts: Any = _open_texts(folder / TEXTS_FILE) if (folder / TEXTS_FILE).is_file() else None
        self.passages = _open_passages(folder / PASSAGES_FILE) if (folder / PASSAGES_FILE).is_file() else None
        # The file is opened unchangeable, so that any thread may read it.
        where = f"{(folder / DOCUMENTS_FILE).absolute().as_uri()}?mode=ro&immutable=1"
        try:
            self._database = sqlite3.connect(where, uri=True, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise _damaged(folder / DOCUMENTS_FILE, f"cannot be opened: {error}") from error
        try:
            self._check()
        except ArtifactError:
            self.close()
            raise

    def _open_structure(self, family: Family) -> Structure:
        path = self.folder / SEARCH_FILE
        index = open_structure(path, family, self.flat)
        if (index.ntotal, index.d) != (self.rows, family.dimension):
            said = f"the manifest says {self.rows} of {family.dimension}"
            raise _damaged(path, f"holds {index.ntotal} rows of {index.d} numbers, {said}")
        return Structure(index)

    def _check(self) -> None:
        try:
            counted, last = self._database.execute("SELECT count(*), max(number) FROM documents").fetchone()
        except sqlite3.DatabaseError as error:
            raise _damaged(self.folder / DOCUMENTS_FILE, f"is damaged: {error}") from error
        if (counted, last) != (self.documents, self.documents - 1):
            said = f"the manifest says {self.documents}"
            raise _damaged(self.folder / DOCUMENTS_FILE, f"names {counted} documents, {said}")
        if self._texts is not None:
            batches = (self._texts.get_batch(number).num_rows for number in range(self._texts.num_record_batches))
            if (texts := sum(batches)) != self.documents:
                raise _damaged(self.folder / TEXTS_FILE, f"holds {texts} texts, the manifest says {self.documents}")
        if self.passages is not None and len(self.passages) != self.rows:
            raise _damaged(self.folder / PASSAGES_FILE, f"holds {len(self.passages)} passages of {self.rows}")

    def documents_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the document of each row."""
        return rows if self.passages is None else np.asarray(self.passages[rows, 0])

    def rows_of(self, documents: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which rows belong to marked documents, (rows,)."""
        return documents if self.passages is None else documents[self.passages[:, 0]]

    def ids_of(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return the id of each document number."""
        found: dict[int, str] = {}
        for some, marks in _in_parts(numbers):
            found.update(self._database.execute(f"SELECT number, id FROM documents WHERE number IN ({marks})", some))
        return found

    def numbers_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those ids that are here."""
        found: dict[str, int] = {}
        for some, marks in _in_parts(ids):
            found.update(self._database.execute(f"SELECT id, number FROM documents WHERE id IN ({marks})", some))
        return found

    def with_value(self, field: str, value: str) -> NDArray[np.int64]:
        """Return the numbers of the documents whose metadata field has this value, rising."""
        query = "SELECT number FROM fields WHERE field = ? AND value = ? ORDER BY number"
        found = self._database.execute(query, (field, value)).fetchall()
        return np.array(found, dtype=np.int64).reshape(-1)

    def text_of(self, number: int) -> tuple[str | None, dict[str, Any]]:
        """Return text and metadata of a document."""
        if self._texts is None:
            return None, {}
        size = self._texts.get_batch(0).num_rows  # all batches but the last have it
        batch, place = self._texts.get_batch(number // size), number % size
        known = batch.column(1)[place].as_py()
        return batch.column(0)[place].as_py(), json.loads(known) if known else {}

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._database.close()
        self.structure = None
        self._texts = self.passages = self.flat = None


def open_structure(path: Path, family: Family, flat: Any) -> Any:  # noqa: ANN401 (faiss has no types)
    """Return the FAISS index in `path`, mapped where FAISS can, its graph over the vectors of `flat`."""
    # IFC maps graphs and codes into memory, plain MMAP the lists of cells.
    index = _open_faiss(path, faiss.IO_FLAG_MMAP if family.cells else faiss.IO_FLAG_MMAP_IFC)
    if isinstance(index, faiss.IndexHNSWFlat):
        _lend(index, flat)
    if (ivf := faiss.try_extract_index_ivf(index)) is not None:
        lists = faiss.downcast_InvertedLists(ivf.invlists)
        if isinstance(lists, faiss.OnDiskInvertedLists):
            lists.prefetch_nthread = 0  # the system reads ahead by itself; a thread for each search costs more
    return index


def _lend(graph: Any, flat: Any) -> None:  # noqa: ANN401
    """Let a graph score with the vectors of a flat index, which lives as long as the graph does."""
    is_ours = flat.thisown
    graph.storage, graph.own_fields = flat, False
    flat.thisown = is_ours  # which the assignment takes away, so that nobody would free it
    graph.referenced_objects = [flat]


def load_structure(shard: Shard) -> Any:  # noqa: ANN401
    """Return the FAISS index of a shard, in memory, so that it can grow."""
    index = faiss.read_index(str(shard.folder / SEARCH_FILE))
    if isinstance(index, faiss.IndexHNSWFlat):
        flat = faiss.IndexFlatIP(index.d)
        for start in range(0, shard.rows, _CHUNK_ROWS):
            flat.add(np.ascontiguousarray(shard.vectors[start : start + _CHUNK_ROWS]))
        _lend(index, flat)
    return index


def _in_parts(values: Sequence[Any]) -> Iterable[tuple[Sequence[Any], str]]:
    for start in range(0, len(values), _IDS_AT_ONCE):
        some = values[start : start + _IDS_AT_ONCE]
        yield some, ", ".join("?" * len(some))


def _damaged(path: Path, problem: str) -> ArtifactError:
    return ArtifactError(path, f"{problem}; build the index again")


def _open_faiss(path: Path, flags: int) -> Any:  # noqa: ANN401
    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise _damaged(path, "is damaged: FAISS cannot read it") from error


def _map_vectors(path: Path, shape: tuple[int, int], flat: Any) -> NDArray[np.float32]:  # noqa: ANN401
    if (flat.ntotal, flat.d) != shape:
        said = f"the manifest says {shape[0]} of {shape[1]}"
        raise _damaged(path, f"holds {flat.ntotal} rows of {flat.d} numbers, {said}")
    return np.memmap(path, dtype=np.float32, mode="r", offset=HEADER_BYTES, shape=shape)


def _open_texts(path: Path) -> Any:  # noqa: ANN401 (pyarrow has no types)
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except pa.ArrowInvalid as error:
        raise _damaged(path, "is damaged: not an Arrow file") from error


def _open_passages(path: Path) -> NDArray[np.int64]:
    try:
        found: NDArray[np.int64] = np.load(path, mmap_mode="r")
    except ValueError as error:
        raise _damaged(path, "is damaged: NumPy cannot read it") from error
    return found
