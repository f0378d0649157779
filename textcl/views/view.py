"""What a view is, and how views are put together.

A view works on one kind of batch. `stored` views choose rows of a table of texts, `text` views rewrite strings,
`tokens` views rewrite token rows; a text goes through them in this order. `Chain` and `Choice` work on whichever kind
their parts do. Where the parts are of several kinds, `part` takes the view apart by kind: each part draws the same
choices, since all numbers are a function of names and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from textcl.corpus.tokens import TokenRows, concatenate
from textcl.errors import ConfigError
from textcl.randomness import RowRandom
from textcl.views.dropout import Dropout

Kind: TypeAlias = Literal["stored", "text", "tokens"]
KINDS: tuple[Kind, ...] = ("stored", "text", "tokens")
Batch = TypeVar("Batch", TokenRows, list[str], NDArray[np.int64])


class View(Protocol):
    """A rewriting of token rows, without special tokens.

    It returns as many rows as it got, none of them empty that was not, and changes nothing in place. All its randomness
    comes from `rng`, so that a row's view depends on (seed, epoch, row, view) alone, and on how far training is where
    its strength has a schedule; never on its batch.
    """

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return a view of each row."""
        ...


class TextView(Protocol):
    """A rewriting of strings; the same promises as View."""

    def __call__(self, texts: list[str], rng: RowRandom) -> list[str]:
        """Return a view of each text."""
        ...


class StoredView(Protocol):
    """A choice among rewritings that lie in a table; the same promises as View."""

    def __call__(self, places: NDArray[np.int64], rng: RowRandom) -> NDArray[np.int64]:
        """Return a row of the table for each row, given (B,) rows of the table."""
        ...


class PairView(Protocol):
    """Two views of each row where one draw decides both sides; the same promises as View."""

    def __call__(self, rows: TokenRows, rng: RowRandom) -> tuple[TokenRows, TokenRows]:
        """Return the first and the second view of each row."""
        ...


class FieldView(Protocol):
    """Chooses the two texts of a pair from a batch of records, before anything is tokenised."""

    def __call__(self, records: Mapping[str, Sequence[str]]) -> tuple[Sequence[str], Sequence[str]]:
        """Return the first and the second text of each record."""
        ...


AnyView: TypeAlias = Callable[[Any, RowRandom], Any]
"""A View, a TextView or a StoredView, or a composition of them."""


@dataclass(frozen=True)
class Chain:
    """One view after the other; each link draws its own numbers. Without links the rows stay as they are."""

    links: tuple[AnyView, ...] = ()

    def __call__(self, rows: Batch, rng: RowRandom) -> Batch:
        """Return the rows after all links."""
        for position, link in enumerate(self.links):
            rows = link(rows, rng.named(position))
        return rows


@dataclass(frozen=True)
class Choice:
    """One of several views for each row.

    Args:
        options: At least one view.
        weights: How often each is taken, relative to the others; None takes all equally often.
    """

    options: tuple[AnyView, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not self.options:
            raise ConfigError("of", problem="a choice needs at least one view")
        if self.weights is None:
            return
        if len(self.weights) != len(self.options):
            raise ConfigError("weights", list(self.weights), f"{len(self.options)} numbers, one a view")
        if not all(0 <= weight for weight in self.weights) or not 0 < sum(self.weights) < float("inf"):
            raise ConfigError("weights", list(self.weights), "numbers of at least 0, one of them above 0")

    def __call__(self, rows: Batch, rng: RowRandom) -> Batch:
        """Return each row through the view that was drawn for it."""
        weights = np.asarray(self.weights or [1.0] * len(self.options))
        # side="right" never lands on an option of weight 0.
        chosen = np.searchsorted(np.cumsum(weights / weights.sum()), rng.per_row(), side="right")
        chosen = np.minimum(chosen, np.flatnonzero(weights)[-1])  # a sum of shares may fall short of 1
        for number, option in enumerate(self.options):
            rows = through(option, rows, chosen == number, rng.named(number))
        return rows


@dataclass(frozen=True, eq=False)
class Where:
    """A view for some rows of the data set alone, the others stay as they are.

    Args:
        rows: (N,) booleans by row of the data set.
        view: What those rows go through.
    """

    rows: NDArray[np.bool_]
    view: AnyView

    def __call__(self, rows: Batch, rng: RowRandom) -> Batch:
        """Return the chosen rows through the view, the others as they are."""
        return through(self.view, rows, self.rows[rng.rows], rng)


def through(view: AnyView, rows: Batch, chosen: NDArray[np.bool_], rng: RowRandom) -> Batch:
    """Return the batch with the rows where `chosen` (B,) holds put through `view`."""
    places = np.flatnonzero(chosen)
    if len(places) == 0 or isinstance(view, Dropout):
        return rows
    if len(places) == len(chosen):
        return cast(Batch, view(rows, rng))
    if isinstance(rows, TokenRows):
        seen = view(rows.take(places), rng.take(places))
        order = np.arange(len(rows))
        order[places] = len(rows) + np.arange(len(places))
        return concatenate([rows, seen]).take(order)
    if isinstance(rows, list):
        texts = list(rows)
        for place, text in zip(places, view([rows[place] for place in places], rng.take(places)), strict=True):
            texts[place] = text
        return texts
    table_rows = rows.copy()
    table_rows[places] = view(rows[places], rng.take(places))
    return table_rows


def replaced(view: AnyView, leaf: Callable[[AnyView], AnyView]) -> AnyView:
    """Return a composition with each of the views that it is made of put through `leaf`."""
    if isinstance(view, Chain):
        return Chain(tuple(replaced(link, leaf) for link in view.links))
    if isinstance(view, Choice):
        return Choice(tuple(replaced(option, leaf) for option in view.options), view.weights)
    if isinstance(view, Where):
        return Where(view.rows, replaced(view.view, leaf))
    return leaf(view)


def part(view: AnyView, kind: Kind) -> AnyView:
    """Return the view with everything that is not of `kind` replaced by a view that changes nothing."""
    return replaced(view, lambda leaf: leaf if kind_of(leaf) == kind else Dropout())


def leaves(view: AnyView) -> list[AnyView]:
    """Return the views that a composition is made of, in order."""
    found: list[AnyView] = []

    def keep(leaf: AnyView) -> AnyView:
        found.append(leaf)
        return leaf

    replaced(view, keep)
    return found


def kind_of(view: AnyView) -> Kind | None:
    """Return what one view works on; None for `Dropout`, which works on anything."""
    return cast(Kind | None, getattr(view, "kind", "tokens"))


def kinds_of(view: AnyView) -> set[Kind]:
    """Return what the parts of a view work on."""
    return {kind for leaf in leaves(view) if (kind := kind_of(leaf)) is not None}
