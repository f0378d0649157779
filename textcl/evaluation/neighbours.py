"""The nearest rows by cosine, exactly and in one order for any size of block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError
from textcl.evaluation.vectors import GRAIN, grains
from textcl.progress import Progress, quiet

_QUERY_ROWS = 256  # compared at once: with the default chunk some 30 MB
_NOTHING = np.iinfo(np.int64).min
_LOW = np.int64(0xFFFFFFFF)


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
    chunk_rows: int = 4096,
    progress: Progress = quiet,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows of `reference` nearest to each query, and their cosines, (Q, k) both.

    The order is cosine (to `vectors.GRAIN`) descending, then row ascending. Memory beside the arguments is that of one
    chunk and of Q * k keys of 8 bytes.

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
    best = np.full((len(queries), k), _NOTHING)
    with progress("comparing", len(reference)) as advance:
        for start in range(0, len(reference), chunk_rows):
            rows = np.arange(start, min(start + chunk_rows, len(reference)))
            for first in range(0, len(queries), _QUERY_ROWS):
                some = slice(first, first + _QUERY_ROWS)
                # One number for the whole order: the cosine above the row counted from the end.
                keys = (grains(queries[some] @ reference[start : start + chunk_rows].T) << 32) | (_LOW - rows)
                if among_themselves:
                    keys[np.arange(first, first + len(keys))[:, None] == rows] = _NOTHING
                both = np.concatenate([best[some], keys], axis=1)
                best[some] = np.partition(both, both.shape[1] - k, axis=1)[:, -k:]
            advance(len(rows))
    best = np.sort(best, axis=1)[:, ::-1]
    found: NDArray[np.int64] = _LOW - (best & _LOW)
    cosines: NDArray[np.float64] = (best >> 32) * GRAIN
    return found, cosines
