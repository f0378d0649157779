"""Where training pairs come from: token rows of both sides, hard negatives, and the views that they are drawn in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from textcl.corpus.tokens import TokenRows, concatenate
from textcl.errors import ConfigError, ShapeError
from textcl.methods.method import ABSENT, PairBatch
from textcl.randomness import RowRandom
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


@dataclass(frozen=True, eq=False)
class Lookup:
    """Embeddings of N texts, of which several may share one.

    Args:
        vectors: (U, E), in memory or memory-mapped.
        places: (N,) rows of `vectors`.
    """

    vectors: NDArray[np.float32]
    places: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return (n, E), the embeddings of the given texts."""
        return np.asarray(self.vectors[self.places[rows]], dtype=np.float32)


@dataclass(frozen=True)
class HardNegatives:
    """A table of texts, and which of them stand against each row.

    Args:
        side: The table's M texts, and the view that they are seen in.
        labels: (M, F) labels of the texts.
        places: (N, H) rows of the table; `ABSENT` where a row has none.
        guide: Embeddings of the M texts by a guide; None without one.
    """

    side: Side
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    guide: Lookup | None = None

    def __post_init__(self) -> None:
        if len(self.labels) > len(self.side.tokens):
            raise ShapeError("labels", self.labels.shape, f"({len(self.side.tokens)}, F)")


class Source(Protocol):
    """What batches are drawn from: N rows, and the seed of their views."""

    @property
    def seed(self) -> int:
        """Decides the views."""
        ...

    def __len__(self) -> int:
        """Return N."""
        ...

    def draw(self, rows: NDArray[np.int64], epoch: int, progress: float = 0.0) -> PairBatch:
        """Return the pairs of `rows` (B,) as they are seen in `epoch`, when the share `progress` of the run is done."""
        ...


@dataclass(frozen=True)
class PairSource:
    """N pairs from which views are drawn.

    Args:
        first: The anchors.
        second: The positives; for one text a row, the same tokens as the first side's.
        groups: (N, G) labels; rows that share one are never negatives of each other.
        max_tokens: Longest row after its view, with what stands around it.
        seed: Decides views.
        pair: Drawn on the first side's tokens before the sides' own views; None where the sides are the pair.
        hard_negatives: Not with `pair`; None without any.
        kinds: G words, as PairBatch has them.
        guide: Embeddings of the N anchors and of the N positives by a guide; None without one.
        first_row: Number of the first row in the data set, of which these may be a part.
    """

    first: Side
    second: Side
    groups: NDArray[np.int64]
    max_tokens: int
    seed: int
    pair: PairView | None = None
    hard_negatives: HardNegatives | None = None
    kinds: tuple[str, ...] | None = None
    guide: tuple[Lookup, Lookup] | None = None
    first_row: int = 0

    def __post_init__(self) -> None:
        for side in (self.first, self.second):
            count = len(side.tokens)
            # Behind the texts only stored views may stand.
            if count < len(self.groups) or (count > len(self.groups) and "stored" not in side.stages):
                raise ShapeError("groups", self.groups.shape, f"({count}, G)")
        if self.hard_negatives is None:
            return
        if self.pair is not None:
            raise ConfigError(
                "hard_negatives", problem="a pair view makes both sides of one text; it has none of these"
            )
        places = self.hard_negatives.places.shape
        if len(places) != 2 or places[0] != len(self.groups):
            raise ShapeError("places", places, f"({len(self.groups)}, H)")

    def __len__(self) -> int:
        return len(self.groups)

    def draw(self, rows: NDArray[np.int64], epoch: int, progress: float = 0.0) -> PairBatch:
        """Return the pairs of `rows` (B,), counted from 0 here, as they are seen in `epoch`."""
        sides = (self.first, self.second)
        views = self.draw_views(rows, epoch, progress)
        tokens = [
            view.wrapped(side.prefix, side.suffix, self.max_tokens) for view, side in zip(views, sides, strict=True)
        ]
        guide = [] if self.guide is None else [one.take(rows) for one in self.guide]
        labels = None
        if self.hard_negatives is not None:
            negatives, labels, guided = self._draw_negatives(self.hard_negatives, rows, epoch, progress)
            tokens.append(negatives)
            guide += guided
        return PairBatch(
            concatenate(tokens),
            rows + self.first_row,
            self.groups[rows],
            labels,
            self.kinds,
            np.concatenate(guide) if guide else None,
        )

    def _draw_negatives(
        self, negatives: HardNegatives, rows: NDArray[np.int64], epoch: int, progress: float
    ) -> tuple[TokenRows, NDArray[np.int64], list[NDArray[np.float32]]]:
        """Return the H * B token rows, their (B, H, F) labels and the guide's embeddings of them, column by column."""
        chosen = negatives.places[rows]  # (B, H)
        absent = chosen == ABSENT
        places = np.where(absent, 0, chosen).T.reshape(-1)
        # A text's view is its own, whichever row it stands against.
        rng = RowRandom((self.seed, epoch, self.first_row), places, progress).named("hard_negative")
        seen = negatives.side.draw(places, rng)
        if absent.any():  # a single token holds the place
            seen = seen.spans(
                seen.offsets[:-1], np.where(absent.T.reshape(-1), np.minimum(seen.lengths, 1), seen.lengths)
            )
        tokens = seen.wrapped(negatives.side.prefix, negatives.side.suffix, self.max_tokens)
        labels = np.where(absent[..., None], ABSENT, negatives.labels[np.where(absent, 0, chosen)])
        return tokens, labels, [] if negatives.guide is None else [negatives.guide.take(places)]

    def draw_views(self, rows: NDArray[np.int64], epoch: int, progress: float = 0.0) -> list[TokenRows]:
        """Return the views of `rows` (B,), anchors and positives, uncut and without the tokens around them."""
        rng = RowRandom((self.seed, epoch), rows + self.first_row, progress)
        if self.pair is not None:
            first, second = self.pair(self.first.tokens.take(rows), rng.named("pair"))
            return [self.first.seen(first, rng.named("first")), self.second.seen(second, rng.named("second"))]
        return [self.first.draw(rows, rng.named("first")), self.second.draw(rows, rng.named("second"))]
