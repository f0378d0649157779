"""What one recipe gives over several seeds: mean, deviation and interval of each measure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import scipy.stats

from textcl.errors import DataError


@dataclass(frozen=True)
class SeedSummary:
    """One measure over runs that differ by their seed alone.

    Args:
        mean: The mean.
        deviation: The sample standard deviation (n - 1); 0 for a single run.
        low: Lower end of the 95 % t interval of the mean; None for a single run, which tells no spread.
        high: Its upper end.
        count: How many runs.
        values: One a run, in the order given.
    """

    mean: float
    deviation: float
    low: float | None
    high: float | None
    count: int
    values: tuple[float, ...]

    def to_json(self) -> dict[str, float | int | list[float] | None]:
        """Return every field by its name."""
        return {**vars(self), "values": list(self.values)}


def summarise_seeds(values: Mapping[str, Sequence[float]]) -> dict[str, SeedSummary]:
    """Return measure → summary.

    The interval holds the mean over all seeds in 95 of 100 such samples if the values are about normal. It says nothing
    about other queries or other training data.

    Args:
        values: Measure → one value a seed.

    Raises:
        DataError: If a measure has no value, or one that is no finite number.

    References:
        Student (1908), The probable error of a mean, Biometrika 6.
    """
    return {name: _summary(name, [float(value) for value in own]) for name, own in values.items()}


@dataclass(frozen=True)
class SeedDifference:
    """One measure of two systems with a run a seed.

    Args:
        before: The first system's runs.
        after: The second system's.
        low: Lower end of the 95 % t interval of the difference of the two means over seeds, as if both had one spread.
        high: Its upper end.
    """

    before: SeedSummary
    after: SeedSummary
    low: float
    high: float

    def to_json(self) -> dict[str, object]:
        """Return every field by its name."""
        return {"before": self.before.to_json(), "after": self.after.to_json(), "low": self.low, "high": self.high}


def compare_seeds(before: Sequence[float], after: Sequence[float]) -> SeedDifference:
    """Return what seeds change of a measure in two systems.

    One system may have a single run: the spread is then the other's.

    Args:
        before: One value a seed.
        after: One value a seed; seeds are not paired, since equal seeds of two recipes share nothing.

    Raises:
        DataError: If there are fewer than three values in all, or one is no finite number.

    References:
        Student's test of two samples with one variance.
    """
    first, second = (_summary("the measure", list(values)) for values in (before, after))
    freedom = first.count + second.count - 2
    if freedom < 1:
        raise DataError("two runs in all tell no spread; give at least two of one system")
    squares = (first.count - 1) * first.deviation**2 + (second.count - 1) * second.deviation**2
    error = math.sqrt(squares / freedom * (1 / first.count + 1 / second.count))
    half = float(scipy.stats.t.ppf(0.975, freedom)) * error
    difference = second.mean - first.mean
    return SeedDifference(first, second, difference - half, difference + half)


def _summary(name: str, values: list[float]) -> SeedSummary:
    if not values:
        raise DataError(f"{name}: no value of any seed")
    if odd := [value for value in values if not math.isfinite(value)]:
        raise DataError(f"{name}: {odd[0]} is no finite number")
    count, mean = len(values), statistics.mean(values)
    if count == 1:
        return SeedSummary(mean, 0.0, None, None, 1, tuple(values))
    deviation = statistics.stdev(values)
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return SeedSummary(mean, deviation, mean - half, mean + half, count, tuple(values))
