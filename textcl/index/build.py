"""Vectors, ids and texts → an index folder, written whole or not at all; `store.py` says what lies in it."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from textcl.artifacts import commit_manifest, describe_files, fingerprint, flush_file, flush_folder, flush_tree
from textcl.errors import ConfigError
from textcl.index.checks import check_documents, check_encoder_facts, check_vectors
from textcl.index.families import Family, default_settings, family_of
from textcl.index.grow import check_enough, chunks, fill, train, write_faiss
from textcl.index.shard_files import (
    SEARCH_FILE,
    VECTORS_FILE,
    Documents,
    write_documents,
    write_structure,
    write_vectors,
)
from textcl.index.store import (
    FORMAT_VERSION,
    KIND,
    SHARDS,
    Index,
    open_index,
)
from textcl.progress import Progress, quiet
from textcl.unfinished import UNFINISHED, Unfinished, check_resumable, resumable_folder

_PARTIAL = "partial.faiss"
FILTER_FROM = 0.2  # share of allowed rows from which an untuned index is searched by its structure


@dataclass(frozen=True)
class _Making:
    """What is made: checked vectors and documents, and the facts of the manifest that are known before."""

    vectors: NDArray[np.float32]
    documents: Documents
    family: Family
    seed: int
    longest: float
    cutting: Mapping[str, Any] | None


def build_index(
    out: Path,
    *,
    vectors: NDArray[np.float32],
    ids: Sequence[str],
    texts: Sequence[str] | None,
    encoder: Mapping[str, Any],
    metadata: Sequence[Mapping[str, Any]] | None = None,
    passages: NDArray[np.int64] | None = None,
    cutting: Mapping[str, Any] | None = None,
    normalised: bool = True,
    factory: str = "Flat",
    seed: int = 0,
    resume: bool = False,
    force: bool = False,
    progress: Progress = quiet,
) -> Index:
    """Write an inner-product index of `vectors` to the folder `out` and return it, open.

    Everything is checked before anything is written. What a kill interrupts waits beside `out`, and `resume` goes on
    with it: trained cells are not trained again, and rows are added from the last minute on.

    Args:
        out: The folder; it must not exist unless `force`.
        vectors: (rows, D) float32, in memory or memory-mapped; read in chunks.
        ids: N different ids, none empty.
        texts: N texts, or None to keep none.
        encoder: What made the vectors, kept in the manifest: at least the `ENCODER_FACTS` and `model`.
        metadata: N mappings of fields to strings, numbers, truth values or None; hits have them, filters ask for them.
        passages: As `Documents` has it; None where each vector is a document.
        cutting: How passages were cut, for those that are added later.
        normalised: The vectors have length 1, and queries will; False skips both checks.
        factory: FAISS factory string; `Flat` is exact.
        seed: Of the rows that cells are learnt from.
        resume: Go on with what an interrupted build of the same left.
        force: Replace an index that stands at `out`.
        progress: Told of rows trained on and added.

    Raises:
        ConfigError: If `out` exists and may not be replaced, `encoder` lacks a fact, or the factory string cannot be
            had or needs more rows.
        ShapeError: If `vectors` is not (rows, D), has another D than `encoder` says, or a list another length.
        DataError: If there is no vector, one is not finite or not of length 1, an id is empty or comes twice, or an
            id or text cannot be written as UTF-8.
        ArtifactError: If there is nothing to go on with, or it began with something else.
    """
    started = time.perf_counter()
    check_resumable(out, resume=resume, force=force)
    documents = Documents(ids, texts, metadata, passages)
    check_encoder_facts(encoder)
    check_documents(documents, vectors, int(encoder["dimension"]))
    family = family_of(factory, vectors.shape[1])
    check_enough(family, len(vectors))
    longest = check_vectors(vectors, documents, normalised=normalised)
    making = _Making(vectors, documents, family, seed, longest, cutting)
    with resumable_folder(out, resume=resume, force=force) as unfinished:
        digest = fingerprint(_parts(making, encoder))
        name = digest[:8]  # a reader never takes the files of another index for those of this one
        shard = unfinished.folder / SHARDS / name
        _begin(unfinished, shard, making, digest, progress)
        if not family.is_flat:
            _make_structure(unfinished, shard, making, progress)
        facts = {
            "generation": 1,
            "faiss_version": faiss.__version__,
            "factory": factory,
            "metric": "inner_product",
            "normalised": normalised,
            "dimension": vectors.shape[1],
            "longest": longest,
            "texts": texts is not None,
            "fields": documents.fields(),
            "cutting": None if cutting is None else dict(cutting),
            "encoder": dict(encoder),
            "seed": seed,
            "search": default_settings(family).to_json(),
            "filter_from": FILTER_FROM,
            "promise": None,
            "curve": [],
            "build": {
                "seconds": round(time.perf_counter() - started, 3),
                "peak_mib": peak_mib(),
                "threads": faiss.omp_get_max_threads(),
                "predicted_disk_bytes": family.disk_bytes(len(vectors)),
                "predicted_memory_bytes": family.memory_bytes(len(vectors)),
            },
            "trained_rows": len(vectors) if family.fewest_training_rows else 0,
            "shards": [shard_facts(name, documents, structure=not family.is_flat)],
        }
        names = [path.relative_to(unfinished.folder).as_posix() for path in sorted(shard.iterdir())]
        for path in unfinished.folder.iterdir():  # what kills left
            if path.name not in (SHARDS, UNFINISHED):
                path.unlink()
        commit_manifest(unfinished.folder, KIND, FORMAT_VERSION, facts, describe_files(unfinished.folder, names))
    return open_index(out)


def new_name() -> str:
    """Return a name for a shard that no other has."""
    return uuid.uuid4().hex[:8]


def shard_facts(name: str, documents: Documents, *, structure: bool) -> dict[str, Any]:
    """Return a new shard's entry in the manifest."""
    return {
        "name": name, "rows": documents.rows, "documents": len(documents.ids), "structure": structure, "deleted": None,
    }  # fmt: skip


def peak_mib() -> int:
    """Return the most memory that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)


def _begin(unfinished: Unfinished, shard: Path, making: _Making, digest: str, progress: Progress) -> None:
    """Write what needs no learning, or see that it was written of the same."""
    if (state := unfinished.read()) is not None:
        if state["digest"] != digest:
            problem = "the interrupted build was of other vectors, documents or settings; add --force to start anew"
            raise ConfigError("resume", problem=problem)
        return
    shutil.rmtree(unfinished.folder / SHARDS, ignore_errors=True)
    shard.mkdir(parents=True)
    write_vectors(shard / VECTORS_FILE, counted(making.vectors, progress), making.vectors.shape)
    write_documents(shard, making.documents)
    flush_tree(unfinished.folder)
    unfinished.save({"digest": digest})


def _parts(making: _Making, encoder: Mapping[str, Any]) -> Iterator[str | bytes]:
    """Yield all that a build is made of, the vectors last and a block at a time."""
    documents, known = making.documents, making.documents.metadata
    yield json.dumps([making.family.factory, making.seed, encoder["fingerprint"], making.cutting])
    yield json.dumps([len(documents.ids), documents.texts is not None, known is not None])
    yield from documents.ids
    yield from documents.texts or ()
    yield from (json.dumps(one, sort_keys=True, default=str) for one in known or ())
    if documents.passages is not None:
        yield documents.passages.tobytes()
    yield from (block.tobytes() for block in chunks(making.vectors))


def _make_structure(unfinished: Unfinished, shard: Path, making: _Making, progress: Progress) -> None:
    """Train and fill, from where an earlier process was; the finished structure is the last file of the shard."""
    partial = unfinished.folder / _PARTIAL
    if (shard / SEARCH_FILE).is_file():
        partial.unlink(missing_ok=True)
        return

    def save(index: Any) -> None:  # noqa: ANN401 (faiss has no types)
        beside = partial.with_suffix(".new")
        write_faiss(lambda: faiss.write_index(index, str(beside)), str(partial))
        _put(beside, partial)

    if partial.is_file():
        index = faiss.read_index(str(partial))
    else:
        index = train(making.family, making.vectors, making.seed, progress)
        save(index)
    rest = chunks(making.vectors, int(index.ntotal))
    fill(index, rest, len(making.vectors), progress=progress, save=save)
    beside = partial.with_suffix(".new")
    write_faiss(lambda: write_structure(beside, index), str(shard / SEARCH_FILE))
    _put(beside, shard / SEARCH_FILE)
    partial.unlink()


def _put(beside: Path, target: Path) -> None:
    """Let a file that is on disk take its place, so that it is never found there half."""
    flush_file(beside)
    beside.replace(target)
    flush_folder(target.parent)


def counted(vectors: NDArray[np.float32], progress: Progress) -> Iterator[NDArray[np.float32]]:
    """Yield the same, and tell of it."""
    with progress("write vectors", len(vectors)) as advance:
        for block in chunks(vectors):
            yield block
            advance(len(block))
