"""What the manifests of indexes say → charts."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from textcl.report.charts import COLOURS, DASHES, SYMBOLS, Chart, axis, number, plain
from textcl.report.contents import IndexFacts, RunFacts


def index_curves(runs: Sequence[RunFacts]) -> Chart | None:
    """Return recall against latency of every index that was measured; None without any."""
    traces = []
    measured = [(run, index) for run in runs for index in run.indexes if index.curve]
    for place, (run, index) in enumerate(measured):
        points = sorted(index.curve, key=lambda point: point.p50_ms)
        rates = ["" if one.queries_per_s is None else f", {one.queries_per_s:,.0f} queries a second" for one in points]
        settings = [
            f"{escape(one.settings)}<br>p95 {number(one.p95_ms)} ms{rate}"
            for one, rate in zip(points, rates, strict=True)
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": escape(index.name if len(runs) == 1 else f"{run.name}: {index.name}"),
                "x": plain(one.p50_ms for one in points),
                "y": plain(one.recall for one in points),
                "text": settings,
                "hovertemplate": "recall %{y:.3f} in %{x:.3g} ms<br>%{text}",
                "error_x": {
                    "array": plain(one.p95_ms - one.p50_ms for one in points),
                    "arrayminus": [0.0] * len(points),
                    "symmetric": False,
                    "color": f"${place % COLOURS}",
                    "thickness": 1,
                },
                "line": {"color": f"${place % COLOURS}", "dash": DASHES[place % COLOURS]},
                "marker": {"color": f"${place % COLOURS}", "symbol": SYMBOLS[place % COLOURS], "size": 9},
            }
        )
    if not traces:
        return None
    caption = "Each point is one setting; the bar goes from the median to the 95th percentile of the time of one query."
    layout = {"xaxis": axis("milliseconds a query, median", type="log"), "yaxis": axis("recall"), "showlegend": True}
    return Chart("recall-latency", "Recall against latency", caption, traces, layout, 380, has_tools=True)


LOSSES = (("kept", "index"), ("lost in search", "decoded"), ("lost in codes", "exact"), ("lost by the model", None))


def _called(run: RunFacts, index: IndexFacts, measure: str, *, several: bool) -> str:
    """Return a measure's name, with those of its run and its index where there are several."""
    return ": ".join([run.name] * several + [index.name] * (len(run.indexes) > 1) + [measure])


def decompositions(runs: Sequence[RunFacts]) -> Chart | None:
    """Return where the points of each measure are lost, from the model down to the search; None without any."""
    rows = [
        (_called(run, index, measure, several=len(runs) > 1), values)
        for run in runs
        for index in run.indexes
        for measure, values in index.decomposition.items()
    ]
    if not rows:
        return None
    traces = []
    for place, (label, top) in enumerate(LOSSES):
        below = LOSSES[place - 1][1] if place else None
        parts = [100 * ((values[top] if top else 1.0) - (values[below] if below else 0.0)) for _name, values in rows]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": label,
                "x": plain(parts),
                "y": [escape(name) for name, _values in rows],
                "marker": {
                    "color": f"${place}",
                    "pattern": {"shape": ("", "/", "x", ".")[place], "fgcolor": "$paper", "size": 6},
                },
                "hovertemplate": "%{x:.1f} points " + label,
            }
        )
    caption = "Of 100 points: what the index keeps, and what search, codes and the model lose."
    layout = {"barmode": "relative", "xaxis": axis("points of 100"), "yaxis": axis(autorange="reversed")}
    return Chart("decomposition", "Where points are lost", caption, traces, layout, 180 + 36 * len(rows))
