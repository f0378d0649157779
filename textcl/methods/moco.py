"""MoCo: keys from a slowly moving encoder, and a queue of past ones as further negatives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from textcl.encoder.momentum import MomentumEncoder
from textcl.errors import ConfigError
from textcl.losses.info_nce import InfoNCE
from textcl.losses.queue import NegativeQueue
from textcl.methods.masks import Masker, Past
from textcl.methods.method import GUIDE, GatheredBatch, Method, MethodOutput, PairBatch, pair_diagnostics
from textcl.methods.regularisers import Regulariser


class MoCo(Method):
    """InfoNCE of queries among the batch's own keys, its hard negatives' keys, and the queue.

    The paper has the queue alone as negatives; the other keys of the batch are the newest ones, and are at hand.

    The trained encoder makes the queries (the anchors), the momentum encoder the keys (the positives), so that a step
    trains on half of the rows. Rows that share a label are no negatives of each other, in the queue as in the batch:
    a row that comes again does not meet its own old key there.

    Args:
        encoder: Trained in place.
        loss: InfoNCE, one way; or Matryoshka around it.
        queue_size: Keys kept, of positives; 0 keeps none.
        momentum: Share of the momentum encoder kept at each update.
        projector: Maps (n, D) to (n, P) before the loss; None lets the loss see the embeddings.
        symmetric: Let positives look for the keys of their anchors too, at twice the cost (MoCo v3).
        width: P, what the queue holds; None takes the encoder's.
        labels: G, label columns of a row.
        regularisers: As Method has them.
        masker: Decides which candidates are no negatives, in the queue too.
        guide_width: E, of a guide's embeddings, which the queue keeps beside the keys; 0 without a guide.

    References:
        He et al. (2020), arXiv:1911.05722, Eq. 1 and Algorithm 1; Izacard et al. (2022), arXiv:2112.09118, for text.
    """

    takes_hard_negatives = True

    def __init__(
        self,
        encoder: SentenceTransformer,
        loss: nn.Module,
        *,
        queue_size: int = 4096,
        momentum: float = 0.999,
        projector: nn.Module | None = None,
        symmetric: bool = False,
        width: int | None = None,
        labels: int = 1,
        regularisers: Mapping[str, Regulariser] | None = None,
        masker: Masker | None = None,
        guide_width: int = 0,
    ) -> None:
        super().__init__(encoder, regularisers)
        if any(isinstance(part, InfoNCE) and (part.symmetric or part.same_side) for part in loss.modules()):
            raise ConfigError("loss", problem="keys have no gradient, so MoCo's InfoNCE goes one way")
        self.contrast, self.projector, self.symmetric = loss, projector, symmetric
        self.momentum_encoder = MomentumEncoder(encoder, projector, momentum)
        self.queue = None
        if queue_size != 0:
            self.queue = NegativeQueue(queue_size, width or encoder.get_embedding_dimension() or 0, labels, guide_width)
        self.masker = masker or Masker()
        self._new_keys: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def trained_sides(self, sides: int) -> int:
        """Return 1, the anchors; with `symmetric` 2: hard negatives are keys alone."""
        return min(sides, 2 if self.symmetric else 1)

    @torch.no_grad()
    def embed_fixed(self, batch: PairBatch) -> dict[str, Tensor]:
        """Return also `key`, (n, D), for all sides that some query looks for."""
        tokens = batch.tokens_of(0 if self.symmetric else 1, batch.sides)
        return {**super().embed_fixed(batch), "key": self.momentum_encoder.embed(tokens)}

    def objective(self, batch: GatheredBatch) -> MethodOutput:
        """Return the loss with the mean cosine of pairs and of negatives in the batch."""
        queries = [side if self.projector is None else self.projector(side) for side in batch.sides]
        keys = [self.momentum_encoder.project(side) for side in batch.fixed["key"]]
        anchor_keys = keys.pop(0) if self.symmetric else None
        positive_keys, *hard_keys = keys
        past = self._past(queries[0].dtype)
        masks = self.masker(batch, queries[0], positive_keys, hard_keys, past)
        more = hard_keys if past is None else [*hard_keys, past.keys]
        told = (torch.cat(more) if more else None, masks.same, masks.same_negatives)
        loss = self.contrast(queries[0], positive_keys, *told, positives=masks.positives)
        if anchor_keys is not None:
            loss = (loss + self.contrast(queries[1], anchor_keys, *told, positives=masks.positives)) / 2
        if self.training:
            guide = batch.fixed[GUIDE][1] if GUIDE in batch.fixed else None
            self._new_keys.append((positive_keys, batch.groups, guide))
        return MethodOutput(loss, {**pair_diagnostics(queries[0], positive_keys, masks.same), **masks.diagnostics})

    def _past(self, dtype: torch.dtype) -> Past | None:
        """Return the keys of the queue as candidates."""
        queue = self.queue
        return None if queue is None else Past(queue.keys.to(dtype), queue.groups, queue.empty, queue.guide)

    def after_update(self, step: int) -> None:
        """Move the momentum encoder on, then put the step's keys into the queue."""
        self.momentum_encoder.update(self.encoder, self.projector)
        if self.queue is not None:
            for keys, groups, guide in self._new_keys:
                self.queue.push(keys, groups, step, guide)
        self._new_keys.clear()

    def measures(self, step: int) -> dict[str, float]:
        """Return the mean age of the queue's keys in steps, and the share of the queue that is filled."""
        if self.queue is None:
            return {}
        return {
            "queue_age_steps": float(self.queue.age(step)),
            "queue_filled_fraction": float((~self.queue.empty).float().mean()),
        }
