"""Judged collection → what search by words finds there, alone and together with a ranking."""

from __future__ import annotations

from collections.abc import Sequence

from textcl.corpus.collection import Collection
from textcl.evaluation.bm25 import bm25_run
from textcl.evaluation.fusion import reciprocal_rank_fusion
from textcl.evaluation.measures import depth_of
from textcl.evaluation.ranking import Run
from textcl.evaluation.retrieval import RetrievalResult, evaluate_run
from textcl.progress import Progress, quiet


def rank_by_words(collection: Collection, measures: Sequence[str], progress: Progress = quiet) -> Run:
    """Return BM25's run over a collection, as deep as `measures` look."""
    return bm25_run(
        collection.queries,
        collection.query_ids,
        collection.documents,
        collection.doc_ids,
        depth_of(measures),
        progress=progress,
    )


def evaluate_words(
    run: Run, collection: Collection, measures: Sequence[str], *, seed: int = 0, progress: Progress = quiet
) -> dict[str, RetrievalResult]:
    """Return what BM25 reaches on a collection, as `bm25`, and a run fused with it by reciprocal ranks, as `fused`.

    Both are fused as deep as the measures look: with deeper ones documents that both know count for more.

    Args:
        run: An encoder's, over the same collection.
        collection: As `read_collection` returns it.
        measures: Such as "ndcg@10".
        seed: Of the intervals' bootstrap.
        progress: Told of queries.
    """
    words = rank_by_words(collection, measures, progress)
    fused = reciprocal_rank_fusion([run, words], depth=depth_of(measures))
    return {
        name: evaluate_run(one, collection.qrels, measures, seed=seed)
        for name, one in (("bm25", words), ("fused", fused))
    }
