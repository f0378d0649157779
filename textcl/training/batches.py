"""Batches of pairs in their views: a pure function of (seed, batch number, process)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from textcl.corpus.tokens import TokenRows, concatenate
from textcl.errors import ConfigError, DataError
from textcl.methods.method import ABSENT, PairBatch
from textcl.training.order import Order, Shuffled
from textcl.training.sources import Source


class Sources(Protocol):
    """Sources by number."""

    def __getitem__(self, number: int, /) -> Source:
        """Return source `number`."""
        ...


def draw_from(sources: Sources, batch: NDArray[np.int64], progress: float = 0.0) -> PairBatch:
    """Return the pairs of a batch whose rows may be of several sources and epochs.

    Args:
        sources: What is drawn from; rows and labels are numbered by source.
        batch: (B, 3): source, row and epoch of each pair.
        progress: Share of the run that is done.
    """
    parts, places = [], []
    for source, epoch in np.unique(batch[:, [0, 2]], axis=0).tolist():
        here = np.flatnonzero((batch[:, 0] == source) & (batch[:, 2] == epoch))
        parts.append(sources[source].draw(batch[here, 1], epoch, progress))
        places.append(here)
    return parts[0] if len(parts) == 1 else _side_by_side(parts, np.argsort(np.concatenate(places)))


def _side_by_side(parts: Sequence[PairBatch], order: NDArray[np.int64]) -> PairBatch:
    """Return one batch of the pairs of several; where a part has fewer hard negatives than another, none is there."""
    sides = max(part.sides for part in parts)
    columns = []
    for side in range(sides):
        column = [part.tokens_of(side, side + 1) if side < part.sides else _held(part) for part in parts]
        columns.append(concatenate(column).take(order))
    return PairBatch(
        concatenate(columns),
        np.concatenate([part.rows for part in parts])[order],
        np.concatenate([part.groups for part in parts])[order],
        _labels(parts, sides, order),
        parts[0].kinds,
        _guides(parts, sides, order),
    )


def _labels(parts: Sequence[PairBatch], sides: int, order: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the labels of the hard negatives."""
    if sides == 2:
        return None
    kinds = next(one.negative_groups.shape[2] for one in parts if one.negative_groups is not None)
    columns = []
    for one in parts:
        labels = np.full((len(one), sides - 2, kinds), ABSENT)
        if one.negative_groups is not None:
            labels[:, : one.sides - 2] = one.negative_groups
        columns.append(labels)
    return np.concatenate(columns)[order]


def _held(part: PairBatch) -> TokenRows:
    """Return rows of a single token, which hold the place of what a part does not have."""
    anchors = part.tokens_of(0, 1)
    return anchors.spans(anchors.offsets[:-1], np.minimum(anchors.lengths, 1))


def _guides(parts: Sequence[PairBatch], sides: int, order: NDArray[np.int64]) -> NDArray[np.float32] | None:
    found = [part.guide for part in parts]
    if any(one is None for one in found):
        return None
    columns = []
    for side in range(sides):
        cut = [
            one[side * len(part) : (side + 1) * len(part)] if side < part.sides else np.zeros_like(one[: len(part)])
            for part, one in zip(parts, found, strict=True)
            if one is not None
        ]
        columns.append(np.concatenate(cut)[order])
    return np.concatenate(columns)


class Batches(Dataset[PairBatch]):
    """Batch number m of this process, for every m from 0 on.

    With W processes a step takes the rows of W batches, of which each process gets its own part, in the order in which
    one process would see them.

    Args:
        sources: Where pairs come from.
        batch_size: Pairs of one process, at least 2.
        rank: Number of this process, from 0.
        processes: W.
        length: Batches of the whole run, by which views with a schedule know how far it is; None: at its start.
        names: What the journal calls the sources, where there are several.
        order: Makes the order of rows from the pairs of a step; None shuffles the only source.

    Raises:
        ConfigError: If the batch is smaller than two pairs.
        DataError: If there are fewer than two pairs a process.
    """

    def __init__(
        self,
        sources: Source | Sequence[Source],
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
        length: int | None = None,
        order: Callable[[int], Order] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        if batch_size < 2:
            raise ConfigError("batch_size", batch_size, "at least 2: the other pairs are the negatives")
        self.sources: tuple[Source, ...] = tuple(sources) if isinstance(sources, Sequence) else (sources,)
        self.pairs = sum(map(len, self.sources))
        if self.pairs < 2 * processes:
            raise DataError(f"{self.pairs} training pairs are too few: contrastive training needs 2 a process or more")
        self.rank, self.processes, self.length, self.names = rank, processes, length, tuple(names)
        self.batch_size = min(batch_size, self.pairs // processes)
        step = self.batch_size * processes
        self.order = Shuffled(self.pairs, step, self.sources[0].seed) if order is None else order(step)
        self.per_epoch = self.order.per_epoch

    def __getitem__(self, number: int) -> PairBatch:
        """Return batch `number`."""
        batch = self.order.batch(number)
        bounds = len(batch) * np.arange(self.processes + 1) // self.processes
        # The last batch of the run is the first with all of the run done.
        progress = 0.0 if self.length is None else min(number / max(self.length - 1, 1), 1.0)
        drawn = draw_from(self.sources, batch[bounds[self.rank] : bounds[self.rank + 1]], progress)
        counts = np.diff(bounds)
        return drawn if (counts == counts[0]).all() else replace(drawn, counts=tuple(counts.tolist()))

    def contributed(self, number: int) -> dict[str, float]:
        """Return how many rows each source has given to the batches before `number`, by their names in the journal."""
        rows = self.order.contributed(number).tolist()
        return {f"rows/{name}": float(count) for name, count in zip(self.names, rows, strict=False)}


def load(batches: Batches, step: int, end: int, per_step: int, workers: int) -> Iterator[list[PairBatch]]:
    """Yield the batches of optimizer steps `step` to `end` - 1, `per_step` each, drawn by so many worker processes."""
    loader: DataLoader[PairBatch] = DataLoader(
        batches,
        sampler=range(step * per_step, end * per_step),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=_start_worker,
    )
    pending: list[PairBatch] = []
    for batch in loader:
        pending.append(batch)
        if len(pending) == per_step:
            yield pending
            pending = []


def _start_worker(number: int) -> None:  # noqa: ARG001 (torch's signature)
    """Keep tokenizers to the worker's own thread: threads of the process that it was forked from are not in it."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
