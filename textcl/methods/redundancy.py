"""What Barlow Twins and VICReg have in common: a loss on the covariance of dimensions behind a projector."""

from __future__ import annotations

from collections.abc import Mapping

from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.methods.method import GatheredBatch, Method, MethodOutput, pair_diagnostics
from textcl.methods.regularisers import Regulariser


class Redundancy(Method):
    """A loss of the two views' projections that looks at dimensions, so that it needs no negatives.

    Args:
        encoder: Trained in place.
        loss: Maps two (N, P) to a scalar.
        projector: Maps (n, D) to (n, P), wide in the papers; None lets the loss see the embeddings.
        regularisers: As Method has them.
    """

    def __init__(
        self,
        encoder: SentenceTransformer,
        loss: nn.Module,
        projector: nn.Module | None = None,
        regularisers: Mapping[str, Regulariser] | None = None,
    ) -> None:
        super().__init__(encoder, regularisers)
        self.redundancy, self.projector = loss, projector

    @property
    def advice(self) -> str:
        """What keeps the dimensions apart."""
        return "lower training.learning_rate, raise training.batch_size, or give method.uniformity a weight"

    def objective(self, batch: GatheredBatch) -> MethodOutput:
        """Return the loss with the mean cosine of pairs and of different rows."""
        first, second = (side if self.projector is None else self.projector(side) for side in batch.sides)
        return MethodOutput(
            self.redundancy(first, second), pair_diagnostics(batch.sides[0], batch.sides[1], batch.same)
        )
