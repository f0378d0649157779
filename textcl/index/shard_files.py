"""The files of a shard: vectors, search structure, documents. Once written they never change.

vectors.faiss      a FAISS IndexFlatIP, which also plain NumPy maps: float32 rows begin at byte 45
search.faiss       the search structure; absent where the shard is searched exactly
documents.sqlite   documents: number ⇄ id; fields: (field, value) → numbers
texts.arrow        a column `text` and a column `metadata` (JSON), in the order of the numbers; absent without either
passages.npy       (rows, 3) int64: document, and where the passage starts and ends in its text; absent where each row
                   is a document
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from textcl.errors import ArtifactError

VECTORS_FILE = "vectors.faiss"
SEARCH_FILE = "search.faiss"
DOCUMENTS_FILE = "documents.sqlite"
TEXTS_FILE = "texts.arrow"
PASSAGES_FILE = "passages.npy"
HEADER_BYTES = 45  # of a flat index of inner products, before its vectors

_TEXT_ROWS = 1024  # texts a record batch: what one read touches, and far below Arrow's 2 GB a batch


@dataclass(frozen=True)
class Documents:
    """What an index keeps of its documents beside vectors.

    Args:
        ids: N ids.
        texts: N texts, or None to keep none.
        metadata: N mappings of field names to strings, numbers, truth values or None; or None to keep none.
        passages: (rows, 3) int64: the document of each row of vectors, and start and end of the passage in its text;
            the rows of a document stand together, in the order of documents. None where row and document are one.
    """

    ids: Sequence[str]
    texts: Sequence[str] | None = None
    metadata: Sequence[Mapping[str, Any]] | None = None
    passages: NDArray[np.int64] | None = None

    @property
    def rows(self) -> int:
        """How many vectors belong to the documents."""
        return len(self.ids) if self.passages is None else len(self.passages)

    def fields(self) -> list[str]:
        """Return the names of all metadata fields, in order."""
        return sorted({name for one in self.metadata or () for name in one})


def write_vectors(path: Path, blocks: Iterable[NDArray[np.float32]], shape: tuple[int, int]) -> None:
    """Write vectors as a FAISS flat index, a block at a time: FAISS itself would want them all in memory.

    Args:
        path: The file.
        blocks: (n, D) each, `shape` together.
        shape: (N, D).
    """
    empty = faiss.serialize_index(faiss.IndexFlatIP(shape[1])).tobytes()
    # Bytes 8 to 16 count the rows, the last 8 the numbers that follow (FAISS, impl/index_write.cpp).
    head = empty[:8] + shape[0].to_bytes(8, "little") + empty[16:-8] + (shape[0] * shape[1]).to_bytes(8, "little")
    with path.open("wb") as file:
        file.write(head)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=np.float32).data)


def write_documents(folder: Path, documents: Documents) -> None:
    """Write everything of a shard but vectors and search structure; ArtifactError where the disk takes no more."""
    try:
        _write_names(folder, documents)
    except sqlite3.OperationalError as error:
        raise ArtifactError(folder / DOCUMENTS_FILE, f"cannot be written: {error}; make room") from error
    if documents.texts is not None or documents.metadata is not None:
        _write_texts(folder / TEXTS_FILE, documents)
    if documents.passages is not None:
        np.save(folder / PASSAGES_FILE, documents.passages)


def _write_names(folder: Path, documents: Documents) -> None:
    with closing(sqlite3.connect(folder / DOCUMENTS_FILE)) as database, database:
        database.execute("CREATE TABLE documents (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL)")
        database.executemany("INSERT INTO documents VALUES (?, ?)", enumerate(documents.ids))
        database.execute(
            "CREATE TABLE fields (field TEXT, value TEXT, number INTEGER, PRIMARY KEY (field, value, number)) "
            "WITHOUT ROWID"
        )
        if documents.metadata is not None:
            database.executemany(
                "INSERT INTO fields VALUES (?, ?, ?)",
                (
                    (field, in_words(value), number)
                    for number, one in enumerate(documents.metadata)
                    for field, value in one.items()
                    if value is not None
                ),
            )


def in_words(value: object) -> str:
    """Return a metadata value as a filter names it: as JSON has it, strings as they are."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _write_texts(path: Path, documents: Documents) -> None:
    schema = pa.schema([("text", pa.string()), ("metadata", pa.string())])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for start in range(0, len(documents.ids), _TEXT_ROWS):
            some = slice(start, min(start + _TEXT_ROWS, len(documents.ids)))
            nothing = [None] * (some.stop - some.start)
            texts = list(documents.texts[some]) if documents.texts is not None else nothing
            known = [json.dumps(one, ensure_ascii=False) for one in (documents.metadata or [])[some]] or nothing
            writer.write_batch(pa.record_batch([pa.array(texts, pa.string()), pa.array(known, pa.string())], schema))


def write_structure(path: Path, index: Any) -> None:  # noqa: ANN401
    """Write a FAISS index; a graph over the float vectors without a second copy of them."""
    flags = faiss.IO_FLAG_SKIP_STORAGE if isinstance(index, faiss.IndexHNSWFlat) else 0
    faiss.write_index(index, str(path), flags)
