"""Facts of runs → Plotly figures, as plain data.

Colours are words (`$0` … `$5` for series, `$muted`, `$ink`, `$grid`) that the page replaces by those of its theme.
Texts that a user has written are escaped here: Plotly reads a little HTML in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textcl.report.contents import BASE, BM25, TRAINED, Measures, RunFacts, system_name

Trace = dict[str, Any]
NOTHING = "—"
"""Where there is no number."""
COLOURS = 6
"""Series that the page's palette tells apart."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
_MANY = 150  # from so many cosines on narrow bins say more than their noise
_SYSTEM_SYMBOLS = {BASE: "circle-open", TRAINED: "circle", BM25: "x-thin-open"}


@dataclass(frozen=True)
class Chart:
    """A figure with its words.

    Args:
        key: Of the element on the page; letters, digits and hyphens.
        title: What it shows.
        caption: How to read it, and its numbers in words.
        traces: As Plotly takes them.
        layout: As Plotly takes it; the page adds fonts and colours.
        height: In CSS pixels.
        has_tools: Whether the reader can zoom.
    """

    key: str
    title: str
    caption: str
    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    height: int = 320
    has_tools: bool = False


def number(value: float, digits: int = 4) -> str:
    """Return a number in few digits, a dash for one that is none."""
    if not math.isfinite(value):
        return NOTHING
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    shown = np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")
    return shown.replace("-", "−")  # noqa: RUF001 (a minus as wide as a plus)


def plain(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON has them: None for NaN and infinities."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def titled(whose: str, words: str) -> str:
    """Return a title in which a run's name stands first, if there is one."""
    return f"{whose}: {words}" if whose else words[:1].upper() + words[1:]


def axis(title: str = "", **more: object) -> dict[str, Any]:
    """Return an axis; Plotly's own defaults stand for what is not named."""
    return {"title": {"text": escape(title)}, **more}


def levels(runs: Sequence[RunFacts]) -> Chart | None:
    """Return every ranking's measures with their intervals; None without any."""
    traces = []
    names = _measures(system for run in runs for system in run.systems.values())
    for number_, run in enumerate(runs):
        for system, measures in run.systems.items():
            here = [name for name in names if name in measures]
            colour = number_ if len(runs) > 1 else list(run.systems).index(system)
            label = system_name(system) if len(runs) == 1 else f"{run.name}: {system_name(system)}"
            symbol = _SYSTEM_SYMBOLS.get(system, "diamond-open")
            traces.append(_with_bars([measures[name] for name in here], here, "mean", label, colour, symbol))
    if not traces:
        return None
    rows = [row for run in runs for measures in run.systems.values() for row in measures.values()]
    edges = [100 * min(row["low"] for row in rows) - 2, 100 * max(row["high"] for row in rows) + 2]
    layout = {
        "yaxis": axis(autorange="reversed"),
        "xaxis": axis("points of 100", range=plain(edges)),  # left alone, Plotly begins grouped points at 0
        "scattermode": "group",
        "scattergap": 0.4,
    }
    caption = "Means over the queries; bars are 95 % bootstrap intervals of each mean."
    return Chart("levels", "Measures", caption, traces, layout, 120 + len(names) * (24 + 20 * len(traces)))


def changes(runs: Sequence[RunFacts]) -> Chart | None:
    """Return what training changed, with intervals; None without any."""
    pair = (TRAINED, BASE)
    names = _measures(run.changes[pair] for run in runs if pair in run.changes)
    traces = []
    for number_, run in enumerate(runs):
        measures = run.changes.get(pair, {})
        here = [name for name in names if name in measures]
        if here:
            bars = [measures[name] for name in here]
            traces.append(_with_bars(bars, here, "difference", run.name, number_, SYMBOLS[number_ % COLOURS]))
    if not traces:
        return None
    layout = {
        "yaxis": axis(autorange="reversed"),
        "xaxis": axis("points of 100", zeroline=True),
        "scattermode": "group",
        "scattergap": 0.4,
        "showlegend": len(traces) > 1,
    }
    caption = "Trained model less base model, on the same queries; a bar that crosses 0 may be chance."
    return Chart("changes", "Change", caption, traces, layout, 120 + len(names) * (24 + 20 * len(traces)))


def _with_bars(
    rows: Sequence[Mapping[str, float]], names: Sequence[str], key: str, label: str, colour: int, symbol: str
) -> Trace:
    middle = [100 * row[key] for row in rows]
    upper = [100 * (row["high"] - row[key]) for row in rows]
    lower = [100 * (row[key] - row["low"]) for row in rows]
    hover = [f"{100 * row['low']:.1f} to {100 * row['high']:.1f}" for row in rows]
    paint = f"${colour % COLOURS}"
    return {
        "type": "scatter",
        "mode": "markers",
        "orientation": "h",
        "name": escape(label),
        "x": plain(middle),
        "y": [escape(name) for name in names],
        "text": hover,
        "hovertemplate": "%{y}: %{x:.1f} (%{text})",
        "error_x": {"array": plain(upper), "arrayminus": plain(lower), "symmetric": False, "color": paint, "width": 5},
        "marker": {"color": paint, "symbol": symbol, "size": 10, "line": {"width": 2, "color": paint}},
    }


def _measures(many: Iterable[Measures]) -> list[str]:
    return list(dict.fromkeys(name for measures in many for name in measures))


def curves(
    runs: Sequence[RunFacts], name: str, title: str, meaning: str, key: str, points: int = 600, from_zero: bool = False
) -> Chart | None:
    """Return a value of the journals over the steps, a line a run.

    Args:
        runs: The runs.
        name: In the journal.
        title: Of the chart.
        meaning: What the values say.
        key: Of the chart.
        points: Of all lines together at most.
        from_zero: Whether the axis begins at 0.

    Returns:
        None if no run has it.
    """
    found = [(place, run, *run.curves[name]) for place, run in enumerate(runs) if name in run.curves]
    if not found:
        return None
    traces, said, thinned = [], [], False
    for place, run, steps, values in found:
        kept = thin(len(steps), max(2, points // len(found)))
        thinned = thinned or len(kept) < len(steps)
        paint = f"${place % COLOURS}"
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(kept) <= 30 else "lines",
                "name": escape(run.name),
                "x": [int(steps[one]) for one in kept],
                "y": plain(values[one] for one in kept),
                "line": {"color": paint, "dash": DASHES[place % COLOURS], "width": 2},
                "marker": {"color": paint, "symbol": SYMBOLS[place % COLOURS], "size": 6},
                "hovertemplate": "step %{x}: %{y:.4g}",
            }
        )
        lead = "" if len(found) == 1 else f"{run.name}: "
        said.append(f"{lead}{number(values[0])} at first, {number(values[-1])} at last")
    caption = f"{meaning} {'; '.join(said)}.{' Some of the values are drawn.' if thinned else ''}".strip()
    layout = {
        "xaxis": axis("step"),
        "yaxis": axis(rangemode="tozero" if from_zero else "normal"),
        "showlegend": len(runs) > 1,
    }
    return Chart(key, title, caption, traces, layout, 230 + 20 * (len(runs) > 1))


def thin(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of the places 0 … count - 1, spread evenly, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def similarities(run: RunFacts, key: str, whose: str = "") -> Chart | None:
    """Return how the cosines of relevant and of other documents are distributed; None without any."""
    if not run.similarities:
        return None
    everything = np.concatenate([part for one in run.similarities.values() for part in (one.positives, one.negatives)])
    width = 0.02 if min(len(one.positives) for one in run.similarities.values()) >= _MANY else 0.05
    edges = np.arange(math.floor(everything.min() / width) - 1, math.ceil(everything.max() / width) + 2) * width
    traces, said = [], []
    for system, one in run.similarities.items():
        for kind, values, colour in (("relevant", one.positives, 0), ("other", one.negatives, 1)):
            counts, _edges = np.histogram(values, edges)
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": f"{kind}, {system_name(system)}",
                    "x": plain((edges[:-1] + edges[1:]) / 2),
                    "y": plain(counts / max(1, counts.sum())),
                    "line": {
                        "color": f"${colour}",
                        "shape": "hvh",
                        "width": 2,
                        "dash": "dot" if system == BASE else "solid",
                    },
                    "fill": "none" if system == BASE else "tozeroy",
                    "hovertemplate": "cosine %{x:.2f}: %{y:.1%}",
                }
            )
        said.append(f"{100 * nearer(one.positives, one.negatives):.1f} % with the {system_name(system)}")
    counted = next(iter(run.similarities.values()))
    caption = (
        f"{len(counted.positives):,} queries with a document that is relevant, and with documents drawn at random that "
        f"are not ({len(counted.negatives):,} cosines). A relevant one is nearer than another in {', '.join(said)}."
    )
    layout = {"xaxis": axis("cosine"), "yaxis": axis("share", tickformat=".0%")}
    return Chart(key, titled(whose, "relevant and other documents"), caption, traces, layout, 380)


def nearer(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """Return the chance that a positive is above a negative, ties counting half: the area under the ROC curve."""
    ordered = np.sort(negatives)
    below, upto = (np.searchsorted(ordered, positives, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(negatives)))
