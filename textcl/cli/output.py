"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textcl.assemble.seeds import SeedRuns
    from textcl.evaluation.compare import Comparison
    from textcl.evaluation.retrieval import RetrievalResult
    from textcl.evaluation.slices import Slice


def say(text: str) -> None:
    """Print a line for the person who waits, on standard error."""
    print(text, file=sys.stderr, flush=True)


def show_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    print(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:  # noqa: ANN401 (whatever JSON has)
    """Return a value with null where a number is none, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show_measures(result: RetrievalResult, beside: Mapping[str, RetrievalResult] = MappingProxyType({})) -> None:
    """Print a table of measures with their intervals, each with those of other rankings below it, and notes."""
    width = max(14, *(len(name) + 2 for name in result.measures))
    print(f"{'measure':<{width}}{'mean':>8}   95 % interval")
    for name in result.measures:
        for called, one in {name: result, **{f"  {other}": found for other, found in beside.items()}}.items():
            mean = one.measures[name]
            print(f"{called:<{width}}{mean.mean:>8.4f}   {mean.low:.4f} to {mean.high:.4f}{_ties(one, name)}")
    if beside:
        print("bm25: by words alone; fused: both rankings by their ranks, as deep as the measures look")
    if result.judged_fraction:
        shares = ", ".join(f"{share:.3g} of the top {k}" for k, share in result.judged_fraction.items())
        print(f"judged: {shares}")
    queries = next(iter(result.measures.values())).queries
    unanswered = f", {result.unanswered} of them unanswered (they count as 0)" if result.unanswered else ""
    unjudged = f"; {result.unjudged} more without judgement (they do not count)" if result.unjudged else ""
    print(f"{queries} judged queries{unanswered}{unjudged}")


def show_estimates(rows: Mapping[str, tuple[float, float | None, float | None]]) -> None:
    """Print a table of name → value and its interval, where it has one."""
    print(f"{'measure':<20}{'value':>8}   95 % interval")
    for name, (value, low, high) in rows.items():
        interval = "" if low is None or high is None else f"   {low:.4f} to {high:.4f}"
        print(f"{name:<20}{value:>8.4f}{interval}")


def _ties(result: RetrievalResult, name: str) -> str:
    bounds = result.ties[name]
    if not bounds.touched_fraction:
        return ""
    return f"   ties: {bounds.low:.4f} to {bounds.high:.4f}, in {bounds.touched_fraction:.3g} of the queries"


def show_slices(slices: Sequence[Slice]) -> None:
    """Print a table of measures for parts of the queries, one for each way to part them."""
    for by in dict.fromkeys(one.by for one in slices):
        own = [one for one in slices if one.by == by]
        width = max(len(by), *(len(one.value) for one in own)) + 2
        names = list(own[0].measures)
        print(f"\n{by:<{width}}{'queries':>8}" + "".join(f"{name:>26}" for name in names))
        for one in own:
            count = one.measures[names[0]].queries
            cells = (f"{value.mean:.4f} ({value.low:.4f}, {value.high:.4f})" for value in one.measures.values())
            print(f"{one.value:<{width}}{count:>8}" + "".join(f"{cell:>26}" for cell in cells))


def show_comparison(comparison: Comparison, tests: int | None = None) -> None:
    """Print a table of measures before and after, in points of a hundred; `tests` are what p is corrected for."""
    head = f"{'measure':<14}{'before':>8}{'after':>8}{'change':>9}   {'95 % interval of the change':<29}"
    print(f"{head}{'p':>8}{'Holm p':>8}{'detectable':>12}")
    for name, row in comparison.measures.items():
        interval = f"{100 * row.low:+.1f} to {100 * row.high:+.1f}"
        seen = "" if row.detectable is None else f"{100 * row.detectable:.1f}"
        means = f"{100 * row.before:>8.1f}{100 * row.after:>8.1f}{100 * row.difference:>+9.1f}"
        print(f"{name:<14}{means}   {interval:<29}{row.p:>8.4f}{row.adjusted_p:>8.4f}{seen:>12}")
    for name, seeds in comparison.seeds.items():
        counts = f"{seeds.before.count} and {seeds.after.count} runs"
        spread = f"deviation {100 * seeds.before.deviation:.2f} and {100 * seeds.after.deviation:.2f}"
        print(f"{name:<14}over seeds: {counts}, {spread}, change {100 * seeds.low:+.1f} to {100 * seeds.high:+.1f}")
    queries = next(iter(comparison.measures.values())).queries
    print(
        f"{queries} queries; points of 100; paired bootstrap and permutation test over queries, Holm's correction for"
    )
    print(
        f"{tests or len(comparison.measures)} tests; detectable: the true change that 80 of 100 such samples would show"
    )


def show_words(result: RetrievalResult) -> None:
    """Print a line of what BM25 reaches, in points of a hundred."""
    print("BM25          " + "  ".join(f"{name} {100 * one.mean:.1f}" for name, one in result.measures.items()))


def show_changes(comparison: Comparison) -> None:
    """Print the queries that gained and lost most in the first measure."""
    name = next(iter(comparison.measures))
    for kind, changes in (("gained", comparison.gained[name]), ("lost", comparison.lost[name])):
        shown = ", ".join(f"{one.query_id} ({one.before:.3f} to {one.after:.3f})" for one in changes)
        print(f"{kind} most in {name}: {shown or 'none'}")


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return what `--json` prints of a comparison."""
    return {"measures": comparison.to_json(), **comparison.details_json(), "worse": comparison.worse()}


def show_seeds(runs: SeedRuns) -> None:
    """Print a table of measures over several seeds."""
    width = max(map(len, runs.summaries), default=7) + 2
    print(f"{'measure':<{width}}{'mean':>10}{'deviation':>11}   95 % interval of the mean")
    for name, one in runs.summaries.items():
        print(f"{name:<{width}}{one.mean:>10.4f}{one.deviation:>11.4f}   {one.low:.4f} to {one.high:.4f}")
    print(f"{len(runs.seeds)} seeds, {runs.seeds[0]} to {runs.seeds[-1]}: {runs.folder}")
