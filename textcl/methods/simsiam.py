"""SimSiam: predict the other view's projection, which gets no gradient; neither negatives nor a second encoder."""

from __future__ import annotations

from collections.abc import Mapping

from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.losses.negative_cosine import NegativeCosine
from textcl.methods.method import GatheredBatch, Method, MethodOutput, pair_diagnostics
from textcl.methods.regularisers import Regulariser


class SimSiam(Method):
    """Negative cosine between each view's prediction and the other's projection as a constant, both ways.

    Args:
        encoder: Trained in place.
        projector: Maps (n, D) to (n, P).
        predictor: Maps (n, P) to (n, P); a narrow hidden layer, in the paper.
        stop_gradient: Keep the projection constant. Without that the embeddings collapse, as the paper shows.
        regularisers: As Method has them.

    References:
        Chen and He (2021), arXiv:2011.10566, Eq. 1 to 4 and section 4.1.
    """

    def __init__(
        self,
        encoder: SentenceTransformer,
        projector: nn.Module,
        predictor: nn.Module,
        *,
        stop_gradient: bool = True,
        regularisers: Mapping[str, Regulariser] | None = None,
    ) -> None:
        super().__init__(encoder, regularisers)
        self.projector, self.predictor, self.stop_gradient = projector, predictor, stop_gradient
        self.negative_cosine = NegativeCosine()

    @property
    def advice(self) -> str:
        """What keeps SimSiam from a collapse."""
        if not self.stop_gradient:
            return "set method.stop_gradient: true; without it both sides agree on one point"
        return "lower training.learning_rate, raise training.head_rate, or give method.uniformity a weight"

    def objective(self, batch: GatheredBatch) -> MethodOutput:
        """Return the loss with the mean cosine of pairs and of different rows."""
        first, second = (self.projector(side) for side in batch.sides)
        towards_second, towards_first = self.predictor(first), self.predictor(second)
        if self.stop_gradient:
            first, second = first.detach(), second.detach()
        loss = (self.negative_cosine(towards_second, second) + self.negative_cosine(towards_first, first)) / 2
        return MethodOutput(loss, pair_diagnostics(batch.sides[0], batch.sides[1], batch.same))
