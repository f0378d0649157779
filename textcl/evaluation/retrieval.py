"""The score of a run: each measure's mean over the judged queries with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from textcl.evaluation.intervals import Interval, mean_intervals
from textcl.evaluation.measures import Scores, parse_measure, score_rankings
from textcl.evaluation.ranking import Qrels, Run, canonical_run

_SAME = 1e-12  # values below this apart are one value: other orders add up equal gains in another order


@dataclass(frozen=True)
class TieBounds:
    """What a measure could be if equal scores were ordered otherwise.

    Args:
        low: The mean in the worst order of every query's ties.
        high: The mean in the best one.
        touched_fraction: Share of the queries whose value depends on the order of ties.
    """

    low: float
    high: float
    touched_fraction: float


@dataclass(frozen=True)
class RetrievalResult:
    """What `evaluate_run` found.

    Args:
        measures: Measure → mean and interval.
        per_query: Measure → query id → value, for every judged query.
        run: The rankings of the judged queries, in the canonical order.
        unanswered: Judged queries for which the run has no document; they count 0.
        unjudged: Queries of the run without judgements; they count nothing.
        ties: Measure → its bounds over all orders of equal scores.
        judged_fraction: Cutoff → share of judged documents among those ranked so high, mean over the queries that are
            answered. What is not judged counts as not relevant: where the share is small, a better run may look worse.
    """

    measures: dict[str, Interval]
    per_query: dict[str, dict[str, float]] = field(repr=False)
    run: Run = field(repr=False)
    unanswered: int
    unjudged: int
    ties: dict[str, TieBounds]
    judged_fraction: dict[int, float]

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return measure → {"mean", "low", "high", "queries"}."""
        return {name: asdict(interval) for name, interval in self.measures.items()}

    def notes_json(self) -> dict[str, Any]:
        """Return what a mean does not tell: counts of queries, judged shares, and bounds where ties touch a measure."""
        return {
            "unanswered": self.unanswered,
            "unjudged": self.unjudged,
            "judged_fraction": {str(k): share for k, share in self.judged_fraction.items()},
            "ties": {name: asdict(bounds) for name, bounds in self.ties.items() if bounds.touched_fraction},
        }


def evaluate_run(
    run: Mapping[str, Sequence[tuple[str, float]]],
    qrels: Qrels,
    measures: Sequence[str],
    *,
    seed: int = 0,
    resamples: int | None = None,
) -> RetrievalResult:
    """Return the measures of `run` with their intervals.

    Args:
        run: Query id → scored documents, in any order.
        qrels: Query id → document id → gain.
        measures: Such as "ndcg@10"; see `measures.parse_measure`.
        seed: Of the bootstrap; equal seeds give equal intervals.
        resamples: Of the bootstrap, at least 1; None for as many as `intervals.mean_intervals` takes then.

    Raises:
        ConfigError: If a measure is unknown or `resamples` is below 1.
        DataError: If there is no judged query, a score is no number or a document is ranked twice.
    """
    rankings = canonical_run(run, qrels)
    parsed = [parse_measure(text) for text in measures]
    names = list(dict.fromkeys(map(str, parsed)))
    cutoffs = sorted({measure.cutoff for measure in parsed if measure.cutoff is not None})
    scores = score_rankings(rankings, qrels, [*names, *(f"judged@{k}" for k in cutoffs)] if names else [])
    table = np.stack([scores.values[name] for name in names], axis=1)
    answered = scores.answered
    return RetrievalResult(
        measures=dict(zip(names, mean_intervals(table, seed=seed, resamples=resamples), strict=True)),
        per_query=scores.per_query(names),
        run=rankings,
        unanswered=int((~answered).sum()),
        unjudged=len(run) - len(rankings),
        ties={name: _bounds(scores, name) for name in names},
        judged_fraction={
            k: float(scores.values[f"judged@{k}"][answered].mean()) if answered.any() else 0.0 for k in cutoffs
        },
    )


def _bounds(scores: Scores, name: str) -> TieBounds:
    worst, best = scores.worst[name], scores.best[name]
    return TieBounds(float(worst.mean()), float(best.mean()), float((best - worst > _SAME).mean()))
