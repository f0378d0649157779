"""Which rows stand in which batch, and the views they are drawn in: a pure function of (seed, step, rank)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from textcl.corpus.tokens import TokenRows, concatenate
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.methods.method import PairBatch
from textcl.randomness import RowRandom, permutation
from textcl.views.view import PairView, View


@dataclass(frozen=True)
class Side:
    """One side of every pair: N token rows, the tokens around each, and the view they are seen in."""

    tokens: TokenRows
    prefix: Sequence[int]
    suffix: Sequence[int]
    view: View


@dataclass(frozen=True)
class PairSource:
    """N pairs from which views are drawn.

    Args:
        first: The anchors.
        second: The positives; for one text a row, the same tokens as the first side's.
        groups: (N, G) labels; rows that share one are never negatives of each other.
        max_tokens: Longest row after its view, with what stands around it.
        seed: Decides order and views.
        pair: Drawn on the first side's tokens before the sides' own views; None where the sides are the pair.
    """

    first: Side
    second: Side
    groups: NDArray[np.int64]
    max_tokens: int
    seed: int
    pair: PairView | None = None

    def __post_init__(self) -> None:
        if not len(self.first.tokens) == len(self.second.tokens) == len(self.groups):
            raise ShapeError("groups", self.groups.shape, f"({len(self.first.tokens)}, G)")

    def __len__(self) -> int:
        return len(self.groups)

    def draw(self, rows: NDArray[np.int64], epoch: int) -> PairBatch:
        """Return the pairs of `rows` (B,) as they are seen in `epoch`."""
        rng = RowRandom((self.seed, epoch), rows)
        if self.pair is not None:
            first, second = self.pair(self.first.tokens.take(rows), rng.named("pair"))
        else:
            first, second = self.first.tokens.take(rows), self.second.tokens.take(rows)
        first, second = self.first.view(first, rng.named("first")), self.second.view(second, rng.named("second"))
        tokens = [
            side.wrapped(around.prefix, around.suffix, self.max_tokens)
            for side, around in ((first, self.first), (second, self.second))
        ]
        return PairBatch(concatenate(tokens), rows, self.groups[rows])


class Batches(Dataset[PairBatch]):
    """Batch number m of this process, for every m from 0 on; epoch after epoch, each row at most once an epoch.

    What does not fill a batch at an epoch's end is left to the next epoch's other order. With W processes a step takes
    W * batch_size rows, of which each process gets its own part, in the order in which one process would see them.

    Args:
        source: Where pairs come from.
        batch_size: Pairs of one process, at least 2.
        rank: Number of this process, from 0.
        processes: W.

    Raises:
        ConfigError: If the batch is smaller than two pairs.
        DataError: If there are fewer than two pairs a process.
    """

    def __init__(self, source: PairSource, batch_size: int, rank: int = 0, processes: int = 1) -> None:
        if batch_size < 2:
            raise ConfigError("batch_size", batch_size, "at least 2: the other pairs are the negatives")
        if len(source) < 2 * processes:
            raise DataError(f"{len(source)} training pairs are too few: contrastive training needs 2 a process or more")
        self.source, self.rank, self.processes = source, rank, processes
        self.batch_size = min(batch_size, len(source) // processes)
        self.per_epoch = len(source) // (self.batch_size * processes)

    def __getitem__(self, number: int) -> PairBatch:
        """Return batch `number`."""
        epoch, place = divmod(number, self.per_epoch)
        order = _order(len(self.source), self.source.seed, epoch)
        start = (place * self.processes + self.rank) * self.batch_size
        return self.source.draw(order[start : start + self.batch_size], epoch)


@lru_cache(maxsize=2)
def _order(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return permutation(rows, seed, "order", epoch)
