"""Sections → one HTML file that needs nothing else: no network, no further file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import resources

from textcl.errors import MissingExtraError
from textcl.report.contents import RunFacts
from textcl.report.sections import Section, sections


def render(runs: Sequence[RunFacts]) -> str:
    """Return the page.

    A policy in its head forbids the browser every request and every script but those that are written here, named
    by their SHA-256, so that nothing in a run's texts can do either.

    Args:
        runs: One or more, with different names.

    Raises:
        MissingExtraError: If the extra `report` is not installed.
    """
    require_extra()
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("textcl.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = sections(runs)
    scripts = [get_plotlyjs(), _page_file("page.js")]
    page: str = environment.get_template("page.html.j2").render(
        title=f"textcl: {', '.join(run.name for run in runs)}",
        runs=runs,
        sections=shown,
        style=_page_file("page.css"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        charts=script_json(_figures(shown)),
        missing=[(run.name, sentence) for run in runs for sentence in run.missing],
    )
    return page.lstrip()


def require_extra() -> None:
    """Raise MissingExtraError if what makes the page is not installed; call it before long work starts."""
    try:
        import jinja2  # noqa: F401 (only whether it is there)
        import plotly  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("a report", "report") from error


def script_json(value: object) -> str:
    """Return JSON that cannot end the element it stands in, whatever its texts are."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _figures(shown: Sequence[Section]) -> dict[str, object]:
    return {
        chart.key: {"data": list(chart.traces), "layout": dict(chart.layout), "tools": chart.has_tools}
        for section in shown
        for chart in section.charts
    }


def _page_file(name: str) -> str:
    return (resources.files("textcl.report") / "page" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
