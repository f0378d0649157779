"""Embeddings as every evaluation takes them: finite rows that have a direction, scaled to unit length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textcl.errors import DataError, ShapeError

Vectors = NDArray[np.float32] | NDArray[np.float64]

GRAIN = np.float64(2.0**-24)
"""Cosines are told apart to this: encoders compute in float32, and the order of a sum changes a float64 far less."""


def unit_rows(
    rows: Vectors, name: str, *, faulty: str = "text {}: its embedding", least: int = 1
) -> NDArray[np.float64]:
    """Return rows at unit length, (N, D) float64.

    Args:
        rows: (N, D) embeddings, of any length but 0.
        name: The argument's, for errors.
        faulty: What an error says of a row, with `{}` for its number, counted from 1.
        least: The fewest rows.

    Raises:
        ShapeError: If `rows` is not (N, D) with N at least `least` and D at least 1.
        DataError: If a row is 0 or not finite.
    """
    if rows.ndim != 2 or len(rows) < least or rows.shape[1] == 0:
        raise ShapeError(name, rows.shape, f"(N, D) with N at least {least}")
    wide = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        raise DataError(f"{faulty.format(bad[0] + 1)} is 0 or not finite; encode it again")
    unit: NDArray[np.float64] = wide / lengths[:, None]
    return unit


def pair_cosines(first: Vectors, second: Vectors, *, least: int = 1) -> NDArray[np.float64]:
    """Return the cosine of each row of `first` with that of `second`, (N,) in [-1, 1].

    Raises:
        ShapeError: If the two are not (N, D) alike, with N at least `least`.
        DataError: If a row is 0 or not finite.
    """
    if first.ndim != 2 or len(first) < least:
        raise ShapeError("first", first.shape, f"(N, D) with N at least {least}")
    if second.shape != first.shape:
        raise ShapeError("second", second.shape, f"{first.shape}, as first")
    sides = [
        unit_rows(rows, name, faulty=f"pair {{}}: the embedding of its {name} sentence")
        for name, rows in (("first", first), ("second", second))
    ]
    cosines: NDArray[np.float64] = np.einsum("nd,nd->n", *sides).clip(-1, 1)
    return cosines


def grains(cosines: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return cosines as whole numbers of `GRAIN`, so that those which differ by rounding alone are equal, also near 0.

    Each, times `GRAIN`, is exactly a float32.
    """
    whole: NDArray[np.int64] = np.rint(cosines.clip(-1, 1) / GRAIN).astype(np.int64)
    return whole
