"""Alignment and uniformity: how close pairs lie on the unit sphere, and how evenly all rows cover it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from textcl.errors import ConfigError
from textcl.losses.rows import check_pair, check_rows, products, unit_rows


def alignment(first: Tensor, second: Tensor, alpha: float = 2.0) -> Tensor:
    """Measure how far apart pairs lie on the unit sphere; lower is closer.

    Args:
        first: (B, D) floats; rows are scaled to unit length here.
        second: (B, D), row i belongs to row i of `first`.
        alpha: Power of the distance, above 0.

    Returns:
        Scalar in [0, 2**alpha], the mean over B.

    Raises:
        ConfigError: If `alpha` is out of range.
        ShapeError: If the shapes are not equal, or B is 0.

    References:
        Wang and Isola (2020), arXiv:2005.10242, alignment loss.
    """
    if not alpha > 0:
        raise ConfigError("alpha", alpha, "a number above 0")
    check_pair(first, second)
    distances: Tensor = torch.linalg.vector_norm(unit_rows(first) - unit_rows(second), dim=-1)
    # Powers below 1 are infinitely steep at 0, where the clamp has no slope.
    return distances.clamp(min=torch.finfo(distances.dtype).tiny).pow(alpha).mean()


def uniformity(embeddings: Tensor, t: float = 2.0) -> Tensor:
    """Measure how evenly embeddings cover the unit sphere; lower is more even.

    Args:
        embeddings: (N, D) floats, N at least 2; rows are scaled to unit length here.
        t: Sharpness of the Gaussian kernel, above 0, no unit.

    Returns:
        Scalar, natural logarithm, at most 0; 0 means that all rows point one way.

    Raises:
        ConfigError: If `t` is out of range.
        ShapeError: If `embeddings` is not (N, D) with N at least 2.

    References:
        Wang and Isola (2020), arXiv:2005.10242, uniformity loss.
    """
    if not t > 0:
        raise ConfigError("t", t, "a number above 0")
    check_rows("embeddings", embeddings, least=2, letter="N")
    rows = unit_rows(embeddings)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    squares = 2 - 2 * products(rows, rows)  # (N, N) squared distances, each pair twice
    kernel = (-t * squares).masked_fill(itself, -torch.inf).logsumexp(dim=(0, 1))
    return (kernel - math.log(len(rows) * (len(rows) - 1))).clamp(max=0.0)  # only rounding goes above


class Uniformity(nn.Module):
    """`uniformity` as a term of a loss.

    Args:
        t: Sharpness of the Gaussian kernel, above 0.
    """

    def __init__(self, t: float = 2.0) -> None:
        super().__init__()
        if not t > 0:
            raise ConfigError("t", t, "a number above 0")
        self.t = t

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the uniformity of embeddings (N, D)."""
        return uniformity(embeddings, self.t)
