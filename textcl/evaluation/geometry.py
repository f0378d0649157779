"""How embeddings lie on the sphere: alignment, uniformity, effective rank, hubs, near-duplicates, lengths.

Alignment and uniformity are those of `textcl/losses/hypersphere.py`, the effective rank that of
`textcl/training/health.py`, in NumPy; tests hold them together.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import scipy.special
import scipy.stats
from numpy.typing import NDArray

from textcl.errors import ConfigError, ShapeError
from textcl.evaluation.neighbours import nearest_rows
from textcl.evaluation.vectors import GRAIN, Vectors, unit_rows
from textcl.progress import Progress, quiet

_ROUNDING = float(np.finfo(np.float32).eps)  # encoders compute no finer, whatever the width here
_BLOCK_ROWS = 1024


@dataclass(frozen=True)
class Geometry:
    """How N embeddings lie; see the functions of this module for each.

    Args:
        texts: N; hubs, near-duplicates and effective rank depend on it.
        dimension: D.
        uniformity: At most 0; lower is more even.
        effective_rank: Dimensions that the embeddings vary in, at most min(N - 1, D).
        mean_cosine: Of different rows.
        hub_skew: Skewness of how often a row is among the k nearest of others; 0 without hubs.
        robin_hood: Share of neighbour places to be moved until all rows have k, in [0, 1].
        never_near_fraction: Share of rows that are among the k nearest of none.
        near_duplicate_fraction: Share of rows whose nearest other row has a cosine of at least `duplicate_cosine`.
        k: Neighbours.
        duplicate_cosine: What counts as a near-duplicate.
        alignment: Mean squared distance of pairs, in [0, 4]; None without pairs.
        length_mean: Mean length of the embeddings before they were scaled; None where not known.
        length_spread: Standard deviation of the lengths over their mean; 0 where the model scales to unit length.
    """

    texts: int
    dimension: int
    uniformity: float
    effective_rank: float
    mean_cosine: float
    hub_skew: float
    robin_hood: float
    never_near_fraction: float
    near_duplicate_fraction: float
    k: int
    duplicate_cosine: float
    alignment: float | None = None
    length_mean: float | None = None
    length_spread: float | None = None

    def to_json(self) -> dict[str, float | int | None]:
        """Return every field by its name."""
        return asdict(self)


def measure_geometry(
    embeddings: Vectors,
    *,
    partners: Vectors | None = None,
    lengths: NDArray[np.float32] | None = None,
    k: int = 10,
    duplicate_cosine: float = 0.95,
    progress: Progress = quiet,
) -> Geometry:
    """Return how embeddings lie on the unit sphere, from all pairs of them in blocks.

    Args:
        embeddings: (N, D), N at least 3, of any length but 0.
        partners: (N, D), row i means the same as row i of `embeddings`; None leaves out alignment.
        lengths: (N,) of the embeddings before they were scaled, above 0; None leaves out their spread.
        k: Neighbours for hubs, from 1 to N - 1.
        duplicate_cosine: Cosine from which two texts count as near-duplicates, in (0, 1].
        progress: Told of rows.

    Raises:
        ShapeError: If the shapes do not agree, or N is below 3.
        DataError: If an embedding is 0 or not finite.
        ConfigError: If `k` or `duplicate_cosine` is out of range.
    """
    if not 0 < duplicate_cosine <= 1:
        raise ConfigError("duplicate_cosine", duplicate_cosine, "a cosine in (0, 1]")
    rows = unit_rows(embeddings, "embeddings", least=3)
    if lengths is not None and lengths.shape != (len(rows),):
        raise ShapeError("lengths", lengths.shape, f"({len(rows)},), one a text")
    near, cosines = nearest_rows(rows, rows, k, among_themselves=True, progress=progress)
    occurrences = np.bincount(near.ravel(), minlength=len(rows))
    return Geometry(
        texts=len(rows),
        dimension=rows.shape[1],
        uniformity=uniformity(rows),
        effective_rank=effective_rank(rows),
        mean_cosine=mean_cosine(rows),
        hub_skew=hub_skew(occurrences),
        robin_hood=robin_hood(occurrences),
        never_near_fraction=float((occurrences == 0).mean()),
        near_duplicate_fraction=float((cosines[:, 0] >= duplicate_cosine - GRAIN / 2).mean()),
        k=k,
        duplicate_cosine=duplicate_cosine,
        alignment=None if partners is None else alignment(rows, partners),
        length_mean=None if lengths is None else float(np.mean(lengths, dtype=np.float64)),
        length_spread=None if lengths is None else length_spread(lengths),
    )


def alignment(first: Vectors, second: Vectors, alpha: float = 2.0) -> float:
    """Return how far apart pairs lie on the unit sphere, in [0, 2**alpha]; lower is closer.

    Args:
        first: (N, D), scaled to unit length here.
        second: (N, D), row i belongs to row i of `first`.
        alpha: Power of the distance, above 0.

    Raises:
        ConfigError: If `alpha` is out of range.
        ShapeError: If the shapes are not equal, or N is 0.

    References:
        Wang and Isola (2020), arXiv:2005.10242, alignment loss.
    """
    if not alpha > 0:
        raise ConfigError("alpha", alpha, "a number above 0")
    if second.shape != first.shape:
        raise ShapeError("second", second.shape, f"{first.shape}, as first")
    distances = np.linalg.norm(unit_rows(first, "first") - unit_rows(second, "second"), axis=1)
    return float((distances**alpha).mean())


def uniformity(embeddings: Vectors, t: float = 2.0) -> float:
    """Return how evenly embeddings cover the unit sphere, at most 0; lower is more even.

    Args:
        embeddings: (N, D), N at least 2, scaled to unit length here.
        t: Sharpness of the Gaussian kernel, above 0.

    Returns:
        Natural logarithm of the mean of exp(-t d²) over pairs of different rows.

    Raises:
        ConfigError: If `t` is out of range.
        ShapeError: If `embeddings` is not (N, D) with N at least 2.

    References:
        Wang and Isola (2020), arXiv:2005.10242, uniformity loss.
    """
    if not t > 0:
        raise ConfigError("t", t, "a number above 0")
    rows = unit_rows(embeddings, "embeddings", least=2)
    parts = []
    for start in range(0, len(rows), _BLOCK_ROWS):
        some = rows[start : start + _BLOCK_ROWS]
        exponents = -t * np.maximum(2 - 2 * (some @ rows[: start + len(some)].T), 0)  # rows before, and the block
        exponents[:, start:][np.triu_indices(len(some))] = -np.inf  # each pair once, and no row with itself
        parts.append(scipy.special.logsumexp(exponents))
    pairs = len(rows) * (len(rows) - 1) / 2
    return float(min(scipy.special.logsumexp(parts) - np.log(pairs), 0.0))


def effective_rank(embeddings: Vectors) -> float:
    """Return exp of the entropy of the singular values, normalised to sum 1, of the centred rows of unit length.

    It is from 1 to min(N - 1, D), and 0 if all rows are equal to float32's rounding. Centred, because a direction that
    all rows share tells no text from another.

    Args:
        embeddings: (N, D), N at least 2, scaled to unit length here.

    References:
        Roy and Vetterli (2007), The effective rank, EUSIPCO, Definition 1.
    """
    rows = unit_rows(embeddings, "embeddings", least=2)
    found = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    found = found[found > _ROUNDING * len(rows) ** 0.5]
    return float(np.exp(scipy.stats.entropy(found))) if len(found) else 0.0


def mean_cosine(embeddings: Vectors) -> float:
    """Return the mean cosine of different rows, (N, D) with N at least 2."""
    rows = unit_rows(embeddings, "embeddings", least=2)
    total = rows.sum(axis=0)
    return float(np.clip((total @ total - len(rows)) / (len(rows) * (len(rows) - 1)), -1, 1))


def hub_skew(occurrences: NDArray[np.int64]) -> float:
    """Return the skewness of k-occurrences, (N,): how often each row is among the k nearest of others; 0 if all equal.

    References:
        Radovanović, Nanopoulos and Ivanović (2010), Hubs in space, JMLR 11, section 2.
    """
    return 0.0 if np.ptp(occurrences) == 0 else float(scipy.stats.skew(occurrences))


def robin_hood(occurrences: NDArray[np.int64]) -> float:
    """Return the share of all places among the k nearest that had to be moved until all rows had equally many.

    Args:
        occurrences: (N,) with a sum above 0.

    References:
        Feldbauer et al. (2018), Fast approximate hubness reduction for large high-dimensional data, ICBK (the Hoover
        index of k-occurrences).
    """
    return float(np.abs(occurrences - occurrences.mean()).sum() / (2 * occurrences.sum()))


def length_spread(lengths: NDArray[np.float32]) -> float:
    """Return the standard deviation of lengths over their mean, (N,) above 0; 0 to float32's rounding is 0."""
    wide = np.asarray(lengths, dtype=np.float64)
    spread = float(wide.std() / wide.mean())
    return spread if spread > _ROUNDING else 0.0
