"""What a view is, and how views follow one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from textcl.corpus.tokens import TokenRows
from textcl.randomness import RowRandom


class View(Protocol):
    """A rewriting of token rows, without special tokens.

    It returns as many rows as it got, none of them empty that was not, and changes nothing in place. All its randomness
    comes from `rng`, so that a row's view depends on (seed, epoch, row, view) alone and not on its batch.
    """

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return a view of each row."""
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


@dataclass(frozen=True)
class Chain:
    """One view after the other; each link draws its own numbers. Without links the rows stay as they are."""

    links: tuple[View, ...] = ()

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return the rows after all links."""
        for position, link in enumerate(self.links):
            rows = link(rows, rng.named(position))
        return rows
