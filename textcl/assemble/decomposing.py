"""An index and a judged collection → where the points were lost: in the search, in the codes, or in the model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textcl.assemble.evaluating import rank_by_index
from textcl.assemble.searching import Searcher
from textcl.corpus.collection import Collection
from textcl.encoder.vector_files import new_vectors
from textcl.errors import ConfigError
from textcl.evaluation.decompose import Decomposition, decompose_loss
from textcl.evaluation.exact import top_documents
from textcl.evaluation.measures import depth_of
from textcl.index.grow import CHUNK_ROWS
from textcl.index.search import search_run
from textcl.index.store import Index
from textcl.progress import Progress, Say, quiet, silent


def decompose(
    searcher: Searcher,
    collection: Collection,
    *,
    measures: Sequence[str] = ("ndcg@10", "recall@10"),
    seed: int = 0,
    progress: Progress = quiet,
    say: Say = silent,
) -> Decomposition:
    """Return how many points of each measure are lost, and where.

    Args:
        searcher: An index with its encoder; its documents must be the collection's.
        collection: Queries and judgements.
        measures: As `parse_measure` reads them.
        seed: Of the intervals.
        progress: Told of queries encoded and codes decoded.
        say: Told of documents that the index lacks.

    Raises:
        ConfigError: If a measure is unknown, or the index is of passages.
        DataError: If the index holds none of the judged documents.
    """
    depth_of(measures)  # a wrong measure is named before anything is encoded
    index = searcher.index
    if index.has_passages:
        raise ConfigError("index", problem="is of passages, whose codes are not those of documents; build one without")
    tuned = rank_by_index(searcher, collection, measures, progress, say).run
    queries, depth = searcher.embed(collection.queries, progress).vectors, depth_of(measures)
    exact = search_run(index, queries, collection.query_ids, depth, exact=True)
    decoded = None
    if not index.family.is_lossless:
        with tempfile.TemporaryDirectory() as folder:
            documents = _decoded(index, Path(folder) / "decoded", progress)
            decoded = top_documents(queries, collection.query_ids, documents, list(index.ids()), depth)
            del documents
    return decompose_loss(exact, decoded, tuned, collection.qrels, measures, seed=seed)


def _decoded(index: Index, path: Path, progress: Progress) -> NDArray[np.float32]:
    """Write what the codes hold of the documents that can be found to a file; of an exact shard the vectors."""
    made = new_vectors(path, (index.documents, index.dimension))
    filled = 0
    with progress("decode", index.rows) as advance:
        for shard, live in zip(index.shards, index.live, strict=True):
            for start in range(0, shard.rows, CHUNK_ROWS):
                block = np.ascontiguousarray(shard.vectors[start : start + CHUNK_ROWS])
                if shard.structure is not None:
                    block = shard.structure.decoded(block, start)
                kept = block if live is None else block[live[start : start + CHUNK_ROWS]]
                made[filled : filled + len(kept)] = kept
                filled += len(kept)
                advance(len(block))
    return made
