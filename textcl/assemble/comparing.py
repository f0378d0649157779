"""Saved runs and judgements → comparisons, without an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from textcl.corpus.collection import Qrels, read_qrels
from textcl.errors import ConfigError, DataError, PromiseError
from textcl.evaluation.compare import Comparison, compare_runs, compare_systems, correct
from textcl.evaluation.measures import DEFAULT_MEASURES, depth_of
from textcl.evaluation.ranking import Run
from textcl.evaluation.retrieval import RetrievalResult
from textcl.evaluation.runs import read_run
from textcl.progress import Say, silent


@dataclass(frozen=True)
class Pairing:
    """Two systems on one collection.

    Args:
        before: Run files of the first system, one a seed.
        after: Run files of the second one.
        qrels: The collection's judgements, TREC's or BEIR's.
    """

    before: tuple[Path, ...]
    after: tuple[Path, ...]
    qrels: Path


def compare_files(
    pairings: Sequence[Pairing], *, measures: Sequence[str] = DEFAULT_MEASURES, seed: int = 0, say: Say = silent
) -> dict[str, Comparison]:
    """Return the comparison on each collection, by the name of its qrels file; Holm's correction is over all of them.

    Args:
        pairings: At least one, each with other qrels.
        measures: Such as "ndcg@10".
        seed: Of the bootstrap and of the permutations.
        say: Told how many judged queries a run leaves without answer.

    Raises:
        ConfigError: If a measure is unknown, there is no pairing, or two have the same qrels.
        DataError: If a file is missing or wrong, a run answers no judged query, or two runs answer none in common.
    """
    depth_of(measures)  # a wrong measure is named before anything is read
    names = [str(pairing.qrels) for pairing in pairings]
    if not names or len(set(names)) < len(names):
        raise ConfigError("qrels", names, "a file of its own for each two runs")
    found = {}
    for name, pairing in zip(names, pairings, strict=True):
        qrels = read_qrels(pairing.qrels)
        runs = {path: _answers(path, qrels, name, say) for path in (*pairing.before, *pairing.after)}
        _check_common(runs, qrels)
        before, after = ([runs[path] for path in side] for side in (pairing.before, pairing.after))
        found[name] = compare_systems(before, after, qrels, measures, seed=seed)
    return correct(found)


def read_baseline(path: str | Path, qrels: Qrels, say: Say = silent) -> Run:
    """Return the run to compare with; what it leaves without answer is said.

    Raises:
        DataError: If the file is missing or wrong, or the run answers none of the judged queries.
    """
    return _answers(Path(path), qrels, "the collection", say)


def compare_with_baseline(
    result: RetrievalResult, baseline: Run, qrels: Qrels, *, measures: Sequence[str] = (), seed: int = 0
) -> Comparison:
    """Return what a result changes against a saved run of the same collection.

    Args:
        result: Of `evaluate_retrieval`.
        baseline: As `read_baseline` returns it.
        qrels: The judgements that the result was made with.
        measures: Such as "ndcg@10"; empty for those of the result. Holm's correction is for them.
        seed: Of the bootstrap and of the permutations.

    Raises:
        ConfigError: If a measure is unknown.
    """
    return compare_runs(baseline, result.run, qrels, list(measures) or list(result.measures), seed=seed)


def check_not_worse(comparisons: Mapping[str, Comparison]) -> None:
    """Raise PromiseError if a measure is worse by more than chance, naming each; for the gate of a build."""
    faults = [
        f"{f'{name}: ' if len(comparisons) > 1 else ''}{measure} fell from {one.before:.4f} to {one.after:.4f}, "
        f"more than chance explains (p {one.adjusted_p:.4f} after Holm's correction)"
        for name, comparison in comparisons.items()
        for measure, one in comparison.measures.items()
        if one.is_worse
    ]
    if faults:
        raise PromiseError("\n".join(faults))


def _answers(path: Path, qrels: Qrels, of: str, say: Say) -> Run:
    """Return the run in a file; it must answer some judged query, and what it leaves out is said."""
    run = read_run(path)
    answered = sum(1 for query_id in qrels if query_id in run)
    if not answered:
        problem = f"answers none of the {len(qrels)} judged queries of {of}"
        raise DataError(
            f"{problem} (it has {next(iter(run))!r}, they {next(iter(qrels))!r}); name a run over them", path
        )
    if answered < len(qrels):
        say(f"{path}: answers {answered} of {len(qrels)} judged queries of {of}; the others count as 0")
    return run


def _check_common(runs: Mapping[Path, Run], qrels: Qrels) -> None:
    """Raise DataError if no judged query is answered by all runs: they would be compared on nothing."""
    common = set(qrels).intersection(*(run.keys() for run in runs.values()))
    if not common:
        first, *_others, last = runs
        raise DataError(f"has no judged query in common with {first}; compare runs over the same queries", last)
