"""Past keys, kept as negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textcl.errors import ConfigError, ShapeError


class NegativeQueue(nn.Module):
    """The last `queue_size` keys with the labels of their rows; all of it is in the `state_dict`.

    Nothing here waits for the device: how many rows are filled is a tensor too, and rows that are still empty are
    masked, never cut off.

    Args:
        queue_size: K, keys kept, at least 1.
        width: D of a key.
        labels: G, label columns of a row.
        guide_width: E, of a guide's embeddings of the same rows; 0 keeps none.

    References:
        He et al. (2020), arXiv:1911.05722, section 3.2.
    """

    keys: Tensor
    groups: Tensor
    guide: Tensor
    steps: Tensor
    pushed: Tensor

    def __init__(self, queue_size: int, width: int, labels: int = 1, guide_width: int = 0) -> None:
        super().__init__()
        if queue_size < 1:
            raise ConfigError("queue_size", queue_size, "at least 1 row")
        self.register_buffer("keys", torch.zeros(queue_size, width))
        self.register_buffer("groups", torch.full((queue_size, labels), -1))
        self.register_buffer("guide", torch.zeros(queue_size, guide_width))
        self.register_buffer("steps", torch.zeros(queue_size, dtype=torch.int64))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # rows ever; the next goes to pushed mod K

    @property
    def empty(self) -> Tensor:
        """(K,) booleans, true where no key has come yet."""
        return torch.arange(len(self.keys), device=self.keys.device) >= self.pushed

    @torch.no_grad()
    def push(self, keys: Tensor, groups: Tensor, step: int, guide: Tensor | None = None) -> None:
        """Add n keys with their labels, made at optimizer step `step`; the oldest ones make room.

        Args:
            keys: (n, D).
            groups: (n, G).
            step: Counted from 1.
            guide: (n, E) embeddings by the guide; None where E is 0.

        Raises:
            ShapeError: If the widths are not those of the queue.
        """
        if keys.ndim != 2 or keys.shape[1] != self.keys.shape[1]:
            raise ShapeError("keys", keys.shape, f"(n, {self.keys.shape[1]})")
        if groups.shape != (len(keys), self.groups.shape[1]):
            raise ShapeError("groups", groups.shape, f"({len(keys)}, {self.groups.shape[1]})")
        guide = keys.new_empty(len(keys), 0) if guide is None else guide
        if guide.shape != (len(keys), self.guide.shape[1]):
            raise ShapeError("guide", guide.shape, f"({len(keys)}, {self.guide.shape[1]})")
        size, count = len(self.keys), len(keys)
        kept = min(count, size)
        places = (self.pushed + count - kept + torch.arange(kept, device=self.keys.device)) % size
        self.keys[places] = keys[count - kept :].to(self.keys.dtype)
        self.groups[places] = groups[count - kept :]
        self.guide[places] = guide[count - kept :].to(self.guide.dtype)
        self.steps[places] = step
        self.pushed += count

    def age(self, step: int) -> Tensor:
        """Return the mean age of the keys at optimizer step `step`, in steps; 0 for an empty queue."""
        filled = ~self.empty
        return ((step - self.steps) * filled).sum() / filled.sum().clamp(min=1)

    def tail(self) -> Tensor:
        """Return the keys, oldest first, (n, D) with n up to K."""
        size, pushed = len(self.keys), int(self.pushed)
        return self.keys[:pushed] if pushed <= size else self.keys.roll(-(pushed % size), dims=0)
