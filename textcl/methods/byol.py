"""BYOL: predict what a slowly moving copy makes of the other view; there are no negatives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from textcl.encoder.momentum import MomentumEncoder
from textcl.losses.negative_cosine import NegativeCosine
from textcl.methods.method import GatheredBatch, Method, MethodOutput, PairBatch, pair_diagnostics
from textcl.methods.regularisers import Regulariser


class BYOL(Method):
    """Negative cosine between the online side's prediction and the target's projection of the other view, both ways.

    Eq. 2 of the paper is 2 + 2 times the negative cosine of one way.

    Args:
        encoder: Trained in place.
        projector: Maps (n, D) to (n, P).
        predictor: Maps (n, P) to (n, P), on the online side alone. None leaves it out, and the embeddings collapse.
        momentum: Share of the target kept at each update, at the begin.
        rise: Let it rise to 1 over the run.
        regularisers: As Method has them.

    References:
        Grill et al. (2020), arXiv:2006.07733, section 3.1; Zhang et al. (2021), doi:10.18653/v1/2021.acl-long.402, for
        sentences.
    """

    def __init__(
        self,
        encoder: SentenceTransformer,
        projector: nn.Module,
        predictor: nn.Module | None,
        *,
        momentum: float = 0.99,
        rise: bool = True,
        regularisers: Mapping[str, Regulariser] | None = None,
    ) -> None:
        super().__init__(encoder, regularisers)
        self.projector, self.predictor = projector, predictor
        self.target = MomentumEncoder(encoder, projector, momentum, rise=rise)
        self.negative_cosine = NegativeCosine()

    @property
    def advice(self) -> str:
        """What keeps BYOL from a collapse."""
        if self.predictor is None:
            return "give method.predictor its layers: without it both sides agree on one point"
        return "lower training.learning_rate, raise method.momentum, or give method.uniformity a weight"

    @torch.no_grad()
    def embed_fixed(self, batch: PairBatch) -> dict[str, Tensor]:
        """Return also `target`, (2B, D), of both views."""
        return {**super().embed_fixed(batch), "target": self.target.embed(batch.tokens)}

    def objective(self, batch: GatheredBatch) -> MethodOutput:
        """Return the loss with the mean cosine of pairs and of different rows."""
        first, second = (self._predict(side) for side in batch.sides)
        first_target, second_target = (self.target.project(side) for side in batch.fixed["target"])
        loss = (self.negative_cosine(first, second_target) + self.negative_cosine(second, first_target)) / 2
        return MethodOutput(loss, pair_diagnostics(batch.sides[0], batch.sides[1], batch.same))

    def _predict(self, embeddings: Tensor) -> Tensor:
        projections: Tensor = self.projector(embeddings)
        return projections if self.predictor is None else self.predictor(projections)

    def before_update(self, progress: float) -> None:
        """Let the momentum rise, too."""
        super().before_update(progress)
        self.target.progress = progress

    def after_update(self, step: int) -> None:  # noqa: ARG002
        """Move the target on."""
        self.target.update(self.encoder, self.projector)
