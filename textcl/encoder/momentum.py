"""The slowly moving copy of an encoder that makes the keys of MoCo and the targets of BYOL."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from textcl.corpus.tokens import TokenRows
from textcl.encoder.forward import forward_rows
from textcl.errors import ConfigError


class MomentumEncoder(nn.Module):
    """A copy of an encoder and its projector that follows them; it has no gradient and never drops a unit.

    Args:
        encoder: What is copied as it stands.
        projector: Copied too; None for none.
        momentum: Share of the copy kept at each update, in [0, 1]; 0 copies anew each time, 1 never moves.
        rise: Let the momentum rise to 1 along a cosine over the run.

    Attributes:
        progress: Share of the run that is done, in [0, 1]; matters with `rise` alone.

    References:
        He et al. (2020), arXiv:1911.05722, Eq. 2; Grill et al. (2020), arXiv:2006.07733, section 3.3 for `rise`.
    """

    def __init__(
        self, encoder: SentenceTransformer, projector: nn.Module | None, momentum: float, *, rise: bool = False
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ConfigError("momentum", momentum, "a share in [0, 1]")
        self.encoder = _fixed_copy(encoder)
        self.projector = None if projector is None else _fixed_copy(projector)
        self.start, self.rise, self.progress = momentum, rise, 0.0

    @property
    def momentum(self) -> float:
        """The share kept at the present moment of the run."""
        if not self.rise:
            return self.start
        return 1 - (1 - self.start) * (math.cos(math.pi * self.progress) + 1) / 2

    def train(self, mode: bool = True) -> MomentumEncoder:  # noqa: ARG002 (torch's signature)
        """Stay in evaluation mode, whatever the method around it does: dropout would make its answers noisy."""
        return super().train(False)

    @torch.no_grad()
    def embed(self, tokens: TokenRows) -> Tensor:
        """Return (n, D) embeddings of n token rows."""
        return forward_rows(self.encoder, tokens)

    @torch.no_grad()
    def project(self, embeddings: Tensor) -> Tensor:
        """Return (n, P) projections of (n, D) embeddings; without a projector, the embeddings."""
        if self.projector is None:
            return embeddings
        projections: Tensor = self.projector(embeddings)
        return projections

    def update(self, encoder: nn.Module, projector: nn.Module | None) -> None:
        """Move towards what was copied."""
        update_momentum(self.encoder, encoder, self.momentum)
        if self.projector is not None and projector is not None:
            update_momentum(self.projector, projector, self.momentum)


@torch.no_grad()
def update_momentum(target: nn.Module, online: nn.Module, momentum: float) -> None:
    """Set target = momentum * target + (1 - momentum) * online (Eq. 2 of arXiv:1911.05722); buffers are copied."""
    pairs = list(zip(target.parameters(), online.parameters(), strict=True))
    if pairs:  # all at once: on a GPU, starting a sum for each parameter costs more than the sums
        torch._foreach_lerp_([kept.data for kept, _ in pairs], [new.data for _, new in pairs], 1 - momentum)
    for buffer, newer in zip(target.buffers(), online.buffers(), strict=True):
        buffer.copy_(newer)


def _fixed_copy(module: Any) -> Any:  # noqa: ANN401 (the same kind comes back)
    return copy.deepcopy(module).requires_grad_(False).eval()
