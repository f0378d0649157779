"""Which candidates of a row are no negatives of it, and why: the false negatives of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from textcl.errors import ShapeError
from textcl.losses.false_negatives import FalseNegatives
from textcl.methods.method import ABSENT, GUIDE, GatheredBatch, share_a_label

SIMILARITY = "similarity"
GROUP = "group"


@dataclass(frozen=True)
class Past:
    """Candidates from earlier batches.

    Args:
        keys: (K, D).
        groups: (K, G) labels.
        empty: (K,) booleans, true where there is no candidate yet.
        guide: (K, E) embeddings by the guide; E is 0 without one.
    """

    keys: Tensor
    groups: Tensor
    empty: Tensor
    guide: Tensor


@dataclass(frozen=True)
class Masks:
    """What a loss is told of the candidates of N rows.

    Args:
        same: (N, N) booleans, true where two rows are no negatives of each other; true on the diagonal.
        same_negatives: (N, K) booleans for the hard negatives, column by column, and the past ones; None where K is 0.
        positives: (N, N) booleans, true where two rows are positives of each other; None: each its own alone.
        diagnostics: For the journal: the share of all candidates that is masked, and of each reason what it masks
            beyond the reasons before it.
    """

    same: Tensor
    same_negatives: Tensor | None
    positives: Tensor | None = None
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Masker:
    """Masks candidates that share a label with a row, in any column, and those that are as good as its positive.

    Args:
        similarity: Judges by cosines, of a guide's embeddings where the batch has them, or else of what the loss sees;
            None goes by labels alone.
        group_positives: Take rows that share a label of the kind `GROUP` for positives, not only for no negatives.
    """

    similarity: FalseNegatives | None = None
    group_positives: bool = False

    @torch.no_grad()
    def __call__(
        self,
        batch: GatheredBatch,
        anchor: Tensor,
        positive: Tensor,
        hard: Sequence[Tensor] = (),
        past: Past | None = None,
    ) -> Masks:
        """Return the masks of a batch.

        Args:
            batch: Its labels, and the guide's embeddings.
            anchor: (N, D), as the loss sees them, as all further ones.
            positive: (N, D).
            hard: (N, D) each.
            past: Candidates of earlier batches.
        """
        reasons = self._by_label(batch, past)
        if self.similarity is not None:
            reasons[SIMILARITY] = self._by_similarity(self.similarity, batch, anchor, positive, hard, past)
        rows, masked = len(anchor), torch.eye(len(anchor), dtype=torch.bool, device=anchor.device)
        there = _there(batch, past)
        masked = torch.cat([masked, ~there.expand(rows, -1)], dim=1)
        before = ~masked
        candidates = before.sum().clamp(min=1)
        shares = {}
        for reason, found in reasons.items():
            shares[f"masked_{reason}_fraction"] = (found & ~masked).sum() / candidates
            masked = masked | found
        shares = {"masked_fraction": (masked & before).sum() / candidates, **shares}
        positives = reasons[GROUP][:, :rows] if self.group_positives and GROUP in reasons else None
        return Masks(masked[:, :rows], masked[:, rows:] if len(there) else None, positives, shares)

    def _by_label(self, batch: GatheredBatch, past: Past | None) -> dict[str, Tensor]:
        """Return for each kind of label where a candidate shares one with a row, (N, N + K)."""
        if past is not None and past.groups.shape[1] != batch.groups.shape[1]:
            raise ShapeError("groups", batch.groups.shape, f"({len(batch.groups)}, {past.groups.shape[1]})")
        columns = batch.negative_groups.transpose(0, 1).flatten(0, 1)  # (H * N, F), as the embeddings stand
        found: dict[str, Tensor] = {}
        for kind in dict.fromkeys(batch.kinds):
            places = [place for place, one in enumerate(batch.kinds) if one == kind]
            own = _columns(batch.groups, places)
            parts = [share_a_label(own, own), share_a_label(own, columns)]
            if past is not None:
                parts.append(share_a_label(own, _columns(past.groups, places)))
            found[kind] = torch.cat(parts, dim=1)
        return found

    def _by_similarity(
        self,
        judge: FalseNegatives,
        batch: GatheredBatch,
        anchor: Tensor,
        positive: Tensor,
        hard: Sequence[Tensor],
        past: Past | None,
    ) -> Tensor:
        """Return where a candidate is as good as a row's positive, (N, N + K)."""
        old = [] if past is None else [past.keys]
        if GUIDE in batch.fixed:
            anchor, positive, *hard = batch.fixed[GUIDE]
            old = [] if past is None else [past.guide]
        parts = [judge.same_rows(anchor, positive)]
        if more := [*hard, *old]:
            parts.append(judge.same_candidates(anchor, positive, torch.cat([one.to(anchor.dtype) for one in more])))
        return torch.cat(parts, dim=1)


def _columns(table: Tensor, places: Sequence[int]) -> Tensor:
    """Return some columns of an (N, G) table; an index of numbers would travel to the device, and be waited for."""
    return torch.stack([table[:, place] for place in places], dim=1)


def _there(batch: GatheredBatch, past: Past | None) -> Tensor:
    """Return which of the candidates beyond the batch's rows exist, (K,)."""
    hard = batch.negative_groups.transpose(0, 1).flatten(0, 1)[:, 0] != ABSENT
    return hard if past is None else torch.cat([hard, ~past.empty])
