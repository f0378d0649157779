"""The nearest rows by cosine, exactly and in one order for any size of block."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError
from textcl.evaluation.ranking import top_documents
from textcl.progress import Progress, quiet


def check_neighbours(k: int, most: int) -> None:
    """Raise ConfigError unless `k` is from 1 to `most`, the texts that can be a neighbour."""
    if not 1 <= k <= most:
        raise ConfigError("k", k, f"a number of neighbours from 1 to {most}, as many as there are texts to be one")


def nearest_rows(
    queries: NDArray[np.float64],
    reference: NDArray[np.float64],
    k: int,
    *,
    among_themselves: bool = False,
    chunk_rows: int = 8192,
    progress: Progress = quiet,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows of `reference` nearest to each query, and their cosines, (Q, k) both.

    The order is cosine (as float32) descending, then row ascending. Memory beside the arguments is that of one chunk.

    Args:
        queries: (Q, D) of unit length.
        reference: (N, D) of unit length.
        k: Rows a query, from 1 to N; with `among_themselves` to N - 1.
        among_themselves: The queries are the reference, and no row is its own neighbour.
        chunk_rows: Rows of the reference compared at once.
        progress: Told of rows of the reference.

    Raises:
        ConfigError: If `k` is out of range.
    """
    check_neighbours(k, len(reference) - among_themselves)
    # The canonical ranking puts the greater id first among equals; the greatest here is that of row 0.
    names = [f"{len(reference) - row:012d}" for row in range(len(reference))]
    asked = names if among_themselves else [str(row) for row in range(len(queries))]
    # It computes in float64 whatever it gets.
    asked_rows, known_rows = (cast("NDArray[np.float32]", rows) for rows in (queries, reference))
    run = top_documents(
        asked_rows, asked, known_rows, names, k + among_themselves, chunk_rows=chunk_rows, progress=progress
    )
    rows = np.empty((len(queries), k), dtype=np.int64)
    cosines = np.empty((len(queries), k), dtype=np.float32)
    for place, name in enumerate(asked):
        others = [(found, score) for found, score in run[name] if not (among_themselves and found == name)][:k]
        rows[place] = [len(reference) - int(found) for found, _score in others]
        cosines[place] = [score for _found, score in others]
    return rows, cosines
