"""In-batch InfoNCE: each anchor must find its own positive among all candidates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.errors import ConfigError, ShapeError


class InfoNCE(nn.Module):
    """Cross-entropy of each anchor's own positive among all candidates.

    Args:
        temperature: Divisor of the cosine similarities, above 0.
        symmetric: Average the loss of anchors among positives with that of positives among anchors.
        same_side: Let the other rows of its own side be candidates too, so that with `symmetric` each of the 2B rows
            has 2B - 2 negatives: the NT-Xent of SimCLR.

    References:
        van den Oord, Li and Vinyals (2018), arXiv:1807.03748, Eq. 4; Chen et al. (2020), arXiv:2002.05709, Eq. 1 for
        `same_side`; Gao, Yao and Chen (2021), arXiv:2104.08821, Eq. 1 for the one-way form on text.
    """

    def __init__(self, temperature: float = 0.05, symmetric: bool = False, same_side: bool = False) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError("temperature", temperature, "a number above 0")
        self.temperature, self.symmetric, self.same_side = temperature, symmetric, same_side

    def forward(
        self, anchor: Tensor, positive: Tensor, negatives: Tensor | None = None, same: Tensor | None = None
    ) -> Tensor:
        """Return the mean over the B rows, in nats.

        Args:
            anchor: (B, D) floats; rows are scaled to unit length here.
            positive: (B, D), row i belongs to anchor i and is a negative of the others.
            negatives: (K, D), negatives of every anchor, or of every row with `symmetric`.
            same: (B, B) booleans, true where rows i and j mean the same although i ≠ j, so that neither is a negative
                of the other.

        Raises:
            ShapeError: If the shapes do not fit each other.
        """
        _check_shapes(anchor, positive, negatives, same)
        anchor, positive = _unit_rows(anchor), _unit_rows(positive)
        negatives = None if negatives is None else _unit_rows(negatives)
        with torch.autocast(anchor.device.type, enabled=False):  # it would take the products back to half precision
            loss = self._one_way(anchor, positive, negatives, same)
            if not self.symmetric:
                return loss
            return (loss + self._one_way(positive, anchor, negatives, None if same is None else same.T)) / 2

    def _one_way(self, anchor: Tensor, positive: Tensor, negatives: Tensor | None, same: Tensor | None) -> Tensor:
        own = torch.arange(len(anchor), device=anchor.device)  # row i's positive is column i
        itself = torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
        excluded = torch.zeros_like(itself) if same is None else same & ~itself
        logits = [(anchor @ positive.T).masked_fill(excluded, -torch.inf)]  # (B, B)
        if self.same_side:
            logits.append((anchor @ anchor.T).masked_fill(excluded | itself, -torch.inf))  # (B, B)
        if negatives is not None:
            logits.append(anchor @ negatives.T)  # (B, K)
        return F.cross_entropy(torch.cat(logits, dim=1) / self.temperature, own)


def _unit_rows(rows: Tensor) -> Tensor:
    """Return the rows at unit length, in float32 at least.

    Half precision has too few digits for a softmax over similarities that are divided by a small temperature.
    """
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=-1)


def _check_shapes(anchor: Tensor, positive: Tensor, negatives: Tensor | None, same: Tensor | None) -> None:
    if anchor.ndim != 2 or len(anchor) == 0:
        raise ShapeError("anchor", anchor.shape, "(B, D), B at least 1")
    if positive.shape != anchor.shape:
        raise ShapeError("positive", positive.shape, f"{tuple(anchor.shape)}, as the anchor has")
    if negatives is not None and (negatives.ndim != 2 or negatives.shape[1] != anchor.shape[1]):
        raise ShapeError("negatives", negatives.shape, f"(K, {anchor.shape[1]})")
    if same is not None and same.shape != (len(anchor), len(anchor)):
        raise ShapeError("same", same.shape, f"({len(anchor)}, {len(anchor)})")
