"""What SimCLR, SimCSE and plain pairs have in common: the rest of the batch is what a row is told apart from."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from textcl.methods.masks import Masker
from textcl.methods.method import GatheredBatch, Method, MethodOutput, pair_diagnostics
from textcl.methods.regularisers import Regulariser


class InBatch(Method):
    """A contrastive loss between the sides of a batch, seen through one head.

    Rows that share a label (equal texts, for one) are not each other's negatives.

    Args:
        encoder: Trained in place.
        loss: InfoNCE, Sigmoid, or Matryoshka around one.
        head: Maps (n, D) to (n, P) before the loss; None lets the loss see the embeddings.
        regularisers: As Method has them.
        masker: Decides which candidates are no negatives.
    """

    def __init__(
        self,
        encoder: SentenceTransformer,
        loss: nn.Module,
        head: nn.Module | None = None,
        regularisers: Mapping[str, Regulariser] | None = None,
        masker: Masker | None = None,
    ) -> None:
        super().__init__(encoder, regularisers)
        self.contrast, self.head = loss, head
        self.masker = masker or Masker()

    def objective(self, batch: GatheredBatch) -> MethodOutput:
        """Return the loss with the mean cosine of pairs and of negatives, and the share of masked candidates."""
        anchor, positive, *hard = (self._through_head(side) for side in batch.sides)
        masks = self.masker(batch, anchor, positive, hard)
        negatives = torch.cat(hard) if hard else None
        loss = self.contrast(anchor, positive, negatives, masks.same, masks.same_negatives, positives=masks.positives)
        return MethodOutput(loss, {**pair_diagnostics(anchor, positive, masks.same), **masks.diagnostics})

    def _through_head(self, embeddings: Tensor) -> Tensor:
        if self.head is None:
            return embeddings
        projections: Tensor = self.head(embeddings)
        return projections
