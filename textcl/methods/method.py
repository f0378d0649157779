"""What every training method is, and the gathering of rows over processes that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from textcl.corpus.tokens import TokenRows
from textcl.encoder.dropout import draw_cheaply
from textcl.encoder.forward import forward_rows
from textcl.encoder.transfer import send
from textcl.losses.temperature import set_progress
from textcl.methods.regularisers import Regulariser

GUIDE = "guide"
ABSENT = -1
"""The label of a hard negative that is not there: its place is held by an empty text that nobody is told apart from."""


@dataclass(frozen=True)
class PairBatch:
    """B rows of S sides as S * B token rows: all anchors, all positives, then each column of hard negatives.

    Args:
        tokens: S * B rows with special tokens.
        rows: (B,) row numbers in the data set.
        groups: (B, G) labels; two rows that share a label, in whichever columns, are no negatives of each other.
        negative_groups: (B, H, F) labels of the hard negatives, H = S - 2; None for none. A hard negative is no
            negative of a row that has one of its labels.
        kinds: G words, why rows that share the label of a column are no negatives; None: "text" for all.
        guide: (S * B, E) embeddings of the same texts by a frozen encoder; None without one.
        counts: (W,) rows of each process; None where all have B.
    """

    tokens: TokenRows
    rows: NDArray[np.int64]
    groups: NDArray[np.int64]
    negative_groups: NDArray[np.int64] | None = None
    kinds: tuple[str, ...] | None = None
    guide: NDArray[np.float32] | None = None
    counts: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sides(self) -> int:
        """S."""
        return 2 if self.negative_groups is None else 2 + self.negative_groups.shape[1]

    def tokens_of(self, first: int, end: int) -> TokenRows:
        """Return the token rows of sides `first` to `end` - 1."""
        if (first, end) == (0, self.sides):
            return self.tokens
        return self.tokens.take(np.arange(first * len(self), end * len(self)))


@dataclass(frozen=True)
class MethodOutput:
    """A scalar loss with its gradient, and named detached scalars that the journal shows."""

    loss: Tensor
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class GatheredBatch:
    """A batch of N rows, those of all processes, embedded; the same on every process.

    Args:
        sides: The embeddings that have a gradient, one (N, D) a side.
        fixed: Embeddings without a gradient, by name, one (N, D) a side that was asked for; those of a guide, of all
            sides, are called `GUIDE`.
        groups: (N, G) labels.
        negative_groups: (N, H, F) labels of the hard negatives.
        kinds: G words, one a column of `groups`.
    """

    sides: tuple[Tensor, ...]
    fixed: Mapping[str, tuple[Tensor, ...]]
    groups: Tensor
    negative_groups: Tensor
    kinds: tuple[str, ...]

    @cached_property
    def same(self) -> Tensor:
        """(N, N) booleans, true where two rows share a label."""
        return share_a_label(self.groups, self.groups)

    def present(self, sides: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the rows of each side without the places of hard negatives that are not there, (n, D) each."""
        there = (self.negative_groups[:, :, 0] != ABSENT).T
        return (*sides[:2], *(side[some] for side, some in zip(sides[2:], there, strict=False)))


class Method(nn.Module, ABC):
    """Owns the encoder and everything trained or kept beside it, so that one `state_dict` holds the run.

    Two seams, with the gradient cache between them: `embed` maps any chunk of token rows to embeddings, row by row, and
    `loss` sees the embeddings of the whole batch. Heads belong to the loss: there they see the batch of all processes
    at once. `forward` runs both or the first, so that the hooks of DistributedDataParallel fire whichever way a step
    goes. A method gives its `objective`, and `embed_fixed` if it has an encoder that is not trained by gradients.

    Args:
        encoder: What training leaves behind; everything else is dropped. The pooler that BERT and its kin carry, and
            no embedding uses, is frozen; dropout gets draws that cost little.
        regularisers: Terms added to the objective, by name.

    Attributes:
        takes_hard_negatives: Whether sides beyond the first two have a use.
    """

    takes_hard_negatives = False

    def __init__(self, encoder: SentenceTransformer, regularisers: Mapping[str, Regulariser] | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        draw_cheaply(encoder)
        self.regularisers = nn.ModuleDict(regularisers or {})
        # Without a gradient in it DistributedDataParallel would wait for one, and stop at the second step.
        pooler = getattr(cast(Any, encoder[0]).auto_model, "pooler", None)
        if isinstance(pooler, nn.Module):
            pooler.requires_grad_(False)

    @property
    def advice(self) -> str:
        """What to change in a recipe whose run collapses or diverges."""
        return "lower training.learning_rate or raise method.temperature"

    @abstractmethod
    def objective(self, batch: GatheredBatch) -> MethodOutput:
        """Return the loss of a whole batch, and what the journal should show of it."""

    def trained_sides(self, sides: int) -> int:
        """Return how many of a batch's sides, from the first on, the encoder embeds with gradients."""
        return sides

    def embed(self, tokens: TokenRows) -> Tensor:
        """Return (n, D) embeddings of n token rows; row i depends on token row i alone, dropout aside."""
        return forward_rows(self.encoder, tokens)

    @torch.no_grad()
    def embed_fixed(self, batch: PairBatch) -> dict[str, Tensor]:
        """Return embeddings that are no function of what gradients train, (n, D) each, n a multiple of B."""
        tokens = self.trained_tokens(batch)
        embedded = {name: cast(Regulariser, one).embed_fixed(tokens) for name, one in self.regularisers.items()}
        return {name: one for name, one in embedded.items() if one is not None}

    def trained_tokens(self, batch: PairBatch) -> TokenRows:
        """Return the token rows that `embed` is for."""
        return batch.tokens_of(0, self.trained_sides(batch.sides))

    def loss(self, embeddings: Tensor, fixed: Mapping[str, Tensor], batch: PairBatch) -> MethodOutput:
        """Return the loss of a whole batch, over all processes, given the embeddings of this process's rows.

        The gradient that reaches `embeddings` is scaled so that the average over processes, which
        DistributedDataParallel takes, is the gradient of the loss on the whole batch.
        """
        gathered = gather_batch(embeddings, fixed, batch)
        output = self.objective(gathered)
        loss, diagnostics = output.loss, dict(output.diagnostics)
        for name, one in self.regularisers.items():
            fixed_sides = gathered.fixed.get(name)
            value = cast(Regulariser, one)(
                gathered.present(gathered.sides), None if fixed_sides is None else gathered.present(fixed_sides)
            )
            loss = loss + cast(Regulariser, one).weight * value
            diagnostics[name] = value.detach()
        return MethodOutput(loss, diagnostics)

    def before_update(self, progress: float) -> None:
        """Tell whatever has a schedule that the share `progress` of the run is done, in [0, 1]."""
        set_progress(self, progress)

    def after_update(self, step: int) -> None:
        """Move averages and queues on, after optimizer step number `step`, counted from 1."""

    def measures(self, step: int) -> dict[str, float]:  # noqa: ARG002 (for methods that keep something)
        """Return what is to be watched of the things that the method keeps, after optimizer step `step`."""
        return {}

    def forward(self, batch: PairBatch | None = None, tokens: TokenRows | None = None) -> Any:  # noqa: ANN401 (by the arguments)
        """Return `embed(tokens)`, or the loss of `batch`."""
        if tokens is not None:
            return self.embed(tokens)
        if batch is None:
            raise TypeError("forward needs tokens, or a batch")
        return self.loss(self.embed(self.trained_tokens(batch)), self.embed_fixed(batch), batch)


class _Gather(torch.autograd.Function):
    """Rows of all processes, rank after rank; the gradient of each process's rows is the sum over processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Sequence[int]) -> Tensor:  # noqa: ANN401 (torch's context, which has no public type)
        ctx.counts = counts
        most = max(counts)  # all send as many rows as the longest has; what fills the others up is dropped here
        sent = F.pad(rows.contiguous(), (0, 0) * (rows.ndim - 1) + (0, most - len(rows)))
        everywhere = [torch.empty_like(sent) for _ in counts]
        dist.all_gather(everywhere, sent)
        return torch.cat([part[:count] for part, count in zip(everywhere, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return torch.split(total, list(ctx.counts))[dist.get_rank()], None


def gather_rows(rows: Tensor, counts: Sequence[int] | None = None) -> Tensor:
    """Return the rows of all processes, (N, …), with gradients; without processes, `rows` itself.

    Every process computes the same loss on what it gathers, so the summed gradient is W times that of one loss, and the
    average that DistributedDataParallel takes over the W processes makes it right.

    Args:
        rows: (n, …).
        counts: n of each process; None where all have as many.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows, counts or (len(rows),) * dist.get_world_size())  # type: ignore[no-untyped-call]
    return gathered


def gather_batch(embeddings: Tensor, fixed: Mapping[str, Tensor], batch: PairBatch) -> GatheredBatch:
    """Return the batch of all processes from what this process has of it."""

    def gather_sides(rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(gather_rows(side, batch.counts) for side in torch.split(rows, len(batch)))

    device = embeddings.device
    none = np.empty((len(batch), 0, 1), dtype=np.int64)
    fixed = fixed if batch.guide is None else {**fixed, GUIDE: send(batch.guide, device)}
    negative_groups = none if batch.negative_groups is None else batch.negative_groups
    return GatheredBatch(
        gather_sides(embeddings),
        {name: gather_sides(rows) for name, rows in fixed.items()},
        gather_rows(send(batch.groups, device), batch.counts),
        gather_rows(send(negative_groups, device), batch.counts),
        batch.kinds or ("text",) * batch.groups.shape[1],
    )


def share_a_label(first: Tensor, second: Tensor) -> Tensor:
    """Return (N, M) booleans, true where row i of (N, G) labels and row j of (M, F) have one in common."""
    shared = torch.zeros(len(first), len(second), dtype=torch.bool, device=first.device)
    for one in first.T:  # pair by pair of columns: all at once would need G * F times the room
        for other in second.T:
            shared |= one[:, None] == other[None, :]
    return shared


@torch.no_grad()
def pair_diagnostics(anchor: Tensor, positive: Tensor, same: Tensor) -> dict[str, Tensor]:
    """Return the mean cosine of pairs and of the batch's negatives.

    Args:
        anchor: (N, D).
        positive: (N, D), row i belongs to anchor i.
        same: (N, N) booleans, true where two rows are no negatives of each other.
    """
    cosines = F.normalize(anchor.float(), dim=-1) @ F.normalize(positive.float(), dim=-1).T
    return {
        "positive_cosine": cosines.diagonal().mean(),
        "negative_cosine": cosines.masked_fill(same, 0.0).sum() / (~same).sum().clamp(min=1),
    }
