"""Whether two runs differ by more than chance: paired differences over the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from textcl.errors import ConfigError, DataError
from textcl.evaluation.measures import score_run
from textcl.evaluation.ranking import Qrels
from textcl.evaluation.retrieval import RetrievalResult, mean_interval

_TIE = 1e-12  # values below this apart are one value: different rankings add up equal gains in another order


@dataclass(frozen=True)
class Difference:
    """One measure of two runs on the same queries.

    Args:
        before: Mean of the first run.
        after: Mean of the second run.
        difference: Mean of (after - before).
        low: Lower end of the paired 95 % bootstrap interval of `difference`.
        high: Its upper end.
        queries: How many queries are compared.
        wins: Queries on which the second run is better.
        losses: Queries on which it is worse.
        ties: The others.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    queries: int
    wins: int
    losses: int
    ties: int


@dataclass(frozen=True)
class Comparison:
    """Measure → difference."""

    measures: dict[str, Difference]

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return measure → the fields of its difference."""
        return {name: asdict(difference) for name, difference in self.measures.items()}


def compare_runs(
    before: Mapping[str, Sequence[tuple[str, float]]],
    after: Mapping[str, Sequence[tuple[str, float]]],
    qrels: Qrels,
    measures: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 10_000,
) -> Comparison:
    """Return what `after` changes against `before`, over every judged query; the arguments are `evaluate_run`'s.

    Raises:
        ConfigError: If a measure is unknown or `resamples` is below 1.
        DataError: If there is no judged query, a score is NaN or a document is ranked twice.
    """
    first, second = score_run(before, qrels, measures), score_run(after, qrels, measures)
    return Comparison({name: _difference(first[name], second[name], seed, resamples) for name in first})


def compare_results(
    before: RetrievalResult, after: RetrievalResult, *, seed: int = 0, resamples: int = 10_000
) -> Comparison:
    """Return what `after` changes against `before`, for the measures of `before`.

    Raises:
        ConfigError: If `after` lacks a measure of `before`, or `resamples` is below 1.
        DataError: If the two are not of the same judged queries.
    """
    differences = {}
    for name, values in before.per_query.items():
        if name not in after.per_query:
            raise ConfigError("measures", problem=f"only the first result has {name}; evaluate both by the same")
        if odd := values.keys() ^ after.per_query[name].keys():
            problem = f"query {min(odd)!r} is judged in one of the two results only; evaluate both on the same qrels"
            raise DataError(problem)
        differences[name] = _difference(values, after.per_query[name], seed, resamples)
    return Comparison(differences)


def _difference(before: Mapping[str, float], after: Mapping[str, float], seed: int, resamples: int) -> Difference:
    first = np.array(list(before.values()))
    second = np.array([after[query_id] for query_id in before])
    differences = second - first
    differences[np.abs(differences) < _TIE] = 0.0
    interval = mean_interval(differences, seed=seed, resamples=resamples)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return Difference(
        before=float(first.mean()),
        after=float(second.mean()),
        difference=interval.mean,
        low=interval.low,
        high=interval.high,
        queries=len(first),
        wins=wins,
        losses=losses,
        ties=len(first) - wins - losses,
    )
