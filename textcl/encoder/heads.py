"""Heads between the embedding and the loss; they are dropped after training."""

from __future__ import annotations

from torch import Tensor, nn

from textcl.errors import ConfigError


class Projector(nn.Module):
    """Linear, LayerNorm, ReLU, linear: (n, D) embeddings to (n, `width_out`) projections.

    LayerNorm instead of the papers' batch normalisation, so that the answer for a row does not depend on which rows
    share its chunk or its process.

    Args:
        width_in: D, the encoder's width.
        width_hidden: Width between the two layers.
        width_out: Width of a projection.

    References:
        Chen et al. (2020), arXiv:2002.05709, section 4.2.
    """

    def __init__(self, width_in: int, width_hidden: int, width_out: int) -> None:
        super().__init__()
        for field, width in (("hidden", width_hidden), ("out", width_out)):
            if width < 1:
                raise ConfigError(field, width, "a width of at least 1")
        self.layers = nn.Sequential(
            nn.Linear(width_in, width_hidden),
            nn.LayerNorm(width_hidden),
            nn.ReLU(),
            nn.Linear(width_hidden, width_out),
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return (n, width_out) projections of (n, width_in) embeddings."""
        projections: Tensor = self.layers(embeddings)
        return projections
