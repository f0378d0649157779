"""Which rows stand in which batch, and the views they are drawn in: a pure function of (seed, step, rank)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from textcl.corpus.tokens import TokenRows, concatenate
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.methods.method import PairBatch
from textcl.randomness import RowRandom, permutation
from textcl.views.view import KINDS, AnyView, Kind, PairView, kinds_of, part


@dataclass(frozen=True)
class Side:
    """One side of every pair: a table of M token rows, the tokens around each, and the view they are seen in.

    Args:
        tokens: The first N rows are the side's texts; stored views of them may follow.
        prefix: Ids before each row.
        suffix: Ids behind each row.
        view: What the side goes through.
        texts: (M,) the texts of the rows; needed for views of strings, otherwise empty.
        tokenise: Turns what such a view made into token rows.
    """

    tokens: TokenRows
    prefix: Sequence[int]
    suffix: Sequence[int]
    view: AnyView
    texts: Sequence[str] = ()
    tokenise: Callable[[list[str]], TokenRows] | None = None

    @cached_property
    def stages(self) -> dict[Kind, AnyView]:
        """The view taken apart, with the kinds that it has."""
        kinds = kinds_of(self.view)
        return {kind: part(self.view, kind) for kind in KINDS if kind in kinds}

    def draw(self, rows: NDArray[np.int64], rng: RowRandom) -> TokenRows:
        """Return the given texts (B,) in their view, without the tokens around them."""
        places = rows
        if "stored" in self.stages:
            places = self.stages["stored"](rows, rng)
        tokens = self.tokens.take(places)
        if "text" in self.stages:
            tokens = self._rewritten(tokens, [self.texts[place] for place in places.tolist()], rng)
        return self.seen(tokens, rng)

    def seen(self, tokens: TokenRows, rng: RowRandom) -> TokenRows:
        """Return token rows in what the view does to tokens."""
        return self.stages["tokens"](tokens, rng) if "tokens" in self.stages else tokens

    def _rewritten(self, tokens: TokenRows, texts: list[str], rng: RowRandom) -> TokenRows:
        """Return the rows with those tokenised anew whose text a view has changed."""
        assert self.tokenise is not None
        seen = self.stages["text"](texts, rng)
        changed = [place for place, (old, new) in enumerate(zip(texts, seen, strict=True)) if old != new]
        if not changed:
            return tokens
        order = np.arange(len(tokens))
        order[changed] = len(tokens) + np.arange(len(changed))
        return concatenate([tokens, self.tokenise([seen[place] for place in changed])]).take(order)


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
        hard_negatives: H further sides of N texts each, not with `pair`.
        negative_groups: (N, H) labels of the hard negatives' texts; needed with them.
    """

    first: Side
    second: Side
    groups: NDArray[np.int64]
    max_tokens: int
    seed: int
    pair: PairView | None = None
    hard_negatives: tuple[Side, ...] = ()
    negative_groups: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for side in (self.first, self.second, *self.hard_negatives):
            count = len(side.tokens)
            # Behind the texts only stored views may stand.
            if count < len(self.groups) or (count > len(self.groups) and "stored" not in side.stages):
                raise ShapeError("groups", self.groups.shape, f"({count}, G)")
        if self.pair is not None and self.hard_negatives:
            raise ConfigError(
                "hard_negatives", problem="a pair view makes both sides of one text; it has none of these"
            )
        labelled = None if self.negative_groups is None else self.negative_groups.shape
        if labelled != ((len(self.groups), len(self.hard_negatives)) if self.hard_negatives else None):
            raise ShapeError("negative_groups", labelled or (), f"({len(self.groups)}, {len(self.hard_negatives)})")

    def __len__(self) -> int:
        return len(self.groups)

    def draw(self, rows: NDArray[np.int64], epoch: int, progress: float = 0.0) -> PairBatch:
        """Return the pairs of `rows` (B,) as they are seen in `epoch`, when the share `progress` of the run is done."""
        sides = (self.first, self.second, *self.hard_negatives)
        tokens = [
            view.wrapped(side.prefix, side.suffix, self.max_tokens)
            for view, side in zip(self.draw_views(rows, epoch, progress), sides, strict=True)
        ]
        labels = None if self.negative_groups is None else self.negative_groups[rows]
        return PairBatch(concatenate(tokens), rows, self.groups[rows], labels)

    def draw_views(self, rows: NDArray[np.int64], epoch: int, progress: float = 0.0) -> list[TokenRows]:
        """Return the views of `rows` (B,), one a side, uncut and without the tokens around them."""
        rng = RowRandom((self.seed, epoch), rows, progress)
        if self.pair is not None:
            first, second = self.pair(self.first.tokens.take(rows), rng.named("pair"))
            return [self.first.seen(first, rng.named("first")), self.second.seen(second, rng.named("second"))]
        views = [self.first.draw(rows, rng.named("first")), self.second.draw(rows, rng.named("second"))]
        for column, side in enumerate(self.hard_negatives):
            views.append(side.draw(rows, rng.named(f"hard_negative_{column}")))
        return views


class Batches(Dataset[PairBatch]):
    """Batch number m of this process, for every m from 0 on; epoch after epoch, each row at most once an epoch.

    What does not fill a batch at an epoch's end is left to the next epoch's other order. With W processes a step takes
    W * batch_size rows, of which each process gets its own part, in the order in which one process would see them.

    Args:
        source: Where pairs come from.
        batch_size: Pairs of one process, at least 2.
        rank: Number of this process, from 0.
        processes: W.
        length: Batches of the whole run, by which views with a schedule know how far it is; None: at its start.

    Raises:
        ConfigError: If the batch is smaller than two pairs.
        DataError: If there are fewer than two pairs a process.
    """

    def __init__(
        self,
        source: PairSource,
        batch_size: int,
        rank: int = 0,
        processes: int = 1,
        length: int | None = None,
    ) -> None:
        if batch_size < 2:
            raise ConfigError("batch_size", batch_size, "at least 2: the other pairs are the negatives")
        if len(source) < 2 * processes:
            raise DataError(f"{len(source)} training pairs are too few: contrastive training needs 2 a process or more")
        self.source, self.rank, self.processes, self.length = source, rank, processes, length
        self.batch_size = min(batch_size, len(source) // processes)
        self.per_epoch = len(source) // (self.batch_size * processes)

    def __getitem__(self, number: int) -> PairBatch:
        """Return batch `number`."""
        epoch, place = divmod(number, self.per_epoch)
        order = _order(len(self.source), self.source.seed, epoch)
        start = (place * self.processes + self.rank) * self.batch_size
        # The last batch of the run is the first with all of the run done.
        progress = 0.0 if self.length is None else min(number / max(self.length - 1, 1), 1.0)
        return self.source.draw(order[start : start + self.batch_size], epoch, progress)


@lru_cache(maxsize=2)
def _order(rows: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return permutation(rows, seed, "order", epoch)
