"""SimCSE: dropout makes the second view; or pairs with a hard negative each; a small head in training only."""

from __future__ import annotations

from collections.abc import Mapping

from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.methods.in_batch import InBatch
from textcl.methods.masks import Masker
from textcl.methods.regularisers import Regulariser


class SimCSE(InBatch):
    """One-way InfoNCE behind a linear layer with tanh, which is dropped after training.

    Unsupervised, both sides are one text and the encoder's dropout is all the difference. Supervised, the sides are
    premise and entailed sentence, with the contradicting one as hard negative.

    Args:
        encoder: Trained in place; for unsupervised training its dropout must be above 0.
        loss: InfoNCE.
        head: Whether there is a head; without one the loss sees the embeddings.
        regularisers: As Method has them.
        masker: Decides which candidates are no negatives.

    References:
        Gao, Yao and Chen (2021), arXiv:2104.08821, Eq. 4 and 5, and section 6.3 for the head.
    """

    takes_hard_negatives = True

    def __init__(
        self,
        encoder: SentenceTransformer,
        loss: nn.Module,
        head: bool = True,
        regularisers: Mapping[str, Regulariser] | None = None,
        masker: Masker | None = None,
    ) -> None:
        width = encoder.get_embedding_dimension() or 0
        layers = nn.Sequential(nn.Linear(width, width), nn.Tanh()) if head else None
        super().__init__(encoder, loss, layers, regularisers, masker)
