"""Queries → hits, in the canonical order: float32 score descending, then id descending.

FAISS proposes, exact arithmetic decides. FAISS sums in float32, in an order that changes with the number of queries, so
equal documents may get scores that differ in the last bits. Candidates are therefore scored again in float64 and
rounded once, and more of them are fetched until no other document can belong to the best k. The scores are those of
`textcl.evaluation.ranking.top_documents`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.index.store import UNIT_TOLERANCE, Index, check_width, lengths_of

_SPARE = 16  # candidates fetched beyond k at first
_CANDIDATES = 1_000_000  # candidates held at once, over all queries: 12 MB from FAISS
_VECTOR_ROWS = 8192  # candidates scored at once
_FLOAT32_HALF_STEP = 2.0**-24  # greatest relative error of one rounding to float32


@dataclass(frozen=True)
class Hit:
    """One document found.

    Args:
        id: Its id.
        score: Its inner product with the query, a float32; the cosine where the index is normalised.
        text: Its text, None where the index keeps none.
    """

    id: str
    score: float
    text: str | None


def search(index: Index, queries: NDArray[np.float32], k: int, *, at_least: float | None = None) -> list[list[Hit]]:
    """Return each query's best documents, at most k, best first.

    Args:
        index: An open index.
        queries: (Q, D) finite; of length 1 where the index is normalised.
        k: Hits a query, at least 1; all documents where there are fewer.
        at_least: Drop hits with a lower score.

    Raises:
        ConfigError: If `k` is below 1 or `at_least` is NaN.
        ShapeError: If `queries` is not (Q, D).
        DataError: If a query is not finite or not of length 1; queries are counted from 0.
    """
    if at_least is not None and at_least != at_least:
        raise ConfigError("at_least", at_least, "a number")
    found = []
    for rows, scores in zip(*neighbours(index, queries, k), strict=True):
        # As Python's numbers: NumPy would round `at_least` to a float32 first.
        values = [score for score in scores.tolist() if at_least is None or score >= at_least]
        kept = rows[: len(values)]  # scores fall
        named = zip(index.ids_of(kept), values, index.texts_of(kept), strict=True)
        found.append([Hit(one, score, text) for one, score, text in named])
    return found


def search_run(
    index: Index, queries: NDArray[np.float32], query_ids: Sequence[str], k: int
) -> dict[str, list[tuple[str, float]]]:
    """Return query id → (document id, score), best first: a run, as evaluation and run files take it.

    Args:
        index: An open index.
        queries: (Q, D), as for `search`.
        query_ids: Q different ids.
        k: Documents a query, at least 1.

    Raises:
        ConfigError: If `k` is below 1.
        ShapeError: If `queries` is not (Q, D) or there is not one id a row.
        DataError: If a query is not finite or not of length 1, or an id comes twice.
    """
    if len(query_ids) != len(queries):
        raise ShapeError("query_ids", (len(query_ids),), f"({len(queries)},), one a query")
    run: dict[str, list[tuple[str, float]]] = {}
    for query_id, rows, scores in zip(query_ids, *neighbours(index, queries, k), strict=True):
        if query_id in run:
            raise DataError(f"query {query_id!r} comes twice; ids must differ")
        run[query_id] = list(zip(index.ids_of(rows), scores.tolist(), strict=True))
    return run


def neighbours(index: Index, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows of each query's best documents and their scores, in the canonical order.

    Args:
        index: An open index.
        queries: (Q, D), as for `search`.
        k: Documents a query, at least 1; all documents where there are fewer.

    Returns:
        (Q, min(k, N)) rows of the index and as many scores, exact and rounded once.

    Raises:
        ConfigError: If `k` is below 1.
        ShapeError: If `queries` is not (Q, D).
        DataError: If a query is not finite or not of length 1.
    """
    if k < 1:
        raise ConfigError("k", k, "a whole number of at least 1")
    check_width("queries", queries, index.dimension)
    lengths = lengths_of(queries)
    _check_lengths(lengths, normalised=index.normalised)
    # The greatest error of a float32 inner product (Higham 2002, section 3.1), and of rounding the exact one.
    margins = (index.dimension + 8) * _FLOAT32_HALF_STEP * index.longest * lengths
    k = min(k, index.rows)
    best_rows = np.empty((len(queries), k), dtype=np.int64)
    best_scores = np.empty((len(queries), k), dtype=np.float32)
    open_queries, fetched = np.arange(len(queries)), min(k + _SPARE, index.rows)
    while len(open_queries):
        unsure: list[int] = []
        size = max(1, _CANDIDATES // fetched)
        for start in range(0, len(open_queries), size):
            block = open_queries[start : start + size]
            scores, rows = index.nearest(queries[block], fetched)
            for query, last, candidates in zip(block.tolist(), scores[:, -1], rows, strict=True):
                exact = _exact_scores(index, queries[query], candidates)
                kth = np.partition(exact, fetched - k)[fetched - k]
                if fetched < index.rows and kth <= last + margins[query]:
                    unsure.append(query)  # a document not fetched could still tie with the k-th, or beat it
                else:
                    places = _first(index, exact, candidates, kth, k)
                    best_rows[query], best_scores[query] = candidates[places], exact[places]
        open_queries, fetched = np.array(unsure, dtype=np.int64), min(4 * fetched, index.rows)
    return best_rows, best_scores


def _check_lengths(lengths: NDArray[np.float64], *, normalised: bool) -> None:
    good = np.abs(lengths - 1) <= UNIT_TOLERANCE if normalised else np.isfinite(lengths)
    bad = np.flatnonzero(~good)
    if len(bad):
        wanted = "length 1, as the index's vectors have; normalise it" if normalised else "a finite vector"
        raise DataError(f"query {bad[0]} has length {lengths[bad[0]]:.6g}; expected {wanted}")


def _exact_scores(index: Index, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the inner products of `query` (D,) with `rows` (n,), summed in float64 and rounded once."""
    wide = np.asarray(query, dtype=np.float64)
    parts = [
        index.vectors_of(rows[start : start + _VECTOR_ROWS]).astype(np.float64) @ wide
        for start in range(0, len(rows), _VECTOR_ROWS)
    ]
    scores: NDArray[np.float32] = np.concatenate(parts).astype(np.float32) + np.float32(0)  # -0.0 becomes 0.0
    return scores


def _first(
    index: Index, exact: NDArray[np.float32], rows: NDArray[np.int64], kth: np.float32, k: int
) -> NDArray[np.int64]:
    """Return the places (k,) of the first in the canonical order among candidates, those that score at least `kth`."""
    kept = np.flatnonzero(exact >= kth)
    places: NDArray[np.int64] = kept[np.argsort(-exact[kept])]
    scores = exact[places]
    if (scores[1:] == scores[:-1]).any():  # names cost as much as all the rest, so that only ties are asked for theirs
        named = zip(scores.tolist(), index.ids_of(rows[places]), places.tolist(), strict=True)
        places = np.array([place for _score, _id, place in sorted(named, reverse=True)], dtype=np.int64)
    return places[:k]
