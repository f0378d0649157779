"""Terms that any method can carry beside its own objective; they see the embeddings, behind no head."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from textcl.corpus.tokens import TokenRows
from textcl.encoder.forward import forward_rows
from textcl.errors import ConfigError


class Regulariser(nn.Module):
    """A loss of the batch's embeddings, times a weight.

    Without `frozen` it is the mean of the loss over the sides, so that a row does not meet its own pair: uniformity is
    meant so (Wang and Isola, 2020, arXiv:2005.10242, section 4.1). With `frozen` all rows are compared with each other.

    Args:
        weight: At least 0.
        loss: Maps (n, D) embeddings to a scalar; with `frozen`, those and (n, F) embeddings that stay.
        frozen: An encoder that is kept as it is now, never trained, dropout off; None for a loss that needs none.
    """

    def __init__(self, weight: float, loss: nn.Module, frozen: SentenceTransformer | None = None) -> None:
        super().__init__()
        if not weight >= 0:
            raise ConfigError("weight", weight, "a number of at least 0")
        self.weight, self.term = weight, loss
        self.frozen = None if frozen is None else copy.deepcopy(frozen).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Regulariser:
        """Set the mode of all but the frozen encoder."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        return self

    @torch.no_grad()
    def embed_fixed(self, tokens: TokenRows) -> Tensor | None:
        """Return the frozen encoder's (n, F) embeddings, or None without one."""
        return None if self.frozen is None else forward_rows(self.frozen, tokens)

    def forward(self, sides: Sequence[Tensor], fixed: Sequence[Tensor] | None = None) -> Tensor:
        """Return the unweighted term for the (n, D) embeddings of each side and, with `frozen`, its (n, F).

        Without `frozen`, sides of hard negatives that have fewer than two rows say nothing.
        """
        if fixed is None:
            enough = (*sides[:2], *(side for side in sides[2:] if len(side) > 1))
            return torch.stack([self.term(side) for side in enough]).mean()
        value: Tensor = self.term(torch.cat(tuple(sides)), torch.cat(tuple(fixed)))
        return value
