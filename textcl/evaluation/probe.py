"""Linear probe: how well a linear classifier tells labels apart by embeddings alone."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation.resampling import Counts, bootstrap
from textcl.evaluation.vectors import Vectors, unit_rows
from textcl.randomness import key_of

SCALINGS = ("standard", "unit")
_MOST_STEPS = 1000


@dataclass(frozen=True)
class ProbeSettings:
    """How a probe is trained and tested.

    Args:
        repeats: Random splits, at least 1; left out of account where a split is given.
        test_fraction: Share of the texts that each of them tests on, in (0, 1).
        scaling: "standard" (each dimension to mean 0 and deviation 1 by the training texts) or "unit" (unit length).
        c: Inverse of the strength of the L2 penalty, above 0.
        seed: Of splits and intervals.
        resamples: Of the interval where a split is given, at least 1.
    """

    repeats: int = 10
    test_fraction: float = 0.2
    scaling: str = "standard"
    c: float = 1.0
    seed: int = 0
    resamples: int = 2000

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError("repeats", self.repeats, "a whole number of at least 1")
        if not 0 < self.test_fraction < 1:
            raise ConfigError("test_fraction", self.test_fraction, "a share in (0, 1)")
        if self.scaling not in SCALINGS:
            raise ConfigError("scaling", self.scaling, f"one of {', '.join(SCALINGS)}")
        if not 0 < self.c < math.inf:
            raise ConfigError("c", self.c, "a number above 0")


@dataclass(frozen=True)
class ProbeScore:
    """One measure of a probe.

    Args:
        mean: Over the splits.
        deviation: Sample standard deviation over the splits; 0 for one.
        low: Lower end of the 95 % interval; None for a single random split.
        high: Its upper end.
        values: One a split.
    """

    mean: float
    deviation: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


@dataclass(frozen=True)
class ProbeResult:
    """What `score_probe` found.

    Args:
        measures: `macro_f1` and `accuracy`.
        majority: Accuracy of always saying the most frequent label of the tested texts.
        classes: Different labels.
        train: Texts trained on in a split.
        test: Texts tested on in a split.
        unseen: Tested texts whose label no training text has; they count as wrong.
        unconverged: Splits in which the classifier was not done after 1,000 steps.
    """

    measures: dict[str, ProbeScore]
    majority: float
    classes: int
    train: int
    test: int
    unseen: int
    unconverged: int

    def to_json(self) -> dict[str, Any]:
        """Return the measures by their names, and every other field."""
        return {
            **{name: asdict(score) for name, score in self.measures.items()},
            **{name: value for name, value in vars(self).items() if name != "measures"},
        }


def score_probe(
    embeddings: Vectors,
    labels: Sequence[str],
    *,
    test: NDArray[np.bool_] | None = None,
    settings: ProbeSettings | None = None,
) -> ProbeResult:
    """Return how well logistic regression on embeddings finds the labels of texts it was not trained on.

    Args:
        embeddings: (N, D), of any length but 0.
        labels: N labels, of two different ones at least.
        test: (N,) which texts to test on; all others are trained on. None draws random splits that keep the shares of
            the labels.
        settings: None takes the defaults.

    Returns:
        With random splits the interval is of the mean over splits: Student's t on the deviation over splits, widened
        because splits share texts (Nadeau and Bengio 2003). With a given split it is a bootstrap over tested texts, as
        many of each label as there are, of the one classifier.

    Raises:
        ShapeError: If lengths do not agree.
        DataError: If an embedding is 0 or not finite, a label is blank, all labels are equal, or there is
            no such split.

    References:
        Conneau and Kiela (2018), SentEval, arXiv:1803.05449, for probing by logistic regression; Nadeau and Bengio
        (2003), Inference for the generalization error, Machine Learning 52, section 3, corrected resampled t-test.
    """
    settings = settings or ProbeSettings()
    vectors = unit_rows(embeddings, "embeddings") if settings.scaling == "unit" else _checked(embeddings)
    known = check_labels(labels, len(vectors))
    splits = plan_splits(known, test, settings)
    guesses = [_guess(vectors, known, train, tested, settings) for train, tested in splits]
    pairs = [(known[tested], guess) for (_train, tested), (guess, _done) in zip(splits, guesses, strict=True)]
    values = np.array([_scores(truth, guess) for truth, guess in pairs])
    train, tested = splits[0]
    if test is None:
        intervals = [_corrected_interval(column, len(tested) / len(train)) for column in values.T]
    else:
        intervals = _bootstrap_intervals(*pairs[0], settings)
    measures = {
        name: _score(column, interval)
        for name, column, interval in zip(("macro_f1", "accuracy"), values.T, intervals, strict=True)
    }
    return ProbeResult(
        measures=measures,
        majority=float(np.mean([max(Counter(truth.tolist()).values()) / len(truth) for truth, _guess in pairs])),
        classes=len(set(known.tolist())),
        train=len(train),
        test=len(tested),
        unseen=int((~np.isin(known[tested], known[train])).sum()),
        unconverged=sum(not done for _guess, done in guesses),
    )


def check_labels(labels: Sequence[str], texts: int) -> NDArray[np.str_]:
    """Return the labels as an array, (N,).

    Raises:
        ShapeError: If there are not N.
        DataError: If one is blank, or all are equal.
    """
    if len(labels) != texts:
        raise ShapeError("labels", (len(labels),), f"({texts},), one label a text")
    for row, label in enumerate(labels):
        if not str(label).strip():
            raise DataError(f"text {row + 1}: it has no label; give it one or remove it")
    known = np.array([str(label) for label in labels])
    if (known == known[0]).all():
        raise DataError(f"all {texts} labels are {str(known[0])!r}; nothing can be told apart without a second one")
    return known


def plan_splits(
    labels: NDArray[np.str_], test: NDArray[np.bool_] | None, settings: ProbeSettings
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the rows to train and to test on, a pair a split; arguments are those of `score_probe`.

    Raises:
        ShapeError: If `test` has another length.
        DataError: If a split cannot be made.
    """
    return _random_splits(labels, settings) if test is None else [_given_split(labels, test)]


def _checked(embeddings: Vectors) -> NDArray[np.float64]:
    unit_rows(embeddings, "embeddings")
    return np.asarray(embeddings, dtype=np.float64)


def _random_splits(
    labels: NDArray[np.str_], settings: ProbeSettings
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    counts = Counter(labels.tolist())
    label, fewest = min(counts.items(), key=lambda one: (one[1], one[0]))
    if fewest < 2:
        raise DataError(f"only one text is labelled {label!r}; a random split needs two, one on each side")
    tested = math.ceil(settings.test_fraction * len(labels))
    if min(tested, len(labels) - tested) < len(counts):
        problem = (
            f"{tested} of {len(labels)} texts to test on cannot hold {len(counts)} labels on both sides of a split"
        )
        raise DataError(f"{problem}; change test_fraction, or give more texts")
    drawn = StratifiedShuffleSplit(
        settings.repeats, test_size=tested, random_state=key_of(settings.seed, "probe") % 2**32
    )
    return list(drawn.split(np.zeros((len(labels), 1)), labels))


def _given_split(labels: NDArray[np.str_], test: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if test.shape != labels.shape:
        raise ShapeError("test", test.shape, f"({len(labels)},), one a text")
    train, tested = np.flatnonzero(~test), np.flatnonzero(test)
    if not len(tested):
        raise DataError("there is no text to test on")
    if len(set(labels[train].tolist())) < 2:
        raise DataError(f"the {len(train)} texts to train on have fewer than two different labels")
    return train, tested


def _guess(
    vectors: NDArray[np.float64],
    labels: NDArray[np.str_],
    train: NDArray[np.int64],
    tested: NDArray[np.int64],
    settings: ProbeSettings,
) -> tuple[NDArray[np.str_], bool]:
    """Return the labels that a classifier gives the tested texts, and whether its training was done."""
    classifier = LogisticRegression(C=settings.c, max_iter=_MOST_STEPS)
    model = make_pipeline(StandardScaler(), classifier) if settings.scaling == "standard" else classifier
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted and reported instead
        model.fit(vectors[train], labels[train])
    return model.predict(vectors[tested]), int(classifier.n_iter_.max()) < _MOST_STEPS


def _scores(truth: NDArray[np.str_], guess: NDArray[np.str_], weights: Counts | None = None) -> tuple[float, float]:
    """Return macro F1, over all labels that are true or guessed somewhere, and accuracy."""
    names, numbers = np.unique(np.concatenate([truth, guess]), return_inverse=True)
    true, guessed = numbers[: len(truth)], numbers[len(truth) :]
    counts = np.ones(len(truth)) if weights is None else weights.astype(np.float64)
    right = np.where(true == guessed, counts, 0.0)
    hits, trues, guesses = (
        np.bincount(where, weights=what, minlength=len(names))
        for where, what in ((true, right), (true, counts), (guessed, counts))
    )
    f1 = 2 * hits / np.maximum(trues + guesses, 1)  # where a resample never guesses a label that no text has: 0
    return float(f1.mean()), float(right.sum() / counts.sum())


def _bootstrap_intervals(
    truth: NDArray[np.str_], guess: NDArray[np.str_], settings: ProbeSettings
) -> list[tuple[float | None, float | None]]:
    found = bootstrap(
        lambda counts: _scores(truth, guess, counts),
        len(truth),
        strata=truth,
        seed=settings.seed,
        resamples=settings.resamples,
    )
    return [(estimate.low, estimate.high) for estimate in found]


def _corrected_interval(values: NDArray[np.float64], test_to_train: float) -> tuple[float | None, float | None]:
    if len(values) == 1:
        return None, None
    widened = math.sqrt(1 / len(values) + test_to_train)
    half = float(scipy.stats.t.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) * widened
    return max(0.0, float(values.mean()) - half), min(1.0, float(values.mean()) + half)


def _score(values: NDArray[np.float64], interval: tuple[float | None, float | None]) -> ProbeScore:
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return ProbeScore(float(values.mean()), deviation, *interval, tuple(values.tolist()))
