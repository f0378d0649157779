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

_Scored = list[tuple[float, str, int]]  # score, id, row


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
    for best in _best(index, queries, k):
        kept = [one for one in best if at_least is None or one[0] >= at_least]
        texts = index.texts_of([row for _score, _id, row in kept])
        found.append([Hit(one, score, text) for (score, one, _row), text in zip(kept, texts, strict=True)])
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
    for query_id, best in zip(query_ids, _best(index, queries, k), strict=True):
        if query_id in run:
            raise DataError(f"query {query_id!r} comes twice; ids must differ")
        run[query_id] = [(one, score) for score, one, _row in best]
    return run


def _best(index: Index, queries: NDArray[np.float32], k: int) -> list[_Scored]:
    if k < 1:
        raise ConfigError("k", k, "a whole number of at least 1")
    check_width("queries", queries, index.dimension)
    lengths = lengths_of(queries)
    _check_lengths(lengths, normalised=index.normalised)
    # The greatest error of a float32 inner product (Higham 2002, section 3.1), and of rounding the exact one.
    margins = (index.dimension + 8) * _FLOAT32_HALF_STEP * index.longest * lengths
    k = min(k, index.rows)
    best: list[_Scored] = [[] for _query in queries]
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
                    best[query] = _first(index, exact, candidates, kth, k)
        open_queries, fetched = np.array(unsure, dtype=np.int64), min(4 * fetched, index.rows)
    return best


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


def _first(index: Index, exact: NDArray[np.float32], rows: NDArray[np.int64], kth: np.float32, k: int) -> _Scored:
    """Return the first k in the canonical order of those candidates that score at least `kth`."""
    kept = np.flatnonzero(exact >= kth)
    chosen = rows[kept]
    scored = list(zip(exact[kept].tolist(), index.ids_of(chosen), chosen.tolist(), strict=True))
    return sorted(scored, reverse=True)[:k]  # ids differ, so that rows never decide
