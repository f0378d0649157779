"""Vectors → a trained and filled FAISS index, in chunks, with a checkpoint now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ArtifactError, ConfigError
from textcl.index.families import Family, new_index
from textcl.progress import Progress, quiet
from textcl.randomness import permutation

CHUNK_ROWS = 8192
_ROWS_A_CELL = 64  # that k-means sees; FAISS warns below 39 and uses 256 at most
_FEWEST_SAMPLED = 20_000  # enough for the ranges of a scalar quantiser and the codebooks of 4 bits
_SAVE_SECONDS = 60.0


def chunks(vectors: NDArray[np.float32], start: int = 0) -> Iterator[NDArray[np.float32]]:
    """Yield the rows from `start` on, some thousand at a time, contiguous float32."""
    for first in range(start, len(vectors), CHUNK_ROWS):
        yield np.ascontiguousarray(vectors[first : first + CHUNK_ROWS], dtype=np.float32)


def training_rows(family: Family, rows: int, seed: int) -> NDArray[np.int64]:
    """Return which rows a family is trained on, drawn at random, rising; from the same seed the same.

    Files are often sorted by date, length or source, so that their first rows stand for themselves alone.
    """
    wanted = min(rows, max(_FEWEST_SAMPLED, _ROWS_A_CELL * family.cells))
    return np.sort(permutation(rows, "index training", seed)[:wanted])


def check_enough(family: Family, rows: int) -> None:
    """Raise ConfigError if so few rows cannot train the family."""
    if rows < family.fewest_training_rows:
        what = f"{family.cells} cells" if family.fewest_training_rows == family.cells else "its codes"
        problem = (
            f"{family.factory} needs at least {family.fewest_training_rows} rows to learn {what}, there are {rows}"
        )
        raise ConfigError("factory", problem=f"{problem}; use Flat, or fewer cells")


def train(family: Family, vectors: NDArray[np.float32], seed: int, progress: Progress = quiet) -> Any:  # noqa: ANN401
    """Return an empty FAISS index, trained on some of `vectors` (N, D)."""
    index = new_index(family.factory, family.dimension)
    if index.is_trained:
        return index
    rows = training_rows(family, len(vectors), seed)
    with progress(f"train {family.factory}", len(rows)) as advance:
        index.train(np.ascontiguousarray(vectors[rows]))
        advance(len(rows))
    return index


def fill(
    index: Any,  # noqa: ANN401 (faiss has no types)
    blocks: Iterable[NDArray[np.float32]],
    rows: int,
    *,
    progress: Progress = quiet,
    save: Callable[[Any], None] | None = None,
) -> None:
    """Add vectors to a trained FAISS index.

    Args:
        index: It may hold the first ones already.
        blocks: (n, D) each: those that are missing, in order.
        rows: How many there are in all.
        progress: Told of vectors added.
        save: Called once a minute with the index as far as it is.
    """
    saved = time.monotonic()
    with progress("indexing", rows) as advance:
        advance(int(index.ntotal))
        for block in blocks:
            index.add(np.ascontiguousarray(block, dtype=np.float32))
            advance(len(block))
            if save is not None and time.monotonic() - saved > _SAVE_SECONDS:
                save(index)
                saved = time.monotonic()


def write_faiss(write: Callable[[], None], what: str) -> None:
    """Call a writer of FAISS; ArtifactError where the disk takes no more."""
    try:
        write()
    except RuntimeError as error:
        raise ArtifactError(what, f"cannot be written: {str(error).rsplit('Error: ', 1)[-1]}; make room") from error
