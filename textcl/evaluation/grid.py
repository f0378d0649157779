"""Quality against bytes: embeddings of fewer dimensions and coarser numbers, measured as an index stores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, ShapeError
from textcl.evaluation.vectors import Vectors, unit_rows

Measure = Callable[[NDArray[np.float32], NDArray[np.float32]], Mapping[str, float]]
"""Vectors of documents (N, D) and of queries (Q, D) → name → value."""

_LEVELS = 255


@dataclass(frozen=True)
class GridCell:
    """One way to store embeddings.

    Args:
        dimension: Dimensions kept.
        quantisation: "float32", "float16", "int8" or "binary".
        bytes: Of a stored vector, without its id.
        measures: Name → value.
    """

    dimension: int
    quantisation: str
    bytes: int
    measures: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return every field by its name."""
        return asdict(self)


def keep_dimensions(embeddings: Vectors, dimension: int) -> NDArray[np.float32]:
    """Return the first dimensions of embeddings, scaled to unit length again, (N, dimension).

    Raises:
        ConfigError: If `dimension` is not in 1 … D.
        DataError: If nothing of a row is left, or it is not finite.

    References:
        Kusupati et al. (2022), Matryoshka representation learning, arXiv:2205.13147.
    """
    if not 1 <= dimension <= embeddings.shape[-1]:
        raise ConfigError("dimensions", dimension, f"a number from 1 to {embeddings.shape[-1]}, the encoder's own")
    kept: NDArray[np.float32] = unit_rows(embeddings[:, :dimension], "embeddings").astype(np.float32)
    return kept


def quantise(
    vectors: NDArray[np.float32], quantisation: str, calibration: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return what is left of vectors that were stored coarsely and read again, (N, D).

    Args:
        vectors: (N, D).
        quantisation: "float32" (as it is), "float16", "int8" (256 even levels for each dimension, from the least to the
            greatest value of the calibration sample; values beyond are clipped) or "binary" (the sign; 0 is above).
        calibration: (C, D), for int8; None takes the vectors themselves.

    Raises:
        ConfigError: If `quantisation` is unknown.
        ShapeError: If the calibration sample is of another width, or empty.
    """
    if quantisation not in BYTES:
        raise ConfigError("quantisations", quantisation, f"one of {', '.join(BYTES)}")
    if quantisation == "float32":
        return vectors
    if quantisation == "float16":
        return vectors.astype(np.float16).astype(np.float32)
    if quantisation == "binary":
        size = np.float32(vectors.shape[1] ** -0.5)
        return np.where(vectors >= 0, size, -size)
    sample = vectors if calibration is None else calibration
    if sample.ndim != 2 or not len(sample) or sample.shape[1] != vectors.shape[1]:
        raise ShapeError("calibration", sample.shape, f"(C, {vectors.shape[1]}) with C at least 1")
    low, high = sample.min(axis=0).astype(np.float64), sample.max(axis=0).astype(np.float64)
    step = (high - low) / _LEVELS
    codes = np.rint((vectors - low) / np.where(step > 0, step, 1)).clip(0, _LEVELS)
    decoded: NDArray[np.float32] = (low + codes * step).astype(np.float32)
    return decoded


BYTES: dict[str, Callable[[int], int]] = {
    "float32": lambda dimension: 4 * dimension,
    "float16": lambda dimension: 2 * dimension,
    "int8": lambda dimension: dimension,
    "binary": lambda dimension: -(-dimension // 8),
}
"""Quantisation → bytes of a vector with so many dimensions."""


def quality_grid(
    documents: Vectors,
    queries: Vectors,
    measure: Measure,
    *,
    dimensions: Sequence[int],
    quantisations: Sequence[str] = tuple(BYTES),
    calibration: Vectors | None = None,
    quantise_queries: bool = False,
) -> list[GridCell]:
    """Return what `measure` says of every kept dimension with every quantisation, in the order given.

    Args:
        documents: (N, D), of any length but 0.
        queries: (Q, D), likewise.
        measure: Asked once for each cell. Its vectors are float32; int8 and binary ones are no longer of unit length.
        dimensions: Each in 1 … D.
        quantisations: Of `BYTES`.
        calibration: (C, D) that int8 takes its ranges from; None takes the documents.
        quantise_queries: Store the queries as coarsely too; an index that is searched with full queries does not.

    Raises:
        ConfigError: If a dimension or a quantisation is out of range, or there is none.
        DataError: If an embedding is not finite, or nothing of it is left.
        ShapeError: If widths differ.
    """
    for field, values in (("dimensions", dimensions), ("quantisations", quantisations)):
        if not len(values):
            raise ConfigError(field, list(values), "at least one")
    for name in quantisations:
        if name not in BYTES:
            raise ConfigError("quantisations", name, f"one of {', '.join(BYTES)}")
    if queries.shape[-1] != documents.shape[-1]:
        raise ShapeError("queries", queries.shape, f"(Q, {documents.shape[-1]}), as wide as documents")
    cells = []
    for dimension in dimensions:
        stored, asked = keep_dimensions(documents, dimension), keep_dimensions(queries, dimension)
        sample = stored if calibration is None else keep_dimensions(calibration, dimension)
        for name in quantisations:
            question = quantise(asked, name, sample) if quantise_queries else asked
            found = measure(quantise(stored, name, sample), question)
            cells.append(GridCell(dimension, name, BYTES[name](dimension), dict(found)))
    return cells
