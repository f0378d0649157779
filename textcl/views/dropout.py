"""The text as it is: two passes through an encoder with dropout make the two views (SimCSE)."""

from __future__ import annotations

from dataclasses import dataclass

from textcl.corpus.tokens import TokenRows
from textcl.randomness import RowRandom


@dataclass(frozen=True)
class Dropout:
    """Leave the tokens alone; the encoder's dropout, set by `encoder.dropout`, is the whole difference.

    References:
        Gao, Yao and Chen (2021), arXiv:2104.08821, section 3.
    """

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:  # noqa: ARG002 (the protocol's signature)
        """Return the rows as they are."""
        return rows
