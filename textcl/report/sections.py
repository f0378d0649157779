"""Facts of runs → the sections of the page, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from textcl.report import charts, tables
from textcl.report.charts import Chart, curves
from textcl.report.contents import RunFacts
from textcl.report.index_charts import decompositions, index_curves
from textcl.report.maps import maps
from textcl.report.tables import Table

T = TypeVar("T")
# Name in the journal → what a reader should know about it.
_HEALTH = {
    "alignment": "Mean squared distance of pairs; lower is closer.",
    "uniformity": "How evenly texts cover the sphere; lower is more even.",
    "effective_rank": "Dimensions that are used; a fall is a collapse.",
    "spread": "1 is even, 0 is one point.",
    "mean_cosine": "Of different texts; near 1 they all point one way.",
    "gap": "Mean cosine of pairs less that of different texts.",
    "info_nce": "Of the fixed pairs, in nats.",
}
_SPEED = {
    "pairs_per_s": ("Pairs a second", "Of all processes."),
    "tokens_per_s": ("Tokens a second", "Of all processes."),
    "padding_fraction": ("Padding", "Share of what was computed."),
    "waiting_fraction": ("Waiting", "Share of the time in which no data was there."),
    "peak_fraction": ("Share of the peak", "Of what the machine's matrix products reach."),
}
_OTHERS = 12  # further values that are drawn


@dataclass(frozen=True)
class Section:
    """A part of the page: words, then tables, then charts, then what is folded away."""

    key: str
    title: str
    words: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    texts: Sequence[tuple[str, str]] = ()
    folded: Sequence[Table] = field(default=())

    @property
    def has_content(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.tables or self.charts or self.texts or self.folded)


def sections(runs: Sequence[RunFacts]) -> list[Section]:
    """Return the sections that have something to show."""
    everything = [
        Section("results", "Results", (), _some([tables.headline(runs)]), _some(_results(runs))),
        Section("training", "Training", (), (), _some(_training(runs))),
        Section("health", "Health", (_HEALTH_WORDS,), (), _some(_health(runs))),
        Section("speed", "Throughput", (), (), _some(_speed(runs))),
        Section("index", "Index", (), (), _some([index_curves(runs), decompositions(runs)])),
        Section("similarities", "Similarities", (), (), _some(_similarities(runs))),
        Section("map", "Map of the corpus", (_MAP_WORDS,), (), _maps(runs)),
        Section("slices", "Groups of queries", (), _some(map(tables.slices, runs))),
        Section("worst", "Worst queries", (_WORST_WORDS,), _some(map(tables.worst, runs))),
        Section(
            "recipe",
            "Recipe and fingerprints",
            (),
            _some([tables.settings(runs), tables.facts(runs)]),
            (),
            [(f"{run.name}: resolved recipe", run.recipe) for run in runs if run.recipe],
            _some(map(tables.files, runs)),
        ),
    ]
    return [one for one in everything if one.has_content]


_HEALTH_WORDS = "Measured on fixed pairs of the training data, at every look."
_MAP_WORDS = "Point at a document to read its start; the left and right arrow keys go through them."
_WORST_WORDS = "Marked with ✓: judged relevant."


def _results(runs: Sequence[RunFacts]) -> list[Chart | None]:
    return [charts.changes(runs), charts.levels(runs)]


def _training(runs: Sequence[RunFacts]) -> list[Chart | None]:
    found = [curves(runs, "loss", "Loss", "Of the batch.", "loss", 1000)]
    measured = dict.fromkeys(name for run in runs for one in run.systems.values() for name in one)
    known = [name for name in (*measured, "spearman") if any(name in run.curves for run in runs)]
    found += [curves(runs, name, name, "On the way.", f"way-{place}") for place, name in enumerate(known)]
    found.append(curves(runs, "learning_rate", "Learning rate", "Of the schedule.", "learning-rate", 400, True))
    taken = {"loss", "learning_rate", *known}
    others = dict.fromkeys(
        name
        for run in runs
        for name, (_steps, values) in run.curves.items()
        if name not in taken and not name.startswith(("health/", "speed/")) and len(set(values)) > 1
    )
    for place, name in enumerate(list(others)[:_OTHERS]):
        found.append(curves(runs, name, _title(name), "", f"other-{place}", 300))
    return found


def _health(runs: Sequence[RunFacts]) -> list[Chart | None]:
    return [
        curves(runs, f"health/{name}", _title(name), meaning, f"health-{name.replace('_', '-')}")
        for name, meaning in _HEALTH.items()
    ]


def _speed(runs: Sequence[RunFacts]) -> list[Chart | None]:
    return [
        curves(runs, f"speed/{name}", title, meaning, f"speed-{name.replace('_', '-')}", from_zero=True)
        for name, (title, meaning) in _SPEED.items()
    ]


def _title(name: str) -> str:
    words = name.replace("_", " ")
    return {"info_nce": "InfoNCE"}.get(name, words[:1].upper() + words[1:])


def _similarities(runs: Sequence[RunFacts]) -> list[Chart | None]:
    return [charts.similarities(run, f"similarities-{place}", _whose(run, runs)) for place, run in enumerate(runs)]


def _maps(runs: Sequence[RunFacts]) -> list[Chart]:
    return [chart for place, run in enumerate(runs) for chart in maps(run, f"map-{place}", _whose(run, runs))]


def _whose(run: RunFacts, runs: Sequence[RunFacts]) -> str:
    """Return what stands before a title where there are several runs."""
    return run.name if len(runs) > 1 else ""


def _some(found: Iterable[T | None]) -> list[T]:
    return [one for one in found if one is not None]
