"""Barlow Twins: the correlation of two views' dimensions should be the identity."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from textcl.errors import ConfigError
from textcl.losses.rows import check_pair, products, widen


class BarlowTwins(nn.Module):
    """Squared distance of the cross-correlation matrix (D, D) from the identity.

    Args:
        off_diagonal_weight: Weight of the redundancy term (the paper's λ), at least 0.
        scale: Factor of the whole loss, above 0; the sum over D² entries is large.

    References:
        Zbontar et al. (2021), arXiv:2103.03230, Eq. 1 and 2; as in their code, 1e-5 is added to each variance.
    """

    def __init__(self, off_diagonal_weight: float = 0.005, scale: float = 1.0) -> None:
        super().__init__()
        if not off_diagonal_weight >= 0:
            raise ConfigError("off_diagonal_weight", off_diagonal_weight, "a number of at least 0")
        if not scale > 0:
            raise ConfigError("scale", scale, "a number above 0")
        self.off_diagonal_weight, self.scale = off_diagonal_weight, scale

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of two views, (B, D) each; a dimension counts by its spread over the batch.

        Raises:
            ShapeError: If the shapes are not equal, or B is below 2.
        """
        check_pair(first, second, least=2)
        columns = [F.batch_norm(widen(rows), None, None, training=True, eps=1e-5).T for rows in (first, second)]
        correlation = products(*columns) / len(first)  # (D, D)
        diagonal = correlation.diagonal()
        redundancy = correlation.square().sum() - diagonal.square().sum()
        return self.scale * ((1 - diagonal).square().sum() + self.off_diagonal_weight * redundancy)
