"""VICReg: pairs lie close, each dimension keeps its spread, and no two dimensions say the same."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from textcl.errors import ConfigError
from textcl.losses.rows import check_pair, products, widen


class VICReg(nn.Module):
    """Weighted sum of an invariance, a variance and a covariance term.

    Args:
        invariance: Weight of the mean squared distance of pairs, at least 0, as the others.
        variance: Weight of what each dimension's standard deviation lacks to 1.
        covariance: Weight of the squared covariances of different dimensions.

    References:
        Bardes, Ponce and LeCun (2022), arXiv:2105.04906, Algorithm 1, whose invariance is a mean over the D dimensions
        where Eq. 5 has their sum.
    """

    def __init__(self, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> None:
        super().__init__()
        for name, weight in (("invariance", invariance), ("variance", variance), ("covariance", covariance)):
            if not weight >= 0:
                raise ConfigError(name, weight, "a number of at least 0")
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the loss of two views, (B, D) each; the length of their rows matters.

        Raises:
            ShapeError: If the shapes are not equal, or B is below 2.
        """
        check_pair(first, second, least=2)
        first, second = widen(first), widen(second)
        return (
            self.invariance * F.mse_loss(first, second)
            + self.variance * (missing_spread(first) + missing_spread(second))
            + self.covariance * (redundancy(first) + redundancy(second))
        )


def missing_spread(rows: Tensor) -> Tensor:
    """Return the mean over D of what the standard deviation lacks to 1 (Eq. 1 and 2)."""
    return F.relu(1 - (rows.var(dim=0) + 1e-4).sqrt()).mean()


def redundancy(rows: Tensor) -> Tensor:
    """Return the sum of the squared covariances of different dimensions, over D (Eq. 3 and 4)."""
    columns = (rows - rows.mean(dim=0)).T  # (D, B)
    covariance = products(columns, columns) / (len(rows) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / len(columns)
