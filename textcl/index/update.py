"""Adding, deleting, replacing and compacting: each makes the next generation of an index, or none.

Documents that are added make a shard of their own: a small one is searched exactly, so that nothing has to be learnt,
a large one gets the structure of the index's first one, with the same cells. Deleted documents stay in their shard and
are passed over. `compact` writes what is left as one shard.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textcl.artifacts import flush_file, flush_folder, flush_tree
from textcl.errors import DataError
from textcl.index.build import counted, new_name, shard_facts
from textcl.index.checks import check_documents, check_vectors
from textcl.index.generations import commit, writing
from textcl.index.grow import CHUNK_ROWS, chunks, fill, train, write_faiss
from textcl.index.shard_files import (
    SEARCH_FILE,
    VECTORS_FILE,
    Documents,
    write_documents,
    write_structure,
    write_vectors,
)
from textcl.index.shards import Shard, load_structure
from textcl.index.store import SHARDS, Index
from textcl.progress import Progress, quiet

EXACT_ROWS = 20_000  # a shard of fewer has no structure: looking at all of its rows takes a millisecond or two


def add(
    folder: Path,
    *,
    vectors: NDArray[np.float32],
    documents: Documents,
    encoder: Mapping[str, Any] | None = None,
    replace: bool = False,
    progress: Progress = quiet,
) -> int:
    """Add documents to an index; return how many documents of it were replaced.

    Args:
        folder: The index folder.
        vectors: (rows, D) float32, of the encoder that made the index.
        documents: Their ids and what else the index keeps.
        encoder: The `ENCODER_FACTS` of what made the vectors; None where only its width is known.
        replace: A document whose id is there takes its place; without it that is an error.
        progress: Told of rows added.

    Raises:
        ConfigError: If another process is writing the index.
        ShapeError, DataError: As `build_index`; or if an id is there already.
        ArtifactError: If the index is damaged, or the disk is full; the index is then as it was.
    """
    with writing(folder) as index:
        if encoder is not None:
            index.check_encoder(encoder)
        check_documents(documents, vectors, index.dimension)
        longest = check_vectors(vectors, documents, normalised=index.normalised)
        old = index.places_of(documents.ids)
        if old and not replace:
            one = next(name for name in documents.ids if name in old)
            problem = f"{len(old)} documents are in the index already, the first {one!r}; add --replace to replace them"
            raise DataError(problem, folder)
        if (documents.texts is not None) != index.manifest["texts"]:
            has = "keeps texts" if index.manifest["texts"] else "keeps no texts"
            raise DataError(f"the index {has}, what is added must be like it", folder)
        with _new_shard(index) as (name, shard):
            write_vectors(shard / VECTORS_FILE, counted(vectors, progress), vectors.shape)
            write_documents(shard, documents)
            model = next((one for one in index.shards if one.structure is not None), None)
            has_structure = model is not None and len(vectors) >= EXACT_ROWS
            if model is not None and has_structure:
                made = load_structure(model)
                made.reset()  # what it has learnt stays
                fill(made, chunks(vectors), len(vectors), progress=progress)
                write_faiss(lambda: write_structure(shard / SEARCH_FILE, made), str(folder))
        entries, files = _marked(index, old.values())
        entries.append(shard_facts(name, documents, structure=has_structure))
        changed = {
            "shards": entries,
            "longest": max(longest, index.longest),
            "fields": sorted({*index.manifest["fields"], *documents.fields()}),
        }
        commit(index, changed, [*files, *_files_of(folder, name)])
        return len(old)


def delete(folder: Path, ids: Sequence[str]) -> int:
    """Delete documents; return how many.

    Args:
        folder: The index folder.
        ids: Theirs.

    Raises:
        ConfigError: If another process is writing the index.
        DataError: If an id is not there; nothing is deleted then.
        ArtifactError: If the index is damaged, or the disk is full.
    """
    with writing(folder) as index:
        found = index.places_of(ids)
        if missing := [one for one in ids if one not in found]:
            raise DataError(f"{len(missing)} ids are not in the index, the first {missing[0]!r}", folder)
        if len(found) == index.documents:
            raise DataError(
                "these are all of its documents; an index cannot be empty, remove the folder instead", folder
            )
        entries, files = _marked(index, found.values())
        commit(index, {"shards": entries}, files)
        return len(found)


def compact(folder: Path, *, progress: Progress = quiet) -> None:
    """Write all documents that can be found as one shard, with one structure, and let the rest go.

    A structure that nothing was deleted from is gone on with; otherwise its cells are kept and its rows added anew.

    Raises:
        ConfigError: If another process is writing the index.
        ArtifactError: If the index is damaged, or the disk is full; the index is then as it was.
    """
    with writing(folder) as index:
        if len(index.shards) == 1 and index.live[0] is None:
            return
        order = sorted(range(len(index.shards)), key=lambda place: not _is_base(index, place))
        with _new_shard(index) as (name, shard):
            documents = _gathered(index, order)
            rows = documents.rows
            with progress("write vectors", rows) as advance:
                write_vectors(shard / VECTORS_FILE, _told(_live_rows(index, order), advance), (rows, index.dimension))
            write_documents(shard, documents)
            if not index.family.is_flat:
                made = _structure_for(index, order, progress)
                fill(made, _live_rows(index, order, int(made.ntotal)), rows, progress=progress)
                write_faiss(lambda: write_structure(shard / SEARCH_FILE, made), str(folder))
        entry = shard_facts(name, documents, structure=not index.family.is_flat)
        commit(index, {"shards": [entry], "trained_rows": 0}, _files_of(folder, name))


@contextmanager
def _new_shard(index: Index) -> Iterator[tuple[str, Path]]:
    """Yield the name and folder of a shard that stands on disk, whole, when the block ends well."""
    name = new_name()
    folder = index.folder / SHARDS / name
    folder.mkdir()
    try:
        yield name, folder
        flush_tree(folder)
        flush_folder(folder.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _files_of(folder: Path, name: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted((folder / SHARDS / name).iterdir())]


def _marked(index: Index, places: Any) -> tuple[list[dict[str, Any]], list[str]]:  # noqa: ANN401
    """Write which documents are deleted once those at `places` are too; return all entries, and the new files."""
    entries = [dict(facts) for facts in index.manifest["shards"]]
    gone: dict[int, list[int]] = {}
    for place, number in places:
        gone.setdefault(place, []).append(number)
    files = []
    for place, numbers in gone.items():
        deleted = index.deleted_of(place).copy()
        deleted[numbers] = True
        name = f"{SHARDS}/{entries[place]['name']}/deleted-{index.manifest['generation'] + 1}.npy"
        np.save(index.folder / name, np.flatnonzero(deleted))
        flush_file(index.folder / name)
        flush_folder((index.folder / name).parent)
        entries[place]["deleted"] = name
        files.append(name)
    return entries, files


def _is_base(index: Index, place: int) -> bool:
    """Tell whether a shard's structure can be gone on with."""
    return index.shards[place].structure is not None and index.live[place] is None


def _structure_for(index: Index, order: Sequence[int], progress: Progress) -> Any:  # noqa: ANN401
    """Return what the rows in this order are added to; the first ones may be in it."""
    if _is_base(index, order[0]):
        return load_structure(index.shards[order[0]])
    for shard in index.shards:
        if shard.structure is not None:
            made = load_structure(shard)
            made.reset()  # what it has learnt stays
            return made
    largest = max(index.shards, key=lambda shard: shard.rows)
    return train(index.family, largest.vectors, int(index.manifest["seed"]), progress)


def _live_rows(index: Index, order: Sequence[int], start: int = 0) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors that can be found, shard by shard in this order, without the first `start`."""
    for place in order:
        shard, mask = index.shards[place], index.live[place]
        rows = np.arange(shard.rows) if mask is None else np.flatnonzero(mask)
        skipped = min(start, len(rows))
        start -= skipped
        for first in range(skipped, len(rows), CHUNK_ROWS):
            yield np.ascontiguousarray(shard.vectors[rows[first : first + CHUNK_ROWS]])


def _told(blocks: Iterator[NDArray[np.float32]], advance: Any) -> Iterator[NDArray[np.float32]]:  # noqa: ANN401
    for block in blocks:
        yield block
        advance(len(block))


def _gathered(index: Index, order: Sequence[int]) -> Documents:
    """Return what the index keeps of the documents that can be found."""
    ids: list[str] = []
    contents: list[tuple[str | None, dict[str, Any]]] = []
    passages: list[NDArray[np.int64]] = []
    for place in order:
        shard, kept = index.shards[place], ~index.deleted_of(place)
        numbers = np.flatnonzero(kept).tolist()
        names = shard.ids_of(numbers)
        passages.append(_passages(shard, kept, len(ids)))
        ids += [names[number] for number in numbers]
        contents += [shard.text_of(number) for number in numbers]
    texts = [text or "" for text, _ in contents] if index.manifest["texts"] else None
    known = [one for _, one in contents] if index.manifest["fields"] else None
    return Documents(ids, texts, known, np.concatenate(passages) if index.has_passages else None)


def _passages(shard: Shard, kept: NDArray[np.bool_], before: int) -> NDArray[np.int64]:
    """Return the passages of the documents that are kept, which get the numbers from `before` on."""
    new = np.cumsum(kept) - 1 + before
    if shard.passages is None:
        numbers = np.flatnonzero(kept)
        lengths = [len(shard.text_of(int(number))[0] or "") for number in numbers]
        return np.stack([new[numbers], np.zeros_like(numbers), np.array(lengths, dtype=np.int64)], axis=1)
    some = np.array(shard.passages)
    some = some[kept[some[:, 0]]]
    some[:, 0] = new[some[:, 0]]
    return some
