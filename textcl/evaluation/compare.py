"""Whether two systems differ by more than chance: paired differences over the same queries."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError
from textcl.evaluation.intervals import mean_intervals
from textcl.evaluation.measures import score_run
from textcl.evaluation.ranking import Qrels
from textcl.evaluation.retrieval import RetrievalResult
from textcl.evaluation.seeds import SeedDifference, compare_seeds
from textcl.evaluation.significance import ALPHA, detectable_difference, holm, permutation_p

AnyRun = Mapping[str, Sequence[tuple[str, float]]]
Name = TypeVar("Name", bound=Hashable)
_TIE = 1e-12  # values below this apart are one value: different rankings add up equal gains in another order
_SHOWN_CHANGES = 5


@dataclass(frozen=True)
class Difference:
    """One measure of two systems on the same queries.

    Args:
        before: Mean of the first system.
        after: Mean of the second system.
        difference: Mean of (after - before).
        low: Lower end of the paired 95 % bootstrap interval of `difference`.
        high: Its upper end.
        queries: How many queries are compared.
        wins: Queries on which the second system is better.
        losses: Queries on which it is worse.
        ties: The others.
        p: Two-sided, of the paired permutation test.
        adjusted_p: The same after Holm's correction for all measures, and collections, that are compared.
        detectable: The true difference that would be found in 80 of 100 such samples, see
            `significance.detectable_difference`; None for a single query.
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
    p: float
    adjusted_p: float
    detectable: float | None

    @property
    def is_worse(self) -> bool:
        """Whether the second system is worse by more than chance: adjusted p below 0.05."""
        return self.difference < 0 and self.adjusted_p < ALPHA


@dataclass(frozen=True)
class QueryChange:
    """What became of one query; before and after are its values, means over seeds where there are several."""

    query_id: str
    before: float
    after: float


@dataclass(frozen=True)
class Comparison:
    """What the second of two systems changes.

    Args:
        measures: Measure → difference.
        gained: Measure → the queries that gained most, at most 5, first the one that gained most.
        lost: Measure → the queries that lost most.
        seeds: Measure → what seeds change, where a system has several runs; otherwise empty.
    """

    measures: dict[str, Difference]
    gained: dict[str, list[QueryChange]] = field(repr=False)
    lost: dict[str, list[QueryChange]] = field(repr=False)
    seeds: dict[str, SeedDifference]

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return measure → the fields of its difference."""
        return {name: asdict(difference) for name, difference in self.measures.items()}

    def details_json(self) -> dict[str, Any]:
        """Return the queries that gained and lost most, and what seeds change."""
        changes = {
            kind: {name: [asdict(one) for one in some] for name, some in of.items()}
            for kind, of in (("gained", self.gained), ("lost", self.lost))
        }
        return {**changes, "seeds": {name: one.to_json() for name, one in self.seeds.items()}}

    def worse(self) -> list[str]:
        """Return the measures that are worse by more than chance."""
        return [name for name, difference in self.measures.items() if difference.is_worse]


def compare_runs(
    before: AnyRun, after: AnyRun, qrels: Qrels, measures: Sequence[str], *, seed: int = 0, resamples: int | None = None
) -> Comparison:
    """Return what `after` changes against `before`, over every judged query; the arguments are `evaluate_run`'s.

    Raises:
        ConfigError: If a measure is unknown or `resamples` is below 1.
        DataError: If there is no judged query, a score is no number or a document is ranked twice.
    """
    return compare_systems([before], [after], qrels, measures, seed=seed, resamples=resamples)


def compare_systems(
    before: Sequence[AnyRun],
    after: Sequence[AnyRun],
    qrels: Qrels,
    measures: Sequence[str],
    *,
    seed: int = 0,
    resamples: int | None = None,
) -> Comparison:
    """Return the same for systems with a run a seed: each query counts with its mean over the seeds.

    Interval and test are then of these means, over queries; what the seeds change stands beside, in `seeds`.

    Raises:
        ConfigError: Also if a system has no run.
        DataError: As `compare_runs`.
    """
    for name, runs in (("before", before), ("after", after)):
        if not runs:
            raise ConfigError(name, [], "at least one run")
    first, second = ([score_run(run, qrels, measures) for run in runs] for runs in (before, after))
    return _compare(first, second, seed, resamples)


def compare_results(
    before: RetrievalResult, after: RetrievalResult, *, seed: int = 0, resamples: int | None = None
) -> Comparison:
    """Return what `after` changes against `before`, for the measures of `before`.

    Raises:
        ConfigError: If `after` lacks a measure of `before`, or `resamples` is below 1.
        DataError: If the two are not of the same judged queries.
    """
    for name, values in before.per_query.items():
        if name not in after.per_query:
            raise ConfigError("measures", problem=f"only the first result has {name}; evaluate both by the same")
        if odd := values.keys() ^ after.per_query[name].keys():
            problem = f"query {min(odd)!r} is judged in one of the two results only; evaluate both on the same qrels"
            raise DataError(problem)
    return _compare([before.per_query], [after.per_query], seed, resamples)


def correct(comparisons: Mapping[Name, Comparison]) -> dict[Name, Comparison]:
    """Return the comparisons with Holm's correction over the measures of all of them together."""
    adjusted = holm(
        {(own, name): one.p for own, comparison in comparisons.items() for name, one in comparison.measures.items()}
    )
    return {
        own: replace(
            comparison,
            measures={name: replace(one, adjusted_p=adjusted[own, name]) for name, one in comparison.measures.items()},
        )
        for own, comparison in comparisons.items()
    }


PerQuery = Mapping[str, Mapping[str, float]]


def _compare(before: Sequence[PerQuery], after: Sequence[PerQuery], seed: int, resamples: int | None) -> Comparison:
    names = list(before[0])
    query_ids = list(before[0][names[0]])
    first, second = _table(before, names, query_ids), _table(after, names, query_ids)  # (seeds, Q, M)
    means = first.mean(axis=0), second.mean(axis=0)
    differences = means[1] - means[0]
    differences[np.abs(differences) < _TIE] = 0.0
    intervals = mean_intervals(differences, seed=seed, resamples=resamples)
    p_values = dict(zip(names, permutation_p(differences, seed=seed, resamples=resamples).tolist(), strict=True))
    adjusted = holm(p_values)
    made: dict[str, Difference] = {}
    gained: dict[str, list[QueryChange]] = {}
    lost: dict[str, list[QueryChange]] = {}
    for column, (name, interval) in enumerate(zip(names, intervals, strict=True)):
        own = differences[:, column]
        wins, losses = int((own > 0).sum()), int((own < 0).sum())
        made[name] = Difference(
            before=float(means[0][:, column].mean()),
            after=float(means[1][:, column].mean()),
            difference=interval.mean,
            low=interval.low,
            high=interval.high,
            queries=len(own),
            wins=wins,
            losses=losses,
            ties=len(own) - wins - losses,
            p=p_values[name],
            adjusted_p=adjusted[name],
            detectable=detectable_difference(own),
        )
        both = means[0][:, column], means[1][:, column]
        lost[name] = _changes(query_ids, *both, np.argsort(own, kind="stable")[: min(losses, _SHOWN_CHANGES)])
        gained[name] = _changes(query_ids, *both, np.argsort(-own, kind="stable")[: min(wins, _SHOWN_CHANGES)])
    seeds = {
        name: compare_seeds(first[:, :, column].mean(axis=1).tolist(), second[:, :, column].mean(axis=1).tolist())
        for column, name in enumerate(names)
        if len(before) > 1 or len(after) > 1
    }
    return Comparison(made, gained, lost, seeds)


def _changes(
    query_ids: Sequence[str], before: NDArray[np.float64], after: NDArray[np.float64], rows: NDArray[np.int64]
) -> list[QueryChange]:
    return [QueryChange(query_ids[row], float(before[row]), float(after[row])) for row in rows.tolist()]


def _table(runs: Sequence[PerQuery], names: Sequence[str], query_ids: Sequence[str]) -> NDArray[np.float64]:
    """Return the values of all runs, (runs, queries, measures)."""
    return np.array([[[run[name][one] for name in names] for one in query_ids] for run in runs])
