"""The text as it is: two passes through an encoder with dropout make the two views (SimCSE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from textcl.randomness import RowRandom


@dataclass(frozen=True)
class Dropout:
    """Leave everything alone; the encoder's dropout, set by `encoder.dropout`, is the whole difference.

    References:
        Gao, Yao and Chen (2021), arXiv:2104.08821, section 3.
    """

    kind: ClassVar[None] = None

    def __call__(self, rows: Any, rng: RowRandom) -> Any:  # noqa: ANN401, ARG002 (any batch; the protocol's signature)
        """Return the rows as they are."""
        return rows
