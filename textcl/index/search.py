"""Queries → hits, in the canonical order: float32 score descending, then id descending.

FAISS proposes, the float vectors decide. Exact search: FAISS sums in float32, in an order that changes with the number
of queries, so equal documents may get scores that differ in the last bits; candidates are scored again in float64,
rounded once, and more of them are fetched until no other row can belong to the best k. The scores are those of
`textcl.evaluation.exact.top_documents`. Approximate search: what the structure proposes is scored with the float
vectors by FAISS's product of one pair, which gives equal vectors equal scores. A query that gets fewer hits than there
are documents to be had is answered exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.index.candidates import approximate_candidates
from textcl.index.exact import exact_neighbours, rows_above
from textcl.index.families import SearchSettings
from textcl.index.order import first_hits
from textcl.index.store import UNIT_TOLERANCE, Index, check_width, lengths_of

_MANY_DELETED = 0.2  # share of rows left below which what remains is scored one by one
_CANDIDATES = 1_000_000  # held at once, over all queries: 12 MB from FAISS


@dataclass(frozen=True)
class Hit:
    """One document found.

    Args:
        id: Its id.
        score: Its inner product with the query, a float32; the cosine where the index is normalised. Of a document in
            passages, that of its best one.
        text: Its text, or its best passage; None where the index keeps none.
        metadata: Its fields.
    """

    id: str
    score: float
    text: str | None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def search(
    index: Index,
    queries: NDArray[np.float32],
    k: int,
    *,
    at_least: float | None = None,
    filters: Mapping[str, object] | None = None,
    exact: bool = False,
) -> list[list[Hit]]:
    """Return each query's best documents, at most k, best first.

    Args:
        index: An open index.
        queries: (Q, D) finite; of length 1 where the index is normalised.
        k: Hits a query, at least 1; all documents where there are fewer.
        at_least: Drop hits with a lower score.
        filters: Only documents whose metadata fields have these values.
        exact: Search all vectors, whatever structure there is.

    Raises:
        ConfigError: If `k` is below 1, `at_least` is NaN, or no document has a field of the filter.
        ShapeError: If `queries` is not (Q, D).
        DataError: If a query is not finite or not of length 1; queries are counted from 0.
    """
    _check_bound(at_least)
    found = []
    for rows, scores in zip(*neighbours(index, queries, k, filters=filters, exact=exact), strict=True):
        # As Python's numbers: NumPy would round `at_least` to a float32 first.
        values = [score for score in scores.tolist() if at_least is None or score >= at_least]
        found.append(_hits(index, rows[: len(values)], values))  # scores fall
    return found


def search_range(
    index: Index, query: NDArray[np.float32], at_least: float, *, filters: Mapping[str, object] | None = None
) -> list[Hit]:
    """Return every document that scores at least so much, best first; all vectors are looked at.

    Args:
        index: An open index.
        query: (D,), as for `search`.
        at_least: The lowest score.
        filters: As for `search`.

    Raises:
        ConfigError: If `at_least` is NaN, or as `search`.
        ShapeError: If `query` is not (D,).
        DataError: As `search`.
    """
    _check_bound(at_least)
    if query.ndim != 1:
        raise ShapeError("query", query.shape, f"({index.dimension},)")
    check_width("query", query[None], index.dimension)
    _check_lengths(lengths_of(query[None]), normalised=index.normalised)
    rows, scores = rows_above(index, query, at_least, index.rows_with(filters) if filters else index.live)
    order = first_hits(index, rows, scores, len(rows))
    return _hits(index, rows[order], scores[order].tolist())


def search_run(
    index: Index,
    queries: NDArray[np.float32],
    query_ids: Sequence[str],
    k: int,
    *,
    filters: Mapping[str, object] | None = None,
    exact: bool = False,
) -> dict[str, list[tuple[str, float]]]:
    """Return query id → (document id, score), best first: a run, as evaluation and run files take it.

    Args:
        index: An open index.
        queries: (Q, D), as for `search`.
        query_ids: Q different ids.
        k: Documents a query, at least 1.
        filters: As for `search`.
        exact: Likewise.

    Raises:
        ConfigError: As `search`.
        ShapeError: If `queries` is not (Q, D) or there is not one id a row.
        DataError: If a query is not finite or not of length 1, or an id comes twice.
    """
    if len(query_ids) != len(queries):
        raise ShapeError("query_ids", (len(query_ids),), f"({len(queries)},), one a query")
    seen: set[str] = set()
    for one in query_ids:
        if one in seen:
            raise DataError(f"query {one!r} comes twice; ids must differ")
        seen.add(one)
    rows, scores = neighbours(index, queries, k, filters=filters, exact=exact)
    names = iter(index.ids_of(rows.reshape(-1)))
    return {one: [(next(names), score) for score in line] for one, line in zip(query_ids, scores.tolist(), strict=True)}


def neighbours(
    index: Index,
    queries: NDArray[np.float32],
    k: int,
    *,
    filters: Mapping[str, object] | None = None,
    exact: bool = False,
    settings: SearchSettings | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows of each query's best documents and their scores, in the canonical order.

    Args:
        index: An open index.
        queries: (Q, D), as for `search`.
        k: Documents a query, at least 1; all that may be found where there are fewer.
        filters: As for `search`.
        exact: Likewise.
        settings: How widely to look, instead of what the index was tuned to.

    Returns:
        (Q, min(k, N)) rows of the index and as many scores; of a document in passages its best row.

    Raises:
        ConfigError: If `k` is below 1, or no document has a field of the filter.
        ShapeError: If `queries` is not (Q, D).
        DataError: If a query is not finite or not of length 1.
    """
    if k < 1:
        raise ConfigError("k", k, "a whole number of at least 1")
    check_width("queries", queries, index.dimension)
    lengths = lengths_of(queries)
    _check_lengths(lengths, normalised=index.normalised)
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    masks: list[NDArray[np.bool_] | None] = index.live
    k = min(k, index.documents)
    if filters:
        marked = index.rows_with(filters)
        masks, k = [*marked], min(k, documents_among(index, marked))
        if k == 0:
            return np.empty((len(queries), 0), dtype=np.int64), np.empty((len(queries), 0), dtype=np.float32)
    # Few allowed rows are scored one by one: a structure that must pass over most of what it meets finds too few.
    # Without a filter only deleted rows are passed over, and from which share the structure keeps its recall among rows
    # at random is no reason to leave it for the sake of a few.
    share = index.manifest["filter_from"] if filters else min(index.manifest["filter_from"], _MANY_DELETED)
    exact = exact or any(
        shard.structure is not None and mask is not None and 0 < mask.mean() < share
        for shard, mask in zip(index.shards, masks, strict=True)
    )
    if exact or index.family.is_flat:
        return exact_neighbours(index, queries, lengths, k, masks)
    return neighbours_among(index, queries, k, masks, settings or index.settings)


def neighbours_among(
    index: Index,
    queries: NDArray[np.float32],
    k: int,
    masks: Sequence[NDArray[np.bool_] | None],
    settings: SearchSettings,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return what the search structures find among marked rows, (Q, k) rows and scores, in the canonical order.

    Args:
        index: An open index with a structure.
        queries: (Q, D) float32, checked, contiguous.
        k: Documents a query, no more than may be found.
        masks: For each shard which rows may be found, None for all.
        settings: How widely to look.
    """
    best_rows = np.empty((len(queries), k), dtype=np.int64)
    best_scores = np.empty((len(queries), k), dtype=np.float32)
    # A document in passages may take several places; twice as many as it has on average.
    places = 2 * index.rows / index.documents if index.has_passages else 1
    fetch = min(int(np.ceil(k * settings.rerank * places)), index.rows)
    size = max(1, _CANDIDATES // (fetch * len(index.shards)))
    for start in range(0, len(queries), size):
        block = slice(start, start + size)
        rows, scores, short = approximate_candidates(index, queries[block], k, fetch, masks, settings)
        best_rows[block], best_scores[block] = rows, scores
        if len(short):
            again = start + short
            exact = exact_neighbours(index, queries[again], lengths_of(queries[again]), k, masks)
            best_rows[again], best_scores[again] = exact
    return best_rows, best_scores


def documents_among(index: Index, masks: Sequence[NDArray[np.bool_]]) -> int:
    """Return how many documents have a marked row; `masks` has one for each shard."""
    rows = [start + np.flatnonzero(mask) for start, mask in zip(index.starts, masks, strict=False)]
    return len(np.unique(index.documents_of(np.concatenate(rows))))


def _hits(index: Index, rows: NDArray[np.int64], scores: Sequence[float]) -> list[Hit]:
    named = zip(index.ids_of(rows), scores, index.contents_of(rows), strict=True)
    return [Hit(one, score, text, known) for one, score, (text, known) in named]


def _check_bound(at_least: float | None) -> None:
    if at_least is not None and at_least != at_least:
        raise ConfigError("at_least", at_least, "a number")


def _check_lengths(lengths: NDArray[np.float64], *, normalised: bool) -> None:
    good = np.abs(lengths - 1) <= UNIT_TOLERANCE if normalised else np.isfinite(lengths)
    bad = np.flatnonzero(~good)
    if len(bad):
        wanted = "length 1, as the index's vectors have; normalise it" if normalised else "a finite vector"
        raise DataError(f"query {bad[0]} has length {lengths[bad[0]]:.6g}; expected {wanted}")
