"""Whom each anchor is compared with: its own positive, further ones, and the rows that are its negatives."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from textcl.errors import ShapeError
from textcl.losses.rows import check_pair, products, unit_rows


class Contrast(NamedTuple):
    """A batch made ready to be compared.

    Attributes:
        anchor: (B, D), unit rows in float32 at least, as the next two.
        positive: (B, D), row i belongs to anchor i.
        negatives: (K, D), K may be 0.
        same: (B, B) booleans, true on the diagonal and wherever `further` is.
        same_negatives: (B, K) booleans.
        further: (B, B) booleans, true where row j's positive is one of anchor i too, and false on the diagonal; None
            where nobody asked for several positives, which costs nothing then.
    """

    anchor: Tensor
    positive: Tensor
    negatives: Tensor
    same: Tensor
    same_negatives: Tensor
    further: Tensor | None

    def turned(self) -> Contrast:
        """Return the same batch with the sides exchanged."""
        further = None if self.further is None else self.further.T
        return self._replace(anchor=self.positive, positive=self.anchor, same=self.same.T, further=further)

    def candidates(self, same_side: bool = False) -> tuple[Tensor, Tensor]:
        """Return each anchor's cosines with its C candidates, and which of them are its negatives, (B, C) each.

        Column i of row i is its own positive, and the first B columns are the positives of all rows. C is B + K, or
        2B + K where the anchors are candidates too.
        """
        sides = [self.positive, self.anchor] if same_side else [self.positive]
        cosines = [products(self.anchor, candidates) for candidates in (*sides, self.negatives)]
        same = [*(self.same for _side in sides), self.same_negatives]
        return torch.cat(cosines, dim=1), ~torch.cat(same, dim=1)


def make_contrast(
    anchor: Tensor,
    positive: Tensor,
    negatives: Tensor | None,
    same: Tensor | None,
    same_negatives: Tensor | None,
    positives: Tensor | None,
) -> Contrast:
    """Return what a contrastive loss was given, checked and made ready.

    Raises:
        ShapeError: If the shapes do not fit each other.
    """
    check_pair(anchor, positive, ("anchor", "positive"))
    batch, width = anchor.shape
    negatives = anchor.new_empty(0, width) if negatives is None else negatives
    if negatives.ndim != 2 or negatives.shape[1] != width:
        raise ShapeError("negatives", negatives.shape, f"(K, {width})")
    itself = torch.eye(batch, dtype=torch.bool, device=anchor.device)
    same = itself if same is None else same
    if same_negatives is None:
        same_negatives = torch.zeros(batch, len(negatives), dtype=torch.bool, device=anchor.device)
    masks = (("same", same, batch), ("same_negatives", same_negatives, len(negatives)), ("positives", positives, batch))
    for name, mask, columns in masks:
        if mask is not None and mask.shape != (batch, columns):
            raise ShapeError(name, mask.shape, f"({batch}, {columns})")
    further = None if positives is None else positives & ~itself
    same = same | itself if further is None else same | itself | further
    return Contrast(unit_rows(anchor), unit_rows(positive), unit_rows(negatives), same, same_negatives, further)
