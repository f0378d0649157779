"""Similarity distillation: which texts of a batch are near each other stays as a frozen encoder has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textcl.errors import ShapeError
from textcl.losses.rows import check_rows, products, unit_rows
from textcl.losses.temperature import Temperature, check_temperature, temperature_now


class SimilarityDistillation(nn.Module):
    """Divergence of the similarities within a batch from those that a frozen encoder finds there.

    For each row a softmax of its cosines with all other rows, once by the frozen and once by the trained encoder; the
    loss is the mean Kullback-Leibler divergence of the second from the first. Widths may differ.

    Args:
        temperature: Divisor of the cosines on both sides, above 0, or a module.

    References:
        Passalis and Tefas (2018), arXiv:1803.10837, for distributions over the other rows of the batch; Fang et al.
        (2021), arXiv:2101.04731 (SEED), for the softmax with a temperature, there over a queue.
    """

    temperature: Temperature

    def __init__(self, temperature: Temperature = 0.05) -> None:
        super().__init__()
        self.temperature = check_temperature(temperature)

    def forward(self, embeddings: Tensor, frozen: Tensor) -> Tensor:
        """Return the mean over the N rows, in nats, at least 0 but for rounding.

        Args:
            embeddings: (N, D) floats, N at least 2; with 2, where a row has one other, the loss is 0.
            frozen: (N, F) floats, a constant for the gradient; row i is the same text as row i of `embeddings`.

        Raises:
            ShapeError: If the shapes do not fit each other.
        """
        check_rows("embeddings", embeddings, least=2, letter="N")
        if frozen.ndim != 2 or len(frozen) != len(embeddings):
            raise ShapeError("frozen", frozen.shape, f"({len(embeddings)}, F)")
        temperature = temperature_now(self.temperature)
        trained, wanted = (_log_shares(rows, temperature) for rows in (embeddings, frozen.detach()))
        return (wanted.exp() * (wanted - trained)).sum(dim=1).mean()


def _log_shares(rows: Tensor, temperature: float | Tensor) -> Tensor:
    """Return each row's log softmax over the other rows, (N, N), with 0 for itself."""
    rows = unit_rows(rows)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    logits = (products(rows, rows) / temperature).masked_fill(itself, -torch.inf)
    return logits.log_softmax(dim=1).masked_fill(itself, 0.0)
