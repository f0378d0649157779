"""Which rows meet in which batch: pure functions of (seed, batch number), so that a resume needs no state of them.

A batch is a (B, 3) table: source, row of the source, and epoch of that source, in which the row's views are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from textcl.errors import ConfigError
from textcl.randomness import permutation

_KEPT = 6  # permutations of a source's blocks: a batch may reach over blocks, and into the next epoch
_KEPT_WHOLE = 2  # of all its rows


class Order(Protocol):
    """The batches of a run, for every number from 0 on.

    Attributes:
        per_epoch: Batches of an epoch.
    """

    per_epoch: int

    def batch(self, number: int) -> NDArray[np.int64]:
        """Return batch `number`, (B, 3), in the order in which processes share it out."""
        ...

    def contributed(self, number: int) -> NDArray[np.int64]:
        """Return how many rows of each source stand in the batches before `number`, (sources,)."""
        ...


class Stretches:
    """The rows of a source in a random order, another in each epoch, of which stretches are asked for in turn.

    Args:
        count: N rows.
        seed: Decides the orders.
        block: As `Shuffled` has it.
    """

    def __init__(self, count: int, seed: int, block: int | None = None) -> None:
        self.count, self.seed, self.block = count, seed, block or count
        self._kept: dict[tuple[str, int], NDArray[np.int64]] = {}

    def rows(self, epoch: int, start: int, end: int) -> NDArray[np.int64]:
        """Return rows number `start` to `end` - 1 of an epoch's order."""
        if self.block >= self.count:
            return self._permuted(self.count, "order", epoch)[start:end]
        blocks = self._permuted(-(-self.count // self.block), "blocks", epoch)
        sizes = np.minimum(self.count - blocks * self.block, self.block)
        ends = np.cumsum(sizes)
        found = []
        for place in range(int(np.searchsorted(ends, start, side="right")), len(blocks)):
            begin = int(ends[place] - sizes[place])
            if begin >= end:
                break
            inside = self._permuted(int(sizes[place]), f"block {blocks[place]}", epoch)
            found.append(blocks[place] * self.block + inside[max(start - begin, 0) : end - begin])
        return np.concatenate(found)

    def _permuted(self, length: int, name: str, epoch: int) -> NDArray[np.int64]:
        if (name, epoch) not in self._kept:
            if len(self._kept) == (_KEPT_WHOLE if self.block >= self.count else _KEPT):
                del self._kept[next(iter(self._kept))]
            self._kept[name, epoch] = permutation(length, self.seed, name, epoch)
        return self._kept[name, epoch]


class Shuffled:
    """All rows of one source in a random order, another in each epoch.

    What does not fill a batch at the end of an epoch is left to the next one's order.

    Args:
        count: N rows.
        batch_size: Rows of a batch, at most N.
        seed: Decides the orders.
        block: Rows that are shuffled among each other, the blocks among each other: what a buffer of so many rows can
            do for a source that is read through; None shuffles all.
    """

    def __init__(self, count: int, batch_size: int, seed: int, block: int | None = None) -> None:
        self.batch_size, self.per_epoch = batch_size, count // batch_size
        self.stretches = Stretches(count, seed, block)

    def batch(self, number: int) -> NDArray[np.int64]:
        """Return batch `number`, (batch_size, 3)."""
        epoch, place = divmod(number, self.per_epoch)
        start = place * self.batch_size
        return _table(0, self.stretches.rows(epoch, start, start + self.batch_size), epoch)

    def contributed(self, number: int) -> NDArray[np.int64]:
        """Return how many rows stand in the batches before `number`, (1,)."""
        return np.array([number * self.batch_size])


class Unique:
    """All rows of one source once an epoch, in batches in which no two rows share a label.

    Rows are sorted by group, groups and their rows in a random order, and dealt out like cards: those of a group go to
    batches that follow each other, so that they never meet as long as there are as many batches as the largest group
    has rows. This takes one sort an epoch, whatever the groups. Batches differ by one row at most.

    Groups are the connected components of shared labels: two rows that share none, but one each with a third, are kept
    apart too.

    Args:
        groups: (N, G) labels.
        batch_size: Rows of a batch at most, at least 2 and at most N; of 2 with an odd N, one batch has 3.
        seed: Decides the orders.

    Raises:
        ConfigError: If a group has more rows than an epoch has batches.
    """

    def __init__(self, groups: NDArray[np.int64], batch_size: int, seed: int) -> None:
        self.components, self.seed = components(groups), seed
        count = len(groups)
        # With three rows and batches of two, the one left would meet nobody.
        self.per_epoch = min(-(-count // batch_size), count // 2)
        largest = int(np.bincount(self.components).max())
        if largest > self.per_epoch:
            most = (count - 1) // (largest - 1)
            advice = f"take batches of at most {most} pairs over all processes, or " if largest <= count // 2 else ""
            problem = (
                f"no two rows of a group may meet, but one group has {largest} rows and an epoch {self.per_epoch} "
                f"batches; {advice}leave it out: rows of a group are no negatives of each other anyway"
            )
            raise ConfigError("unique_batches", problem=problem)
        self._dealt = -1, np.empty(0, dtype=np.int64)  # the epoch that is kept, and its rows

    def batch(self, number: int) -> NDArray[np.int64]:
        """Return batch `number`."""
        epoch, place = divmod(number, self.per_epoch)
        if self._dealt[0] != epoch:
            self._dealt = epoch, self._deal(epoch)
        return _table(0, self._dealt[1][place :: self.per_epoch], epoch)

    def _deal(self, epoch: int) -> NDArray[np.int64]:
        """Return all rows in the order of an epoch, those of a group side by side."""
        rows = permutation(len(self.components), self.seed, "order", epoch)
        of_group = permutation(int(self.components.max()) + 1, self.seed, "groups", epoch)
        return rows[np.argsort(of_group[self.components[rows]], kind="stable")]

    def contributed(self, number: int) -> NDArray[np.int64]:
        """Return how many rows stand in the batches before `number`, (1,)."""
        epochs, place = divmod(number, self.per_epoch)
        size, longer = divmod(len(self.components), self.per_epoch)
        return np.array([epochs * len(self.components) + place * size + min(place, longer)])


class Alternating:
    """Several sources, each batch from one of them.

    The batches of a source are spread evenly over the run, so that at any moment each has had its share, to within a
    batch; with more than four sources, to within half a batch more for each time that their number doubles.

    Args:
        orders: One of each source.
        weights: (sources,) shares of the batches, relative to each other, above 0.
        per_epoch: Batches of an epoch.
    """

    def __init__(self, orders: Sequence[Order], weights: Sequence[float], per_epoch: int) -> None:
        self.orders, self.per_epoch, self.weights = tuple(orders), per_epoch, _whole_numbers(weights)

    def batch(self, number: int) -> NDArray[np.int64]:
        """Return batch `number`, all of one source."""
        before, after = _shares(self.weights, number), _shares(self.weights, number + 1)
        source = next(one for one, share in enumerate(before) if after[one] > share)
        table = self.orders[source].batch(before[source]).copy()
        table[:, 0] = source
        return table

    def contributed(self, number: int) -> NDArray[np.int64]:
        """Return how many rows of each source stand in the batches before `number`, (sources,)."""
        batches = _shares(self.weights, number)
        return np.array([order.contributed(one)[0] for order, one in zip(self.orders, batches, strict=True)])


class Mixed:
    """Several sources, rows of all of them in each batch, each with its share to within a row, as `Alternating` has it.

    Each source is gone through in its own epochs.

    Args:
        counts: Rows of each source.
        weights: (sources,) shares of the rows, relative to each other, above 0.
        batch_size: Rows of a batch.
        per_epoch: Batches of an epoch.
        seed: Decides the orders.
        blocks: As `Shuffled` has it, one a source.
    """

    def __init__(
        self,
        counts: Sequence[int],
        weights: Sequence[float],
        batch_size: int,
        per_epoch: int,
        seed: int,
        blocks: Sequence[int | None] | None = None,
    ) -> None:
        self.batch_size, self.per_epoch, self.seed = batch_size, per_epoch, seed
        self.weights = _whole_numbers(weights)
        self.sources = [
            Stretches(count, source_seed(seed, source), block)
            for source, (count, block) in enumerate(zip(counts, blocks or [None] * len(counts), strict=True))
        ]

    def batch(self, number: int) -> NDArray[np.int64]:
        """Return batch `number`, (batch_size, 3), the sources in a random order."""
        starts, ends = self.contributed(number), self.contributed(number + 1)
        parts = []
        for source, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            stretches = self.sources[source]
            while start < end:
                epoch, place = divmod(start, stretches.count)
                taken = min(end - start, stretches.count - place)
                parts.append(_table(source, stretches.rows(epoch, place, place + taken), epoch))
                start += taken
        table = np.concatenate(parts)
        return table[permutation(len(table), self.seed, "mixed", number)]

    def contributed(self, number: int) -> NDArray[np.int64]:
        """Return how many rows of each source stand in the batches before `number`, (sources,)."""
        return np.array(_shares(self.weights, number * self.batch_size))


def source_seed(seed: int, source: int) -> int:
    """Return the seed of one source's orders: those of two sources of equal length differ."""
    return seed + 1_000_003 * source  # the first one's is the run's


def _whole_numbers(weights: Sequence[float]) -> tuple[int, ...]:
    """Return whole numbers in the same proportions: what is rounded from them is so exactly, however long the run."""
    exact = [Fraction(one) for one in weights]
    scale = math.lcm(*(one.denominator for one in exact))
    return tuple(int(one * scale) for one in exact)


def _shares(weights: Sequence[int], total: int) -> list[int]:
    """Return how `total` is shared out, as whole numbers with that sum; no share ever falls as `total` grows.

    Half of the weights shares with the other half, and each again within itself: of two shares that are rounded, both
    only grow, while of three one may fall. Each rounding adds 1/2 at most to the error.
    """
    if len(weights) == 1:
        return [total]
    half = len(weights) // 2
    ours, all_of_it = sum(weights[:half]), sum(weights)
    share = (2 * total * ours + all_of_it) // (2 * all_of_it)
    return [*_shares(weights[:half], share), *_shares(weights[half:], total - share)]


def components(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (N,) numbers, equal where rows are connected by shared labels of (N, G), directly or through others."""
    count, columns = groups.shape
    labels, numbers = np.unique(groups, return_inverse=True)
    size = count + len(labels)
    edges = (np.repeat(np.arange(count), columns), count + numbers.reshape(-1))
    graph = coo_matrix((np.ones(count * columns, dtype=np.int8), edges), shape=(size, size))
    found: NDArray[np.int64] = connected_components(graph, directed=False)[1][:count].astype(np.int64)
    return found


def _table(source: int, rows: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
    return np.stack([np.full(len(rows), source), rows, np.full(len(rows), epoch)], axis=1)
