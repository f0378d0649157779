"""The floating-point operations that an encoder's tokens are worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.encoder.layers import transformer_of


@dataclass(frozen=True)
class Work:
    """Operations of the useful tokens of an encoder, whatever padding and repetition are run beside them.

    A product costs each of its weights 2 operations a token in the forward pass, 2 for the gradient that goes on down
    and 2 for the weight's own: 6 for a trained weight, 4 for a frozen one, 2 for a frozen one with nothing trained
    below it. Attention's scores and sums cost 4 * layers * width * S ** 2 for a row of S tokens, and three times that
    with the backward pass, frozen or not. Embeddings, norms, activations, poolings and heads are left out.

    Args:
        forward_per_token: 2 times the weights.
        trained_per_token: 6, 4 or 2 times each.
        attention: 4 * layers * width.

    References:
        Kaplan et al. (2020), arXiv:2001.08361, section 2.1; Chowdhery et al. (2022), arXiv:2204.02311, appendix B.
    """

    forward_per_token: int
    trained_per_token: int
    attention: int

    def forward(self, lengths: NDArray[np.int64]) -> float:
        """Return the operations of a forward pass over rows of these lengths, (B,)."""
        return float(self.forward_per_token * lengths.sum() + self.attention * (lengths**2).sum())

    def training(self, lengths: NDArray[np.int64]) -> float:
        """Return the operations of forward and backward together."""
        return float(self.trained_per_token * lengths.sum() + 3 * self.attention * (lengths**2).sum())


def work_of(encoder: SentenceTransformer) -> Work:
    """Return the work of an encoder, as it is frozen now: of the matrices of its transformer but for embeddings.

    A pooler, which no embedding here uses, is left out too.
    """
    transformer = transformer_of(encoder)
    left_out = {id(module.weight) for module in transformer.modules() if isinstance(module, nn.Embedding)}
    pooler = getattr(transformer, "pooler", None)
    if isinstance(pooler, nn.Module):
        left_out |= {id(one) for one in pooler.parameters()}
    weights = trained = 0
    is_below = False  # modules register their parts in the order in which they run
    for one in transformer.parameters():
        if one.ndim == 2 and id(one) not in left_out:
            weights += one.numel()
            trained += one.numel() * (6 if one.requires_grad else 4 if is_below else 2)
        is_below |= one.requires_grad
    config = transformer.config.get_text_config()
    return Work(2 * weights, trained, 4 * config.num_hidden_layers * config.hidden_size)
