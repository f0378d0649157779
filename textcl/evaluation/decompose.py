"""Where the points that an index does not reach were lost: in its search, in its codes, or in the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from textcl.errors import DataError
from textcl.evaluation.intervals import Interval, mean_intervals
from textcl.evaluation.measures import score_run
from textcl.evaluation.ranking import Qrels

_Scored = Mapping[str, Sequence[tuple[str, float]]]


@dataclass(frozen=True, slots=True)
class LostPoints:
    """Points of one measure that one query lost, of 100; a part below 0 is a gain.

    Args:
        model: By the ranking of exact float search.
        quantisation: By comparing decoded codes instead of the vectors themselves.
        search: By not comparing every document.
    """

    model: float
    quantisation: float
    search: float

    @property
    def total(self) -> float:
        """The sum of the parts: how far the tuned index is from 100."""
        return self.model + self.quantisation + self.search


@dataclass(frozen=True)
class LossParts:
    """Points of one measure that all judged queries lost on average, of 100, each with its 95 % bootstrap interval.

    The intervals are of the same resamples of queries.

    Args:
        measure: Its name.
        total: Its mean is exactly the sum of the parts' means.
        model: As `LostPoints` has it.
        quantisation: Likewise.
        search: Likewise.
        lossless: The index keeps the vectors as they are, so that `quantisation` is 0.
    """

    measure: str
    total: Interval
    model: Interval
    quantisation: Interval
    search: Interval
    lossless: bool

    @property
    def sentence(self) -> str:
        """The means in words, in tenths of a point that add up as they are shown."""
        search, quantisation, model = _tenths(self.search.mean, self.quantisation.mean, self.model.mean)
        total = _shown(search + quantisation + model)
        coded = "none quantisation (the index keeps whole vectors)"
        if not self.lossless:
            coded = f"{_shown(quantisation)} quantisation"
        return (
            f"of {total} points of {self.measure} lost, {_shown(search)} are search, {coded}, {_shown(model)} the model"
        )


@dataclass(frozen=True)
class Decomposition:
    """What `decompose_loss` found.

    Args:
        measures: Measure → its parts.
        per_query: Measure → query id → points lost, for every judged query in the order of the qrels.
        unanswered: Judged queries that no run has; all of their points are the model's loss.
    """

    measures: dict[str, LossParts]
    per_query: dict[str, dict[str, LostPoints]] = field(repr=False)
    unanswered: int

    def to_json(self) -> dict[str, dict[str, object]]:
        """Return measure → the fields of its parts, those that are intervals as `RetrievalResult.to_json` has them."""
        return {
            name: {key: value for key, value in asdict(parts).items() if key != "measure"}
            for name, parts in self.measures.items()
        }


def decompose_loss(
    exact: _Scored,
    decoded: _Scored | None,
    tuned: _Scored,
    qrels: Qrels,
    measures: Sequence[str],
    *,
    seed: int = 0,
    resamples: int | None = None,
) -> Decomposition:
    """Return where the points were lost that `tuned` is short of 100, for every judged query and on average.

    100 is where a measure ends. Not every one can reach it: of 30 relevant documents recall@10 finds a third at best,
    and a query without any counts 0. What nobody could have reached is part of the model's loss.

    Args:
        exact: Query id → scored documents by exact search over the float vectors, in any order.
        decoded: By exact search over what the index's codes decode to; None for an index that keeps whole vectors.
        tuned: By the index as it is searched.
        qrels: Query id → document id → gain.
        measures: As `parse_measure` reads them.
        seed: Of the bootstrap.
        resamples: Of the bootstrap, as `mean_intervals` has them.

    Raises:
        ConfigError: If there is no measure or one is unknown, or `resamples` is below 1.
        DataError: If there is no judged query or the runs have none, a run has a query that another lacks, a score is
            NaN or a document is ranked twice.
    """
    runs = {"exact": exact, "decoded": exact if decoded is None else decoded, "tuned": tuned}
    values = {name: score_run(run, qrels, measures) for name, run in runs.items()}
    unanswered = _check_queries(runs, qrels)
    all_parts: dict[str, LossParts] = {}
    per_query: dict[str, dict[str, LostPoints]] = {}
    for measure in values["exact"]:
        floats, codes, index = (
            np.array([values[name][measure][query_id] for query_id in qrels]) for name in ("exact", "decoded", "tuned")
        )
        parts = [100 * (1 - floats), 100 * (floats - codes), 100 * (codes - index)]
        columns = np.stack([*parts, np.sum(parts, axis=0)], axis=1)
        model, quantisation, search, total = mean_intervals(columns, seed=seed, resamples=resamples)
        total = replace(total, mean=model.mean + quantisation.mean + search.mean)
        all_parts[measure] = LossParts(measure, total, model, quantisation, search, decoded is None)
        rows = zip(qrels, *(one.tolist() for one in parts), strict=True)
        per_query[measure] = {query_id: LostPoints(*lost) for query_id, *lost in rows}
    return Decomposition(all_parts, per_query, unanswered)


def _check_queries(runs: Mapping[str, _Scored], qrels: Qrels) -> int:
    """Return how many judged queries the runs lack, after refusing runs of different queries or of none that is judged.

    An index answers every query, so one that a single run lacks was not asked, and its part would be no loss of it.
    """
    exact = runs["exact"].keys()
    for name, run in runs.items():
        if odd := exact ^ run.keys():
            first = min(odd)
            has, lacks = ("exact", name) if first in exact else (name, "exact")
            problem = f"query {first!r} is in the {has} run and not in the {lacks} one ({len(odd)} such queries)"
            raise DataError(f"{problem}; search with the same queries, and give one without hits an empty list")
    unanswered = len(qrels.keys() - exact)
    if unanswered == len(qrels):
        raise DataError(f"none of the {len(qrels)} judged queries is in the runs; are the qrels of the same queries?")
    return unanswered


def _tenths(*parts: float) -> list[int]:
    """Return the parts in tenths, those of them rounded up that make their sum the rounded sum.

    It is the method of the largest remainders, which moves no part by a tenth or more.
    """
    floors = [math.floor(10 * part) for part in parts]
    short = round(10 * sum(parts)) - sum(floors)
    by_remainder = sorted(range(len(parts)), key=lambda place: floors[place] - 10 * parts[place])
    return [floor + (place in by_remainder[:short]) for place, floor in enumerate(floors)]


def _shown(tenths: int) -> str:
    return f"{tenths / 10:.1f}"
