"""Which rows and candidates look too near to be negatives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from textcl.errors import ConfigError, ShapeError
from textcl.losses.rows import check_pair, products, unit_rows


@dataclass(frozen=True, slots=True)
class FalseNegatives:
    """Decides by cosine which rows and candidates are taken for the same; where both settings are, either suffices.

    A row of zeros points nowhere, and is never taken for the same as another. Nothing here has a gradient.

    Args:
        above: Cosine above which two texts are taken for the same, in (-1, 1]; at 1 none are. None is off.
        margin: A candidate is no negative of an anchor if its cosine is above that of the anchor's own positive less
            this, in [-1, 1]; below 0 it must be nearer than the positive by that much. None is off.

    Raises:
        ConfigError: If both are None, or one is out of its range.

    References:
        Solatorio (2024), arXiv:2402.16829, whose guide masks with a margin of 0; Moreira et al. (2024),
        arXiv:2407.15831, TopK-MarginPos for the margin (there in mining) and TopK-Abs for `above`.
    """

    above: float | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        if self.above is None and self.margin is None:
            raise ConfigError("above", problem="set above, margin or both; with neither nothing is taken for the same")
        if self.above is not None and not -1 < self.above <= 1:
            raise ConfigError("above", self.above, "a cosine in (-1, 1]")
        if self.margin is not None and not -1 <= self.margin <= 1:
            raise ConfigError("margin", self.margin, "a number in [-1, 1]")

    @torch.no_grad()
    def same_rows(self, anchor: Tensor, positive: Tensor) -> Tensor:
        """Return which rows are taken for the same, (B, B) booleans, symmetric, true on the diagonal.

        Any of the four cosines between the texts of two rows may be `above`. The margin asks for the two across the
        sides, each against the own pair of either row.

        Args:
            anchor: (B, D) floats; rows are scaled to unit length here.
            positive: (B, D), row i belongs to anchor i.

        Raises:
            ShapeError: If the shapes do not fit each other.
        """
        check_pair(anchor, positive, ("anchor", "positive"))
        anchor, positive = _directions(anchor), _directions(positive)
        across = _cosines(anchor, positive)
        same = torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
        if self.above is not None:
            same |= across > self.above
            for side in (anchor, positive):
                same |= _cosines(side, side) > self.above
        if self.margin is not None:
            least = (across.diagonal() - self.margin)[:, None]
            same |= (across > least) | (across.T > least)
        return same | same.T

    @torch.no_grad()
    def same_candidates(self, anchor: Tensor, positive: Tensor, candidates: Tensor) -> Tensor:
        """Return which candidates are taken for the same as a row, (B, K) booleans.

        The cosine with either text of the row may be `above`; the margin asks for the anchor's.

        Args:
            anchor: (B, D) floats; rows are scaled to unit length here.
            positive: (B, D), row i belongs to anchor i.
            candidates: (K, D), K may be 0.

        Raises:
            ShapeError: If the shapes do not fit each other.
        """
        check_pair(anchor, positive, ("anchor", "positive"))
        if candidates.ndim != 2 or candidates.shape[1] != anchor.shape[1]:
            raise ShapeError("candidates", candidates.shape, f"(K, {anchor.shape[1]})")
        anchor, positive, candidates = _directions(anchor), _directions(positive), _directions(candidates)
        near = _cosines(anchor, candidates)
        same = torch.zeros_like(near, dtype=torch.bool)
        if self.above is not None:
            same |= (near > self.above) | (_cosines(positive, candidates) > self.above)
        if self.margin is not None:
            same |= near > ((anchor * positive).sum(dim=1) - self.margin)[:, None]
        return same


def _directions(rows: Tensor) -> Tensor:
    """Return unit rows; one of zeros becomes NaN, which no comparison finds above anything."""
    rows = unit_rows(rows)
    return rows.masked_fill(~rows.any(dim=1, keepdim=True), torch.nan)


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    return products(first, second).clamp_(max=1.0)  # rounding takes equal rows above 1
