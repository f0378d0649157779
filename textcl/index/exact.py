"""Exact search: FAISS looks at every row, float64 decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from textcl.index.order import first_hits
from textcl.index.store import Index

_SPARE = 16  # candidates fetched beyond k at first
_CANDIDATES = 1_000_000  # held at once, over all queries: 12 MB from FAISS
_CHUNK_ROWS = 8192  # scored at once
_GATHERED = 0.2  # of a shard's rows: fewer are copied together before they are searched
_FLOAT32_HALF_STEP = 2.0**-24  # greatest relative error of one rounding to float32


@dataclass(frozen=True)
class _Part:
    """Rows that FAISS searches together.

    Args:
        flat: A FAISS flat index.
        start: The row of the index that its first one is, where they are all of a shard.
        rows: The row of the index that each one is; None where they are all of a shard.
        allowed: Which of them may be found; None for all.
    """

    flat: Any
    start: int
    rows: NDArray[np.int64] | None
    allowed: NDArray[np.bool_] | None

    def nearest(self, queries: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (Q,) the least score fetched, -inf where all rows were, and (Q, count) rows, -1 for forbidden ones."""
        count = min(count, self.flat.ntotal)
        scores, local = self.flat.search(queries, count)
        rows = local + self.start if self.rows is None else self.rows[local]
        rows = np.where(local >= 0 if self.allowed is None else (local >= 0) & self.allowed[local], rows, -1)
        least = scores[:, -1] if count < self.flat.ntotal else np.full(len(queries), -np.inf, dtype=np.float32)
        return least, rows


def exact_neighbours(
    index: Index,
    queries: NDArray[np.float32],
    lengths: NDArray[np.float64],
    k: int,
    masks: Sequence[NDArray[np.bool_] | None],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows of each query's best documents and their scores, (Q, k) each, in the canonical order.

    Args:
        index: An open index.
        queries: (Q, D) float32, contiguous.
        lengths: (Q,), theirs.
        k: Documents a query, no more than may be found.
        masks: For each shard which rows may be found, None for all.
    """
    best_rows = np.empty((len(queries), k), dtype=np.int64)
    best_scores = np.empty((len(queries), k), dtype=np.float32)
    if k == 0:
        return best_rows, best_scores
    parts = _parts(index, masks)
    most = max(part.flat.ntotal for part in parts)
    # The greatest error of a float32 inner product (Higham 2002, section 3.1), and of rounding the exact one.
    margins = (index.dimension + 8) * _FLOAT32_HALF_STEP * index.longest * lengths
    waiting, fetched = np.arange(len(queries)), min(k + _SPARE, most)
    while len(waiting):
        unsure: list[int] = []
        size = max(1, _CANDIDATES // (fetched * len(parts)))
        for start in range(0, len(waiting), size):
            block = waiting[start : start + size]
            found = [part.nearest(queries[block], fetched) for part in parts]
            least = np.max([one for one, _ in found], axis=0)
            candidates = np.concatenate([rows for _, rows in found], axis=1)
            for query, bound, rows in zip(block.tolist(), least + margins[block], candidates, strict=True):
                rows = rows[rows >= 0]
                scores = exact_scores(index, queries[query], rows)
                places = first_hits(index, rows, scores, k)
                if len(places) < k or scores[places[-1]] <= bound:
                    unsure.append(query)  # a row not fetched could still tie with the k-th, or beat it
                else:
                    best_rows[query], best_scores[query] = rows[places], scores[places]
        if unsure and fetched >= most:
            raise ValueError(f"{k} documents were asked for, which is more than may be found")
        waiting, fetched = np.array(unsure, dtype=np.int64), min(4 * fetched, most)
    return best_rows, best_scores


def _parts(index: Index, masks: Sequence[NDArray[np.bool_] | None]) -> list[_Part]:
    parts = []
    for start, shard, mask in zip(index.starts.tolist(), index.shards, masks, strict=False):
        if mask is None or mask.mean() > _GATHERED:
            parts.append(_Part(shard.flat, start, None, mask))
        elif mask.any():
            local = np.flatnonzero(mask)
            flat = faiss.IndexFlatIP(index.dimension)
            for first in range(0, len(local), _CHUNK_ROWS):
                flat.add(np.ascontiguousarray(shard.vectors[local[first : first + _CHUNK_ROWS]]))
            parts.append(_Part(flat, 0, start + local, None))
    return parts


def exact_scores(index: Index, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the inner products of `query` (D,) with `rows` (n,), summed in float64 and rounded once."""
    wide = np.asarray(query, dtype=np.float64)
    parts = [
        index.vectors_of(rows[start : start + _CHUNK_ROWS]).astype(np.float64) @ wide
        for start in range(0, len(rows), _CHUNK_ROWS)
    ]
    return _rounded(np.concatenate(parts)) if parts else np.empty(0, dtype=np.float32)


def rows_above(
    index: Index, query: NDArray[np.float32], at_least: float, masks: Sequence[NDArray[np.bool_] | None]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows that score at least so much, and their scores; summed in float64 and rounded once."""
    wide = np.asarray(query, dtype=np.float64)
    rows, scores = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.float32)]
    for first, shard, mask in zip(index.starts.tolist(), index.shards, masks, strict=False):
        for start in range(0, shard.rows, _CHUNK_ROWS):
            found = _rounded(shard.vectors[start : start + _CHUNK_ROWS].astype(np.float64) @ wide)
            kept = found.astype(np.float64) >= at_least
            if mask is not None:
                kept &= mask[start : start + _CHUNK_ROWS]
            rows.append(first + start + np.flatnonzero(kept))
            scores.append(found[kept])
    return np.concatenate(rows), np.concatenate(scores)


def _rounded(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    return scores.astype(np.float32) + np.float32(0)  # -0.0 becomes 0.0
