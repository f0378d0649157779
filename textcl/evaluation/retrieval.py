"""The score of a run: each measure's mean over the judged queries with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from textcl.errors import ConfigError
from textcl.evaluation.measures import score_run
from textcl.evaluation.ranking import Qrels, Run, canonical_ranking
from textcl.randomness import key_of

_BATCH_VALUES = 2_000_000  # values resampled at once: 32 MB of positions and values


@dataclass(frozen=True)
class Interval:
    """A mean over queries and its 95 % interval.

    Args:
        mean: The mean.
        low: The 2.5th percentile of the resampled means.
        high: The 97.5th percentile of the resampled means.
        queries: How many queries the mean is of.
    """

    mean: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class RetrievalResult:
    """What `evaluate_run` found.

    Args:
        measures: Measure → mean and interval.
        per_query: Measure → query id → value, for every judged query.
        run: The rankings of the judged queries, in the canonical order.
        unanswered: Judged queries for which the run has no document; they count 0.
        unjudged: Queries of the run without judgements; they count nothing.
    """

    measures: dict[str, Interval]
    per_query: dict[str, dict[str, float]] = field(repr=False)
    run: Run = field(repr=False)
    unanswered: int
    unjudged: int

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return measure → {"mean", "low", "high", "queries"}."""
        return {name: asdict(interval) for name, interval in self.measures.items()}


def evaluate_run(
    run: Mapping[str, Sequence[tuple[str, float]]],
    qrels: Qrels,
    measures: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 10_000,
) -> RetrievalResult:
    """Return the measures of `run` with their intervals.

    Args:
        run: Query id → scored documents, in any order.
        qrels: Query id → document id → gain.
        measures: Such as "ndcg@10"; see `measures.parse_measure`.
        seed: Of the bootstrap; equal seeds give equal intervals.
        resamples: Of the bootstrap, at least 1.

    Raises:
        ConfigError: If a measure is unknown or `resamples` is below 1.
        DataError: If there is no judged query, a score is NaN or a document is ranked twice.
    """
    per_query = score_run(run, qrels, measures)
    intervals = {
        name: mean_interval(list(values.values()), seed=seed, resamples=resamples) for name, values in per_query.items()
    }
    ordered = {query_id: canonical_ranking(run[query_id], query_id) for query_id in qrels if query_id in run}
    answered = sum(1 for ranking in ordered.values() if ranking)
    return RetrievalResult(intervals, per_query, ordered, len(qrels) - answered, len(run) - len(ordered))


def mean_interval(values: Sequence[float] | NDArray[np.float64], *, seed: int, resamples: int) -> Interval:
    """Return the mean of `values` with its 95 % percentile bootstrap interval.

    Values that are all equal, a single one among them, give an interval of no width: the sample holds nothing from
    which to tell the spread. Equal seeds and numbers of values give equal resamples, whatever the values.

    Args:
        values: (n,) finite, n at least 1.
        seed: Of the resampling.
        resamples: At least 1.

    Raises:
        ConfigError: If `resamples` is below 1.

    References:
        Efron and Tibshirani (1993), An introduction to the bootstrap, section 13.3.
    """
    if resamples < 1:
        raise ConfigError("resamples", resamples, "a whole number of at least 1")
    sample = np.asarray(values, dtype=np.float64)
    if np.ptp(sample) == 0:
        only = float(sample[0])
        return Interval(only, only, only, len(sample))
    found = scipy.stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH_VALUES // len(sample)),
        vectorized=True,
        method="percentile",
        rng=np.random.Generator(np.random.Philox(key=key_of(seed, "bootstrap"))),
    ).confidence_interval
    return Interval(float(sample.mean()), float(found.low), float(found.high), len(sample))
