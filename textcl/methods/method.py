"""What every training method is, and the gathering of rows over processes that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch import distributed as dist

from textcl.corpus.tokens import TokenRows

Projections = dict[str, Tensor]


@dataclass(frozen=True)
class PairBatch:
    """B pairs as 2B token rows: all first views, then all second views.

    Args:
        tokens: 2B rows with special tokens.
        rows: (B,) row numbers in the data set.
        groups: (B, G) labels; two rows that share a label, in whichever columns, are no negatives of each other.
    """

    tokens: TokenRows
    rows: NDArray[np.int64]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class MethodOutput:
    """A scalar loss with its gradient, and named detached scalars that the journal shows."""

    loss: Tensor
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


class Method(nn.Module, ABC):
    """Owns the encoder and everything trained or kept beside it, so that one `state_dict` holds the run.

    Two seams, with the gradient cache between them: `embed` maps any chunk of rows to projections, row by row, and
    `loss` sees the projections of the whole batch. `forward` runs both or either, so that the hooks of
    DistributedDataParallel fire whichever way a step goes.

    Args:
        encoder: What training leaves behind; everything else is dropped. The pooler that BERT and its kin carry, and
            no embedding uses, is frozen.
    """

    def __init__(self, encoder: SentenceTransformer) -> None:
        super().__init__()
        self.encoder = encoder
        # Without a gradient in it DistributedDataParallel would wait for one, and stop at the second step.
        pooler = getattr(cast(Any, encoder[0]).auto_model, "pooler", None)
        if isinstance(pooler, nn.Module):
            pooler.requires_grad_(False)

    @abstractmethod
    def embed(self, tokens: TokenRows) -> Projections:
        """Return named tensors whose first dimension is the row; row i depends on token row i alone, dropout aside."""

    @abstractmethod
    def loss(self, projections: Projections, batch: PairBatch) -> MethodOutput:
        """Return the loss of a whole batch, over all processes, given the projections of this process's 2B rows.

        The gradient that reaches `projections` is scaled so that the average over processes, which
        DistributedDataParallel takes, is the gradient of the loss on the whole batch.
        """

    def after_update(self, step: int) -> None:
        """Move averages and queues on, after optimizer step number `step`, counted from 1."""

    def forward(
        self, batch: PairBatch | None = None, tokens: TokenRows | None = None, projections: Projections | None = None
    ) -> Any:  # noqa: ANN401 (one of two types, by the arguments)
        """Return `embed(tokens)`, `loss(projections, batch)`, or for `batch` alone its loss."""
        if tokens is not None:
            return self.embed(tokens)
        if batch is None:
            raise TypeError("forward needs tokens, or a batch")
        return self.loss(self.embed(batch.tokens) if projections is None else projections, batch)


class _Gather(torch.autograd.Function):
    """Rows of all processes, rank after rank; the gradient of each process's rows is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ANN401, ARG004 (torch's context, which has no public type)
        everywhere = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(everywhere, rows.contiguous())
        return torch.cat(everywhere)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401, ARG004
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        rank, count = dist.get_rank(), len(total) // dist.get_world_size()
        return total[rank * count : (rank + 1) * count]


def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all processes, (W * n, …), with gradients; without processes, `rows` itself.

    Every process computes the same loss on what it gathers, so the summed gradient is W times that of one loss, and the
    average that DistributedDataParallel takes over the W processes makes it right.

    Args:
        rows: (n, …), the same n on every process.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


def gather_pairs(projections: Tensor, batch: PairBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return (anchors, positives, same) over all processes from this process's (2B, D) projections.

    Returns:
        Anchors and positives, (W * B, D) each, and (W * B, W * B) booleans that are true where two rows share a label.
    """
    first, second = projections.chunk(2)
    groups = gather_rows(torch.from_numpy(batch.groups).to(projections.device))
    same = (groups[:, None, :, None] == groups[None, :, None, :]).flatten(2).any(dim=-1)
    return gather_rows(first), gather_rows(second), same
