"""Pair classification: whether the cosine tells pairs that mean the same from others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from textcl.evaluation.curves import Best, LabelledScores
from textcl.evaluation.resampling import Counts, Estimate, bootstrap
from textcl.evaluation.vectors import GRAIN, Vectors, grains, pair_cosines


@dataclass(frozen=True)
class PairsResult:
    """What `score_labelled_pairs` found.

    Args:
        average_precision: In [0, 1]; by chance it is the share of positives.
        f1: Of the best threshold, which was chosen on these pairs: on others it gives less. Its interval is that of
            this one threshold.
        accuracy: Likewise.
        best_f1: The threshold with its precision and recall.
        best_accuracy: Likewise.
        pairs: How many there are.
        positives: How many of them are labelled 1.
    """

    average_precision: Estimate
    f1: Estimate
    accuracy: Estimate
    best_f1: Best
    best_accuracy: Best
    pairs: int
    positives: int

    def to_json(self) -> dict[str, Any]:
        """Return measure → value, interval and threshold; pairs and positives."""
        best = {"f1": self.best_f1, "accuracy": self.best_accuracy}
        return {
            "average_precision": self.average_precision.to_json(),
            **{
                name: {
                    **estimate.to_json(),
                    "threshold": best[name].threshold,
                    "precision": best[name].precision,
                    "recall": best[name].recall,
                }
                for name, estimate in (("f1", self.f1), ("accuracy", self.accuracy))
            },
            "pairs": self.pairs,
            "positives": self.positives,
        }


def score_labelled_pairs(
    first: Vectors, second: Vectors, labels: ArrayLike, *, seed: int = 0, resamples: int = 2000
) -> PairsResult:
    """Return how well the cosines of `first` and `second`, row by row, follow labels of 0 and 1.

    Cosines are rounded to `vectors.GRAIN`, as encoders compute no finer, so that those which are equal to rounding tie.
    The intervals are of resampled pairs, as many of each label as there are.

    Args:
        first: (N, D) embeddings of the first sentences, of any length but 0.
        second: (N, D) embeddings of the second sentences.
        labels: (N,) of 0 and 1; 1 means the same. Both must be there.
        seed: Of the intervals.
        resamples: Of the intervals.

    Raises:
        ShapeError: If the shapes do not agree.
        DataError: If an embedding is 0 or not finite, a label is neither 0 nor 1, or there is but one label.
        ConfigError: If `resamples` is below 1.

    References:
        Average precision and thresholds as in sentence-transformers' BinaryClassificationEvaluator; average precision
        by groups of equal scores as in scikit-learn's `average_precision_score`.
    """
    scores = LabelledScores(grains(pair_cosines(first, second)) * GRAIN, labels)
    best_f1, best_accuracy = scores.best_f1, scores.best_accuracy

    def statistic(counts: Counts) -> tuple[float, float, float]:
        curve = scores.resampled(counts)
        f1, accuracy = curve.f1[best_f1.place], curve.accuracy[best_accuracy.place]
        return curve.average_precision, float(f1), float(accuracy)

    precision, f1, accuracy = bootstrap(
        statistic, len(scores.labels), strata=scores.labels, seed=seed, resamples=resamples
    )
    return PairsResult(precision, f1, accuracy, best_f1, best_accuracy, len(scores.labels), scores.positives)
