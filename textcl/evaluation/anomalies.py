"""Anomaly detection: whether texts that do not belong lie far from a reference set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textcl.errors import ShapeError
from textcl.evaluation.curves import LabelledScores
from textcl.evaluation.neighbours import nearest_rows
from textcl.evaluation.resampling import Counts, Estimate, bootstrap
from textcl.evaluation.vectors import Vectors, unit_rows
from textcl.progress import Progress, quiet


@dataclass(frozen=True)
class AnomaliesResult:
    """What `score_anomalies` found.

    Args:
        auroc: Chance that an anomaly lies farther than another text, in [0, 1]; 0.5 by chance.
        average_precision: In [0, 1]; by chance it is the share of anomalies.
        texts: Texts tested.
        anomalies: How many of them are labelled 1.
        reference: Texts of the reference set.
        k: Neighbours.
        distances: (N,) of the texts tested.
    """

    auroc: Estimate
    average_precision: Estimate
    texts: int
    anomalies: int
    reference: int
    k: int
    distances: NDArray[np.float64] = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return both measures with their intervals, and the counts."""
        return {
            "auroc": self.auroc.to_json(),
            "average_precision": self.average_precision.to_json(),
            **{name: getattr(self, name) for name in ("texts", "anomalies", "reference", "k")},
        }


def neighbour_distances(
    embeddings: Vectors, reference: Vectors, k: int = 5, *, progress: Progress = quiet
) -> NDArray[np.float64]:
    """Return the mean cosine distance (1 - cosine) of each text to its k nearest in a reference set, (N,) in [0, 2].

    Args:
        embeddings: (N, D), of any length but 0.
        reference: (R, D), likewise.
        k: Neighbours, from 1 to R.
        progress: Told of texts of the reference set.

    Raises:
        ShapeError: If the widths differ.
        DataError: If an embedding is 0 or not finite.
        ConfigError: If `k` is out of range.
    """
    known = unit_rows(reference, "reference", faulty="reference text {}: its embedding")
    rows = unit_rows(embeddings, "embeddings")
    if rows.shape[1] != known.shape[1]:
        raise ShapeError("embeddings", rows.shape, f"(N, {known.shape[1]}), as wide as reference")
    _rows, cosines = nearest_rows(rows, known, k, progress=progress)
    distances: NDArray[np.float64] = 1 - cosines.mean(axis=1)
    return distances


def score_anomalies(
    embeddings: Vectors,
    labels: ArrayLike,
    reference: Vectors,
    *,
    k: int = 5,
    seed: int = 0,
    resamples: int = 2000,
    progress: Progress = quiet,
) -> AnomaliesResult:
    """Return how well the distance to the nearest texts of a reference set finds what is labelled 1.

    Args:
        embeddings: (N, D) of the texts tested, of any length but 0.
        labels: (N,) of 0 and 1; 1 is an anomaly. Both must be there.
        reference: (R, D) of texts that belong.
        k: Neighbours, from 1 to R.
        seed: Of the intervals, which are of resampled texts, as many of each label as there are.
        resamples: Of the intervals.
        progress: Told of texts of the reference set.

    Raises:
        ShapeError: If the shapes do not agree.
        DataError: If an embedding is 0 or not finite, a label is neither 0 nor 1, or there is but one label.
        ConfigError: If `k` or `resamples` is out of range.

    References:
        Ramaswamy et al. (2000), SIGMOD, outliers by the distance to the k-th neighbour; the mean over k as in Angiulli
        and Pizzuti (2002), PKDD. Fawcett (2006), ROC analysis, for AUROC with ties.
    """
    distances = neighbour_distances(embeddings, reference, k, progress=progress)
    scores = LabelledScores(distances, labels, kind="text")

    def statistic(counts: Counts) -> tuple[float, float]:
        curve = scores.resampled(counts)
        return curve.auroc, curve.average_precision

    auroc, precision = bootstrap(statistic, len(distances), strata=scores.labels, seed=seed, resamples=resamples)
    return AnomaliesResult(auroc, precision, len(distances), scores.positives, len(reference), k, distances)
