"""SimCLR: two views of each row, an optional projector, InfoNCE over the batch."""

from __future__ import annotations

import torch
from sentence_transformers import SentenceTransformer
from torch import nn
from torch.nn import functional as F

from textcl.corpus.tokens import TokenRows
from textcl.encoder.forward import forward_rows
from textcl.losses.info_nce import InfoNCE
from textcl.methods.method import Method, MethodOutput, PairBatch, Projections, gather_pairs


class SimCLR(Method):
    """InfoNCE between the two views of each row, with the other rows of the batch as negatives.

    Rows that share a group label (equal texts, for one) are not each other's negatives.

    Args:
        encoder: Trained in place.
        loss: InfoNCE; with `symmetric` and `same_side` it is the paper's NT-Xent.
        projector: Maps (n, D) to (n, P) before the loss; None lets the loss see the embeddings.

    References:
        Chen et al. (2020), arXiv:2002.05709, section 2.1.
    """

    def __init__(self, encoder: SentenceTransformer, loss: InfoNCE, projector: nn.Module | None = None) -> None:
        super().__init__(encoder)
        self.info_nce = loss
        self.projector = projector

    def embed(self, tokens: TokenRows) -> Projections:
        """Return `projection`, (n, P)."""
        embeddings = forward_rows(self.encoder, tokens)
        return {"projection": embeddings if self.projector is None else self.projector(embeddings)}

    def loss(self, projections: Projections, batch: PairBatch) -> MethodOutput:
        """Return the loss with the mean cosine of pairs and of negatives, and the share of masked candidates."""
        anchor, positive, same = gather_pairs(projections["projection"], batch)
        loss = self.info_nce(anchor, positive, same=same)
        with torch.no_grad():
            cosines = F.normalize(anchor.float(), dim=-1) @ F.normalize(positive.float(), dim=-1).T
            diagnostics = {
                "positive_cosine": cosines.diagonal().mean(),
                "negative_cosine": cosines.masked_fill(same, 0.0).sum() / (~same).sum().clamp(min=1),
                "masked_fraction": (same.sum() - len(same)) / max(1, same.numel() - len(same)),
            }
        return MethodOutput(loss, diagnostics)
