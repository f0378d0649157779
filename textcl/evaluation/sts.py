"""Sentence similarity: how well cosines of pairs follow what people said of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from textcl.errors import DataError, ShapeError

_CONSTANT = 1e-12  # cosines below this apart differ by rounding only


@dataclass(frozen=True)
class StsResult:
    """Correlations in [-1, 1] of cosine similarities with gold scores over `pairs` pairs."""

    spearman: float
    pearson: float
    pairs: int

    def to_json(self) -> dict[str, float]:
        """Return the three values by their names."""
        return asdict(self)


def score_sts(first: NDArray[np.float32], second: NDArray[np.float32], gold: NDArray[np.float64]) -> StsResult:
    """Return how the cosines of `first` and `second`, row by row, correlate with `gold`.

    Args:
        first: (N, D) embeddings of the first sentences, of any length but 0; N at least 2.
        second: (N, D) embeddings of the second sentences.
        gold: (N,) similarities given by people, on any scale; higher is more alike.

    Raises:
        ShapeError: If the shapes do not agree or N is below 2.
        DataError: If a value is not finite, an embedding is 0, or the cosines or gold scores are all equal, where no
            correlation exists.

    References:
        Cer et al. (2017), SemEval-2017 task 1 (Pearson); Reimers et al. (2016), Task-oriented intrinsic evaluation of
        semantic textual similarity (Spearman).
    """
    if first.ndim != 2 or len(first) < 2:
        raise ShapeError("first", first.shape, "(N, D) with N at least 2")
    if second.shape != first.shape:
        raise ShapeError("second", second.shape, f"{first.shape}, as first")
    if gold.shape != (len(first),):
        raise ShapeError("gold", gold.shape, f"({len(first)},), one score a pair")
    scores = np.asarray(gold, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise DataError(f"pair {bad[0] + 1}: its gold score is {scores[bad[0]]}; give every pair a number")
    cosines = np.einsum("nd,nd->n", _unit(first, "first"), _unit(second, "second"))
    for name, values in (("cosine similarities", cosines), ("gold scores", scores)):
        if np.ptp(values) <= _CONSTANT:
            raise DataError(f"all {len(values)} {name} are {values[0]:.6g}; a correlation needs values that differ")
    return StsResult(
        spearman=float(scipy.stats.spearmanr(cosines, scores).statistic),
        pearson=float(scipy.stats.pearsonr(cosines, scores).statistic),
        pairs=len(scores),
    )


def _unit(rows: NDArray[np.float32], name: str) -> NDArray[np.float64]:
    wide = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        problem = f"pair {bad[0] + 1}: the embedding of its {name} sentence is 0 or not finite; encode it again"
        raise DataError(problem)
    unit: NDArray[np.float64] = wide / lengths[:, None]
    return unit
