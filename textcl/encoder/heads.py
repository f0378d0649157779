"""Heads between the embedding and the loss; they are dropped after training."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from textcl.errors import ConfigError

Norm = Literal["layer", "batch", "none"]
NORMS: tuple[Norm, ...] = ("layer", "batch", "none")


class Projector(nn.Module):
    """Linear layers with a norm and ReLU between them: (n, D) embeddings to (n, `width_out`) projections.

    LayerNorm sees a row alone. Batch normalisation, which the papers have, sees all rows it is given and keeps no
    running statistics; methods give it the rows of the whole batch over all processes, one side at a time, so that
    chunks and processes change nothing.

    Args:
        width_in: D, the encoder's width.
        width_hidden: Width between the layers.
        width_out: Width of a projection.
        layers: Linear layers, at least 1; one has nothing between.
        norm: What stands before each ReLU: layer, batch or none.
        norm_out: Put the norm, without its scale and shift, behind the last layer too, as SimSiam does.

    References:
        Chen et al. (2020), arXiv:2002.05709, section 4.2; Chen and He (2021), arXiv:2011.10566, section 3.
    """

    def __init__(
        self,
        width_in: int,
        width_hidden: int,
        width_out: int,
        *,
        layers: int = 2,
        norm: Norm = "layer",
        norm_out: bool = False,
    ) -> None:
        super().__init__()
        for field, width in (("hidden", width_hidden), ("out", width_out)):
            if width < 1:
                raise ConfigError(field, width, "a width of at least 1")
        if layers < 1:
            raise ConfigError("layers", layers, "at least 1 layer")
        if norm not in NORMS:
            raise ConfigError("norm", norm, f"one of {', '.join(NORMS)}")
        widths = [width_in, *[width_hidden] * (layers - 1), width_out]
        stack: list[nn.Module] = []
        for place in range(layers):
            stack.append(nn.Linear(widths[place], widths[place + 1]))
            if place < layers - 1:
                stack += [*_norm(norm, width_hidden), nn.ReLU()]
        self.layers = nn.Sequential(*stack, *(_norm(norm, width_out, affine=False) if norm_out else []))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return (n, width_out) projections of (n, width_in) embeddings."""
        projections: Tensor = self.layers(embeddings)
        return projections


def _norm(norm: Norm, width: int, *, affine: bool = True) -> list[nn.Module]:
    if norm == "layer":
        return [nn.LayerNorm(width, elementwise_affine=affine)]
    # Running statistics would serve a head that is used after training; these never are.
    return [nn.BatchNorm1d(width, affine=affine, track_running_stats=False)] if norm == "batch" else []
