"""What the search structures of all shards propose, scored with the float vectors."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
from numpy.typing import NDArray

from textcl.index.families import SearchSettings
from textcl.index.order import first_hits
from textcl.index.shards import Shard
from textcl.index.store import Index


def approximate_candidates(
    index: Index,
    queries: NDArray[np.float32],
    k: int,
    fetch: int,
    masks: Sequence[NDArray[np.bool_] | None],
    settings: SearchSettings,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return the best k rows of each query among what is proposed, their scores, and the queries with fewer.

    Args:
        index: An open index.
        queries: (Q, D) float32, contiguous.
        k: Documents a query.
        fetch: Candidates a query and shard, at least k.
        masks: For each shard which rows may be found, None for all.
        settings: How widely to look.

    Returns:
        (Q, k) rows and scores, in the canonical order, and the places of the queries whose lines mean nothing, since
        fewer than k documents were found.
    """
    found = [
        _propose(shard, start, queries, fetch, mask, settings)
        for start, shard, mask in zip(index.starts.tolist(), index.shards, masks, strict=False)
    ]
    rows = np.concatenate([one for one, _ in found], axis=1)
    scores = np.concatenate([one for _, one in found], axis=1)
    if index.has_passages:
        return _by_document(index, rows, scores, k)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : k + 1]
    ordered = np.take_along_axis(scores, order, axis=1)
    best_rows, best_scores = np.take_along_axis(rows, order[:, :k], axis=1), ordered[:, :k]
    tied = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > -np.inf)).any(axis=1)
    for query in np.flatnonzero(tied & (best_rows[:, -1] >= 0)).tolist():
        known = rows[query] >= 0
        places = first_hits(index, rows[query][known], scores[query][known], k)
        best_rows[query], best_scores[query] = rows[query][known][places], scores[query][known][places]
    return best_rows, best_scores, np.flatnonzero(best_rows[:, -1] < 0)


def _propose(
    shard: Shard,
    start: int,
    queries: NDArray[np.float32],
    fetch: int,
    mask: NDArray[np.bool_] | None,
    settings: SearchSettings,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return (Q, fetch) rows of the index, -1 for none, and their scores, -inf there."""
    if len(queries) == 1 and (threads := faiss.omp_get_max_threads()) > 1:
        faiss.omp_set_num_threads(1)  # of this thread alone: waking others costs more than one query
        try:
            return _propose(shard, start, queries, fetch, mask, settings)
        finally:
            faiss.omp_set_num_threads(threads)
    fetch = min(fetch, shard.rows)
    allowed = np.packbits(mask, bitorder="little") if mask is not None else None
    if shard.structure is not None:
        local = shard.structure.nearest(queries, fetch, settings, allowed)
    elif allowed is not None:
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(allowed))
        local = shard.flat.search(queries, fetch, params=chosen)[1]
    else:
        local = shard.flat.search(queries, fetch)[1]
    scores = np.full(local.shape, -np.inf, dtype=np.float32)
    faiss.fvec_inner_products_by_idx(
        faiss.swig_ptr(scores), faiss.swig_ptr(queries), shard.flat.get_xb(), faiss.swig_ptr(local),
        queries.shape[1], len(queries), fetch,
    )  # fmt: skip
    scores += np.float32(0)  # -0.0 becomes 0.0
    return np.where(local >= 0, local + start, -1), scores


def _by_document(
    index: Index, rows: NDArray[np.int64], scores: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Do the same where several rows may be of one document."""
    best_rows = np.full((len(rows), k), -1, dtype=np.int64)
    best_scores = np.full((len(rows), k), -np.inf, dtype=np.float32)
    short = []
    for query in range(len(rows)):
        known = rows[query] >= 0
        places = first_hits(index, rows[query][known], scores[query][known], k)
        best_rows[query, : len(places)] = rows[query][known][places]
        best_scores[query, : len(places)] = scores[query][known][places]
        if len(places) < k:
            short.append(query)
    return best_rows, best_scores, np.array(short, dtype=np.int64)
