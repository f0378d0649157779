"""Clustering: whether k-means on embeddings finds the groups that labels name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import homogeneity_completeness_v_measure

from textcl.errors import ConfigError, DataError
from textcl.evaluation.probe import check_labels
from textcl.evaluation.seeds import SeedSummary, summarise_seeds
from textcl.evaluation.vectors import Vectors, unit_rows
from textcl.progress import Progress, quiet
from textcl.randomness import key_of


@dataclass(frozen=True)
class ClustersSettings:
    """How texts are clustered.

    Args:
        clusters: How many, at least 2; None takes as many as there are labels.
        repeats: Random starts of k-means (k-means++), at least 1.
        seed: Of the starts.
    """

    clusters: int | None = None
    repeats: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clusters is not None and self.clusters < 2:
            raise ConfigError("clusters", self.clusters, "a whole number of at least 2")
        if self.repeats < 1:
            raise ConfigError("repeats", self.repeats, "a whole number of at least 1")

    def count(self, labels: NDArray[np.str_]) -> int:
        """Return how many clusters N labels get.

        Raises:
            DataError: If they are more than N.
        """
        wanted = len(np.unique(labels)) if self.clusters is None else self.clusters
        if wanted > len(labels):
            raise DataError(f"only {len(labels)} texts for {wanted} clusters; ask for fewer, or give more texts")
        return wanted


@dataclass(frozen=True)
class ClustersResult:
    """What `score_clusters` found.

    Args:
        measures: `v_measure`, `homogeneity` and `completeness`, each over the starts. Their intervals are of the mean
            over starts and say nothing of other texts.
        clusters: How many were asked for.
        labels: Different labels.
        texts: How many there are.
    """

    measures: dict[str, SeedSummary]
    clusters: int
    labels: int
    texts: int

    def to_json(self) -> dict[str, Any]:
        """Return the measures by their names; clusters, labels and texts."""
        numbers = {name: summary.to_json() for name, summary in self.measures.items()}
        return {**numbers, "clusters": self.clusters, "labels": self.labels, "texts": self.texts}


def score_clusters(
    embeddings: Vectors,
    labels: Sequence[str],
    *,
    settings: ClustersSettings | None = None,
    progress: Progress = quiet,
) -> ClustersResult:
    """Return how well clusters of unit-length embeddings agree with labels.

    Args:
        embeddings: (N, D), of any length but 0.
        labels: N labels, of two different ones at least.
        settings: None takes the defaults.
        progress: Told of starts.

    Raises:
        ShapeError: If lengths do not agree.
        DataError: If an embedding is 0 or not finite, a label is blank, all labels are equal, or there are fewer
            different embeddings than clusters.

    References:
        Rosenberg and Hirschberg (2007), V-measure, EMNLP-CoNLL, equations 1 to 3; Arthur and Vassilvitskii (2007),
        k-means++.
    """
    vectors = unit_rows(embeddings, "embeddings")
    known = check_labels(labels, len(vectors))
    settings = settings or ClustersSettings()
    wanted = settings.count(known)
    if (different := len(np.unique(vectors, axis=0))) < wanted:
        raise DataError(f"only {different} different embeddings for {wanted} clusters; ask for fewer")
    values = []
    with progress("k-means", settings.repeats) as advance:
        for start in range(settings.repeats):
            model = KMeans(wanted, n_init=1, random_state=key_of(settings.seed, "clusters", start) % 2**32)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # rows that are equal to rounding share a cluster
                found = model.fit_predict(vectors)
            values.append(homogeneity_completeness_v_measure(known, found))
            advance(1)
    columns = dict(zip(("homogeneity", "completeness", "v_measure"), zip(*values, strict=True), strict=True))
    ordered = {name: columns[name] for name in ("v_measure", "homogeneity", "completeness")}
    return ClustersResult(summarise_seeds(ordered), wanted, len(np.unique(known)), len(vectors))
