"""Texts are embedded once, into files that are mapped into memory: who asks the same encoder again waits no more."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import datasets
import numpy as np
from sentence_transformers import SentenceTransformer

from textcl.artifacts import MANIFEST, fingerprint, read_manifest, whole_folder, write_manifest
from textcl.encoder.embed import Embedded, embed_texts
from textcl.encoder.load import fingerprint_encoder
from textcl.errors import ArtifactError
from textcl.progress import Progress, quiet

_KIND, _VERSION, _FILE = "kept vectors", 1, "vectors.npy"
MOST_BYTES = 20 * 2**30
_DAY = 86_400.0


def cached_vectors(
    encoder: SentenceTransformer,
    texts: Sequence[str],
    *,
    prompt: str = "",
    cache: Path | None = None,
    most_bytes: int = MOST_BYTES,
    progress: Progress = quiet,
    description: str = "encode",
) -> Embedded:
    """Return the vectors of each text as `embed_texts` gives them, mapped from a file that is made at the first call.

    Args:
        encoder: Any change of its weights, settings or tokenizer makes other files.
        texts: N texts.
        prompt: Stands before each text.
        cache: Folder for the files, one folder below it for each (encoder, prompt, texts); None for the folder
            `textcl/vectors` in the cache of `datasets`.
        most_bytes: Files are removed, those first that were not asked for longest, until all are at most so large; the
            new ones stay.
        progress: Told the number of texts done, where they are embedded now.
        description: What the progress is called.
    """
    parent = cache if cache is not None else Path(datasets.config.HF_DATASETS_CACHE) / "textcl" / "vectors"
    limit = str(encoder.max_seq_length)
    folder = parent / fingerprint([str(_VERSION), fingerprint_encoder(encoder), prompt, limit, *texts])
    shape = (len(texts), encoder.get_embedding_dimension() or 0)
    with suppress(ArtifactError, OSError):  # not there, damaged, or being forgotten by another process: made now
        return _open(folder, shape)
    if folder.exists() and not (folder / MANIFEST).exists():
        _remove(folder)  # no other program's: its name is a digest, in our own folder
    with whole_folder(folder, force=True) as partial:
        vectors = new_vectors(partial / _FILE, shape)
        made = embed_texts(encoder, texts, prompt=prompt, out=vectors, progress=progress, description=description)
        vectors.flush()
        write_manifest(partial, _KIND, _VERSION, {"rows": len(texts), "cut_texts": made.cut_texts})
    _forget(parent, folder, most_bytes)
    vectors.flags.writeable = False
    return Embedded(vectors, made.cut_texts)


def new_vectors(path: Path, shape: tuple[int, int]) -> np.memmap[tuple[int, ...], np.dtype[np.float32]]:
    """Return vectors of a new .npy file, mapped to be written.

    Its bytes are taken from the disk now: one that is full says so, where a mapped page would kill the process.
    """
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return vectors


def _open(folder: Path, shape: tuple[int, int]) -> Embedded:
    manifest = read_manifest(folder, _KIND, _VERSION)
    try:
        vectors = np.load(folder / _FILE, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise ArtifactError(folder / _FILE, "is damaged: NumPy cannot read it") from error
    if vectors.shape != shape:
        raise ArtifactError(folder / _FILE, f"is damaged: expected shape {shape}, got {vectors.shape}")
    with suppress(OSError):  # a cache that others own is read all the same
        os.utime(folder / MANIFEST)  # asked for now: forgotten later than others
    return Embedded(vectors, int(manifest["cut_texts"]))


def _forget(parent: Path, new: Path, most_bytes: int) -> None:
    """Remove what was not asked for longest, and what kills left; whoever reads it now keeps what is mapped."""
    known = []
    for folder in parent.iterdir():
        with suppress(OSError):  # another process forgets too
            if folder.name.startswith("."):
                if folder.is_dir() and time.time() - folder.stat().st_mtime > _DAY:
                    shutil.rmtree(folder)
            else:
                known.append(((folder / MANIFEST).stat().st_mtime, (folder / _FILE).stat().st_size, folder))
    room = most_bytes - sum(size for _time, size, _folder in known)
    for _time, size, folder in sorted(known):
        if room < 0 and folder != new:
            _remove(folder)
            room += size


def _remove(folder: Path) -> None:
    """Remove a folder; what a kill in the middle leaves has another name, and is swept a day later."""
    gone = folder.with_name(f".{folder.name}.gone-{uuid.uuid4().hex}")
    with suppress(OSError):
        folder.rename(gone)
        shutil.rmtree(gone)
