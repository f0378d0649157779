"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textcl.assemble.seeds import SeedRuns
    from textcl.evaluation.compare import Comparison
    from textcl.evaluation.retrieval import RetrievalResult


def say(text: str) -> None:
    """Print a line for the person who waits, on standard error."""
    print(text, file=sys.stderr, flush=True)


def show_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False))


def show_measures(result: RetrievalResult) -> None:
    """Print a table of measures with their intervals."""
    print(f"{'measure':<14}{'mean':>8}   95 % interval")
    for name, interval in result.measures.items():
        print(f"{name:<14}{interval.mean:>8.4f}   {interval.low:.4f} to {interval.high:.4f}")
    queries = next(iter(result.measures.values())).queries
    unanswered = f", {result.unanswered} of them unanswered (they count as 0)" if result.unanswered else ""
    print(f"{queries} judged queries{unanswered}")


def show_estimates(rows: Mapping[str, tuple[float, float | None, float | None]]) -> None:
    """Print a table of name → value and its interval, where it has one."""
    print(f"{'measure':<20}{'value':>8}   95 % interval")
    for name, (value, low, high) in rows.items():
        interval = "" if low is None or high is None else f"   {low:.4f} to {high:.4f}"
        print(f"{name:<20}{value:>8.4f}{interval}")


def show_comparison(comparison: Comparison) -> None:
    """Print a table of measures before and after, in points of a hundred."""
    print(f"{'measure':<14}{'before':>8}{'after':>8}{'change':>9}   95 % interval of the change")
    for name, row in comparison.measures.items():
        change = f"{100 * row.difference:+.1f}"
        interval = f"{100 * row.low:+.1f} to {100 * row.high:+.1f}"
        print(f"{name:<14}{100 * row.before:>8.1f}{100 * row.after:>8.1f}{change:>9}   {interval}")
    queries = next(iter(comparison.measures.values())).queries
    print(f"{queries} queries; points of 100; paired bootstrap over queries")


def show_seeds(runs: SeedRuns) -> None:
    """Print a table of measures over several seeds."""
    width = max(map(len, runs.summaries), default=7) + 2
    print(f"{'measure':<{width}}{'mean':>10}{'deviation':>11}   95 % interval of the mean")
    for name, one in runs.summaries.items():
        print(f"{name:<{width}}{one.mean:>10.4f}{one.deviation:>11.4f}   {one.low:.4f} to {one.high:.4f}")
    print(f"{len(runs.seeds)} seeds, {runs.seeds[0]} to {runs.seeds[-1]}: {runs.folder}")
