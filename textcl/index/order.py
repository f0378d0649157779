"""Rows and their scores → the first k documents in the canonical order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textcl.index.store import Index


def first_hits(index: Index, rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the places of the best k documents among candidates of one query, best first.

    Args:
        index: Open; it names rows where scores tie.
        rows: (n,) rows of the index, each once.
        scores: (n,) float32.
        k: Documents wanted; fewer come back where the candidates hold fewer. Of a document in passages it is its best
            row, and the first of those that tie.
    """
    places: NDArray[np.int64] = np.argsort(-scores, kind="stable")
    if index.has_passages:
        by_row = np.lexsort((rows, -scores))
        documents = index.documents_of(rows[by_row])
        places = by_row[np.sort(np.unique(documents, return_index=True)[1])]
    if k < len(places):
        places = places[scores[places] >= scores[places[k - 1]]]  # all that tie with the k-th
    ordered = scores[places]
    if (
        ordered[1:] == ordered[:-1]
    ).any():  # names cost as much as all the rest, so that only ties are asked for theirs
        named = zip(ordered.tolist(), index.ids_of(rows[places]), places.tolist(), strict=True)
        places = np.array([place for _score, _id, place in sorted(named, reverse=True)], dtype=np.int64)
    return places[:k]
