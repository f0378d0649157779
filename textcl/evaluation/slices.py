"""Means over some of the queries: short and long ones, those with few and many positives, those of a field's value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from textcl.errors import ConfigError
from textcl.evaluation.intervals import Interval, mean_intervals
from textcl.evaluation.ranking import Qrels
from textcl.evaluation.retrieval import RetrievalResult

Labels = dict[str, str]
"""Query id → which slice it is in."""

MOST_SLICES = 50
_FEW_NUMBERS = 10  # so many different numbers are slices of their own
_POSITIVES = ((0, 0), (1, 1), (2, 3), (4, 10), (11, None))


@dataclass(frozen=True)
class Slice:
    """One part of the queries.

    Args:
        by: What the queries are told apart by.
        value: What these queries have of it.
        measures: Measure → mean and interval over these queries.
    """

    by: str
    value: str
    measures: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Return every field by its name."""
        return {
            "by": self.by,
            "value": self.value,
            "measures": {name: asdict(interval) for name, interval in self.measures.items()},
        }


def slice_result(
    result: RetrievalResult, by: str, labels: Mapping[str, str], *, seed: int = 0, resamples: int | None = None
) -> list[Slice]:
    """Return the measures of `result` for each label, in the order of the labels' first queries in `labels`.

    Args:
        result: Of `evaluate_run`.
        by: Name of what the labels are.
        labels: Query id → label; judged queries without one are in no slice.
        seed: Of the intervals.
        resamples: Of the intervals.
    """
    slices = []
    for value in dict.fromkeys(labels.values()):
        own = [query_id for query_id, label in labels.items() if label == value]
        columns = [[of_query[query_id] for query_id in own if query_id in of_query] for of_query in _columns(result)]
        if columns[0]:
            intervals = mean_intervals(np.array(columns).T, seed=seed, resamples=resamples)
            slices.append(Slice(by, value, dict(zip(result.measures, intervals, strict=True))))
    return slices


def by_length(texts: Mapping[str, str]) -> Labels:
    """Return thirds by the number of words between white space: query id → such as "3 to 7 words"."""
    lengths = {query_id: float(len(text.split())) for query_id, text in texts.items()}
    return {query_id: f"{label} words" for query_id, label in _thirds(lengths).items()}


def by_positives(qrels: Qrels) -> Labels:
    """Return slices by the number of documents judged 1 or more: 0, 1, 2 to 3, 4 to 10, 11 or more."""
    counts = {query_id: sum(1 for gain in of.values() if gain >= 1) for query_id, of in qrels.items()}
    return {
        query_id: _span(*next(span for span in _POSITIVES if span[1] is None or counts[query_id] <= span[1]))
        for query_id in sorted(counts, key=counts.__getitem__)
    }


def by_field(values: Mapping[str, object], field: str) -> Labels:
    """Return slices by a field of the queries: each value is one, most frequent first; many numbers become thirds.

    Args:
        values: Query id → value; None is a value too, "none".
        field: Its name, for the error.

    Raises:
        ConfigError: If there are more than 50 different values that are not all numbers.
    """
    shown = {query_id: "none" if value is None else str(value) for query_id, value in values.items()}
    counts = Counter(shown.values())
    numbers = {query_id: _number(value) for query_id, value in values.items()}
    if len(counts) > _FEW_NUMBERS and all(math.isfinite(number) for number in numbers.values()):
        return _thirds(numbers)
    if len(counts) > MOST_SLICES:
        problem = f"{field!r} has {len(counts)} different values; a field has at most {MOST_SLICES}, or numbers"
        raise ConfigError("slices", problem=problem)
    frequent = {value: place for place, (value, _count) in enumerate(counts.most_common())}
    return {query_id: shown[query_id] for query_id in sorted(shown, key=lambda one: frequent[shown[one]])}


def _columns(result: RetrievalResult) -> Sequence[Mapping[str, float]]:
    return [result.per_query[name] for name in result.measures]


def _thirds(numbers: Mapping[str, float]) -> Labels:
    """Return three parts of about equal size, in rising order; equal numbers stay together."""
    lower, upper = np.quantile(list(numbers.values()), [1 / 3, 2 / 3], method="inverted_cdf")
    part = {query_id: int(number > lower) + int(number > upper) for query_id, number in numbers.items()}
    spans = {
        place: (min(own), max(own))
        for place in range(3)
        if (own := [number for query_id, number in numbers.items() if part[query_id] == place])
    }
    names = {place: _span(*span) for place, span in spans.items()}
    if any(_span(low, low) == _span(high, high) for low, high in spans.values() if low != high):
        names = {place: _span(*span, digits=15) for place, span in spans.items()}  # large numbers next to each other
    return {query_id: names[part[query_id]] for query_id in sorted(numbers, key=part.__getitem__)}


def _span(low: float, high: float | None, digits: int = 6) -> str:
    if high is None:
        return f"{low:.{digits}g} or more"
    return f"{low:.{digits}g}" if low == high else f"{low:.{digits}g} to {high:.{digits}g}"


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        return math.nan
