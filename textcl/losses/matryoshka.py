"""Matryoshka: any loss on the first dimensions too, so that embeddings can be cut."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from textcl.errors import ConfigError, ShapeError


class Matryoshka(nn.Module):
    """Weighted sum of a loss over the first d columns of its matrices, for each of several d.

    Args:
        loss: Any loss of this package.
        dimensions: Each d, different numbers of at least 1; who wants the whole width names it too.
        weights: One number above 0 for each of the dimensions; None is 1 each.

    References:
        Kusupati et al. (2022), arXiv:2205.13147, Eq. 1, with a loss of embeddings in the classifier's place.
    """

    def __init__(self, loss: nn.Module, dimensions: Sequence[int], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.dimensions = tuple(dimensions)
        self.weights = (1.0,) * len(self.dimensions) if weights is None else tuple(weights)
        if not self.dimensions or min(self.dimensions) < 1 or len(set(self.dimensions)) < len(self.dimensions):
            raise ConfigError("dimensions", self.dimensions, "different numbers of at least 1, one or more of them")
        if len(self.weights) != len(self.dimensions) or not all(weight > 0 for weight in self.weights):
            expected = f"a number above 0 for each of the {len(self.dimensions)} dimensions"
            raise ConfigError("weights", self.weights, expected)
        self.loss = loss

    def forward(self, first: Tensor, *others: Tensor | None, **kept: Tensor | None) -> Tensor:
        """Return the weighted sum of the loss's values.

        Args:
            first: (B, D) floats, cut to the first d columns.
            others: Float matrices of the loss, cut too; masks and None are passed on.
            kept: Passed on as it is, such as the `frozen` embeddings of SimilarityDistillation.

        Raises:
            ShapeError: If a matrix is narrower than the largest of the dimensions.
        """
        total = first.new_zeros(())
        for dimension, weight in zip(self.dimensions, self.weights, strict=True):
            cut = [_first_columns(matrix, dimension) for matrix in (first, *others)]
            total = total + weight * self.loss(*cut, **kept)
        return total


def _first_columns(matrix: Tensor | None, dimension: int) -> Tensor | None:
    if matrix is None or not matrix.is_floating_point():
        return matrix
    if matrix.ndim != 2 or matrix.shape[1] < dimension:
        raise ShapeError("embeddings", matrix.shape, f"(N, D), D at least {dimension}, as `dimensions` has it")
    return matrix[:, :dimension]
