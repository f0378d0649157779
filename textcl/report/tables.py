"""Facts of runs → tables that can be sorted by each of their columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textcl.report.charts import NOTHING
from textcl.report.contents import BASE, TRAINED, Document, Measures, RunFacts, system_name


@dataclass(frozen=True)
class Cell:
    """What stands in a place of a table.

    Args:
        text: To be read.
        order: A number to sort by; None sorts by the text.
        documents: Documents to be shown below the text.
    """

    text: str
    order: float | None = None
    documents: Sequence[Document] = ()


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: Read out before it.
        columns: The heads.
        rows: As many cells each as there are columns.
        numbers: Places of columns that hold numbers.
        stacks: Whether a narrow screen shows each row as a list.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: frozenset[int] = frozenset()
    stacks: bool = False


def headline(runs: Sequence[RunFacts]) -> Table | None:
    """Return each measure of each run with all its rankings and what they differ by; None without any measure."""
    systems = list(dict.fromkeys(system for run in runs for system in run.systems))
    pairs = list(dict.fromkeys(pair for run in runs for pair in run.changes))
    measures = dict.fromkeys(name for run in runs for one in run.systems.values() for name in one)
    if not measures:
        return None
    rows = []
    for measure in measures:
        for run in runs:
            values = [_level(run.systems.get(system, {}), measure) for system in systems]
            differences = [_change(run.changes.get(pair, {}), measure) for pair in pairs]
            queries = next((int(one[measure]["queries"]) for one in run.systems.values() if measure in one), 0)
            name = [Cell(run.name)] if len(runs) > 1 else []
            rows.append([Cell(measure), *name, *values, *differences, Cell(f"{queries:,}", queries)])
    heads = ["measure", *(["run"] if len(runs) > 1 else []), *map(system_name, systems)]
    heads += [f"{system_name(one)} less {system_name(other)}" for one, other in pairs]
    first = 2 if len(runs) > 1 else 1
    return Table(
        "Measures with 95 % intervals, in points of 100",
        [*heads, "queries"],
        rows,
        frozenset(range(first, len(heads) + 1)),
        stacks=True,
    )


def _level(measures: Measures, name: str) -> Cell:
    if name not in measures:
        return Cell(NOTHING, -math.inf)
    one = measures[name]
    return Cell(f"{100 * one['mean']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})", one["mean"])


def _change(measures: Measures, name: str) -> Cell:
    if name not in measures:
        return Cell(NOTHING, -math.inf)
    one = measures[name]
    said = f"{_signed(one['difference'])} ({_signed(one['low'])} to {_signed(one['high'])})"
    return Cell(said, one["difference"])


def _signed(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")  # noqa: RUF001 (a minus as wide as a plus)


def slices(run: RunFacts) -> Table | None:
    """Return the measures of groups of queries; None without any."""
    if not run.slices:
        return None
    systems = list(dict.fromkeys(system for one in run.slices for system in one.systems))
    measures = list(dict.fromkeys(name for one in run.slices for values in one.systems.values() for name in values))
    changed = any(one.change for one in run.slices)
    rows = []
    for place, one in enumerate(run.slices):
        for name in measures:
            values = [_level(one.systems.get(system, {}), name) for system in systems]
            change = [_change(one.change, name)] if changed else []
            queries = Cell(f"{one.queries:,}", one.queries)
            rows.append([Cell(one.by), Cell(one.name, place), queries, Cell(name), *values, *change])
    heads = ["by", "queries with", "queries", "measure", *map(system_name, systems)]
    heads += [f"{system_name(TRAINED)} less {system_name(BASE)}"] if changed else []
    return Table(f"{run.name}: groups of queries", heads, rows, frozenset({2, *range(4, len(heads))}), stacks=True)


def worst(run: RunFacts) -> Table | None:
    """Return the queries that are answered worst, with what was found and what should have been; None without any."""
    if not run.worst:
        return None
    compared = any(one.before is not None for one in run.worst)
    rows = []
    for place, one in enumerate(run.worst, start=1):
        before = [Cell(NOTHING if one.before is None else f"{100 * one.before:.1f}", one.before)] if compared else []
        query = f"{one.query_id} (its text is not in the collection)" if one.text is None else one.text
        values = [*before, Cell(f"{100 * one.value:.1f}", one.value)]
        found = Cell("" if one.found else "nothing", None, one.found)
        rows.append([Cell(str(place), place), Cell(query), *values, found, Cell("", None, one.wanted)])
    heads = ["#", "query", *(["before"] if compared else []), "after", "found", "should have been found"]
    title = f"{run.name}: the {len(run.worst)} worst queries by {run.worst_by}"
    return Table(title, heads, rows, frozenset({0, 2, 3} if compared else {0, 2}), stacks=True)


def settings(runs: Sequence[RunFacts]) -> Table | None:
    """Return the settings that differ between runs; None for one run, or where all are equal."""
    fields = dict.fromkeys(field for run in runs for field in run.settings)
    odd = [field for field in fields if len({run.settings.get(field) for run in runs}) > 1]
    if len(runs) < 2 or not odd:
        return None
    rows = [[Cell(field), *(Cell(run.settings.get(field, NOTHING)) for run in runs)] for field in odd]
    return Table("Settings that differ", ["setting", *(run.name for run in runs)], rows)


def facts(runs: Sequence[RunFacts]) -> Table | None:
    """Return what the manifests say, a column a run; None where no run has one."""
    names = dict.fromkeys(name for run in runs for name in run.facts)
    if not names:
        return None
    rows = [[Cell(name), *(Cell(run.facts.get(name, NOTHING)) for run in runs)] for name in names]
    return Table("Fingerprints, versions and steps", ["name", *(run.name for run in runs)], rows)


def files(run: RunFacts) -> Table | None:
    """Return the files of a run with their checksums; None where nobody wrote them down."""
    if not run.files:
        return None
    rows = [[Cell(name), Cell(digest)] for name, digest in run.files.items()]
    return Table(f"{run.name}: files", ["file", "SHA-256"], rows)


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return nested settings by dotted field, as text."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = "" if value is None else str(value)
    return found
