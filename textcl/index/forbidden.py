"""Rows, their groups and documents → which documents no row may learn as a negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textcl.errors import DataError, ShapeError


@dataclass(frozen=True, slots=True, eq=False)
class Forbidden:
    """Documents that must not be negatives of a row: those of the sets the row belongs to.

    Args:
        sets: (N, S) int64 numbers of each row's sets; -1 for none.
        members: Sorted int64, one for each document of a set: set * documents + document.
        documents: How many documents there are.
    """

    sets: NDArray[np.int64]
    members: NDArray[np.int64]
    documents: int

    def mask(self, rows: NDArray[np.int64], docs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for `rows` (n,) which of their candidates `docs` (n, K) are forbidden; -1, no candidate, is not."""
        found = np.zeros(docs.shape, dtype=np.bool_)
        if len(self.members):
            for column in self.sets[rows].T:
                keys = column[:, None] * self.documents + docs
                places = np.searchsorted(self.members, keys).clip(max=len(self.members) - 1)
                found |= self.members[places] == keys
        return found & (docs >= 0)

    def counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for `rows` (n,) how many documents are forbidden at most, (n,)."""
        starts = self.sets[rows] * self.documents
        sizes = np.searchsorted(self.members, starts + self.documents) - np.searchsorted(self.members, starts)
        counts: NDArray[np.int64] = sizes.sum(axis=1)  # no member is below 0, where set -1 would lie
        return counts


def forbidden_documents(
    anchors: Sequence[str],
    positives: Sequence[str],
    documents: Sequence[str],
    groups: Sequence[str | None] | None = None,
) -> Forbidden:
    """Return what no row may learn as a negative.

    That is every positive of any row with the same anchor, the anchor's own text, and every text of a row of the same
    group.

    Args:
        anchors: N texts.
        positives: N texts.
        documents: D texts, all different.
        groups: N labels, None for a row in a group of its own; None without groups.

    Raises:
        ShapeError: If the lists differ in length.
        DataError: If two documents have the same text.
    """
    for name, column in (("positives", positives), ("groups", groups)):
        if column is not None and len(column) != len(anchors):
            raise ShapeError(name, (len(column),), f"({len(anchors)},), one an anchor")
    numbers = {text: number for number, text in enumerate(documents)}
    if len(numbers) != len(documents):
        raise DataError(f"{len(documents) - len(numbers)} documents have the text of another; give each text once")
    names: dict[tuple[str, str], int] = {}
    columns = [[names.setdefault(("anchor", anchor), len(names)) for anchor in anchors]]
    if groups is not None:
        columns.append([-1 if one is None else names.setdefault(("group", one), len(names)) for one in groups])
    sets = np.array(columns, dtype=np.int64).reshape(len(columns), len(anchors)).T
    texts = np.array([[numbers.get(text, -1) for text in side] for side in (anchors, positives)], dtype=np.int64)
    own, docs = np.broadcast_arrays(sets[:, :, None], texts.reshape(2, -1).T[:, None, :])
    known = (own >= 0) & (docs >= 0)
    return Forbidden(sets, np.unique(own[known] * len(documents) + docs[known]), len(documents))
