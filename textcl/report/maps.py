"""A sample of the corpus → a map with the documents' texts under the pointer."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from html import escape

from textcl.report.charts import COLOURS, SYMBOLS, Chart, Trace, axis, plain, titled
from textcl.report.contents import RunFacts, system_name

_HOVER_LETTERS, _HOVER_WIDTH = 160, 48
OTHERS, NONE = "other values", "no value"


def maps(run: RunFacts, key: str, whose: str = "") -> list[Chart]:
    """Return the map of the corpus with each encoder that was asked; empty without any."""
    corpus = run.corpus_map
    if corpus is None:
        return []
    everything = list(range(len(corpus.texts)))
    groups = [("documents", everything)] if corpus.field is None else _groups(corpus.values)
    hovers = [
        hover(doc_id, text, corpus.values[place] if corpus.values else None)
        for place, (doc_id, text) in enumerate(zip(corpus.doc_ids, corpus.texts, strict=True))
    ]
    found = []
    for system, points in corpus.points.items():
        shares = corpus.explained.get(system)
        traces: list[Trace] = []
        for number, (name, places) in enumerate(groups):
            rest = name in (OTHERS, NONE) and number == len(groups) - 1 and len(groups) > 1
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": escape(name),
                    "x": plain(points[place, 0] for place in places),
                    "y": plain(points[place, 1] for place in places),
                    "text": [hovers[place] for place in places],
                    "hovertemplate": "%{text}<extra></extra>",
                    "marker": {
                        "color": "$muted" if rest else f"${number % COLOURS}",
                        "symbol": "circle" if rest else SYMBOLS[number % COLOURS],
                        "size": 5 if rest or len(groups) == 1 else 9,
                        "opacity": 0.55 if rest or len(groups) == 1 else 0.95,
                    },
                }
            )
        traces.reverse()  # the rest lies below what has a colour
        more = len(corpus.texts) - corpus.drawn
        added = f" and {more:,} more with frequent values of the field" if more else ""
        coloured = "" if corpus.field is None else f" Colours: {corpus.field}."
        on, horizontal, vertical = _dimensions(shares)
        caption = f"{corpus.drawn:,} of {corpus.corpus:,} documents drawn at random{added}, on {on}.{coloured}"
        layout = {
            "xaxis": axis(horizontal, showticklabels=False),
            "yaxis": axis(vertical, showticklabels=False, scaleanchor="x"),
            "hovermode": "closest",
            "legend": {"traceorder": "reversed"},
            "showlegend": len(groups) > 1,
        }
        title = titled(whose, system_name(system))
        found.append(Chart(f"{key}-{system}", title, caption, traces, layout, 480, has_tools=True))
    return found


def _dimensions(shares: tuple[float, float] | None) -> tuple[str, str, str]:
    """Return what the two dimensions are, in words, and their titles."""
    if shares is None:
        return "two dimensions of UMAP, which keeps near what is near and says nothing by distances beyond", "", ""
    held = f"the first two principal components, which hold {100 * sum(shares):.0f} % of the variance"
    first, second = (
        f"{name} component ({100 * share:.0f} %)" for name, share in zip(("first", "second"), shares, strict=True)
    )
    return held, first, second


def hover(doc_id: str, text: str, value: str | None) -> str:
    """Return what stands under the pointer: the start of a text in short lines, escaped."""
    words = " ".join(text.split())
    start = words if len(words) <= _HOVER_LETTERS else f"{words[: _HOVER_LETTERS - 1]}…"
    lines = [escape(line) for line in textwrap.wrap(start, _HOVER_WIDTH)] or ["(no text)"]
    head = f"<b>{escape(doc_id)}</b>" if value is None else f"<b>{escape(doc_id)}</b> {escape(value)}"
    return "<br>".join([head, *lines])


def _groups(values: Sequence[str | None]) -> list[tuple[str, list[int]]]:
    """Return the places of the most frequent values, then those of the rest."""
    counted = Counter(value for value in values if value is not None)
    ordered = sorted(counted, key=lambda value: (-counted[value], value))
    most = ordered if len(ordered) <= COLOURS else ordered[: COLOURS - 1]
    groups = [(value, [place for place, one in enumerate(values) if one == value]) for value in most]
    rest = [place for place, one in enumerate(values) if one not in most]
    if rest:
        groups.append((OTHERS if len(ordered) > len(most) else NONE, rest))
    return groups
