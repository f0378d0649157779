"""Several runs → one, by the ranks alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textcl.errors import ConfigError
from textcl.evaluation.ranking import Run, canonical_ranking, canonical_run


def reciprocal_rank_fusion(
    runs: Sequence[Mapping[str, Sequence[tuple[str, float]]]], *, constant: float = 60.0, depth: int | None = None
) -> Run:
    """Return for each query of any run the documents scored by the sum of 1 / (constant + rank) over the runs.

    Ranks count from 1 in the canonical order; a run that lacks a document adds nothing for it.

    Args:
        runs: At least one; query id → scored documents, in any order.
        constant: At least 0; the greater, the less the first ranks count beside the others.
        depth: Documents kept a query; None for all.

    Raises:
        ConfigError: If there is no run, or `constant` or `depth` is too small.
        DataError: If a score is no number or a document is ranked twice.

    References:
        Cormack, Clarke and Büttcher (2009), Reciprocal rank fusion outperforms Condorcet and individual rank learning
        methods, SIGIR; section 2, with its constant of 60.
    """
    if not runs:
        raise ConfigError("runs", [], "at least one run")
    if not constant >= 0:
        raise ConfigError("constant", constant, "a number of at least 0")
    if depth is not None and depth < 1:
        raise ConfigError("depth", depth, "a whole number of at least 1")
    ranked = [canonical_run(run, run) for run in runs]
    fused = {}
    for query_id in dict.fromkeys(query_id for run in ranked for query_id in run):
        scores: dict[str, float] = {}
        for run in ranked:
            for rank, (doc_id, _score) in enumerate(run.get(query_id, ()), start=1):
                scores[doc_id] = scores.get(doc_id, 0.0) + 1 / (constant + rank)
        fused[query_id] = canonical_ranking(scores.items(), query_id)[:depth]
    return fused
