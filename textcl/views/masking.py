"""Token masking: some tokens are hidden behind the tokenizer's mask token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textcl.corpus.tokens import TokenRows
from textcl.errors import ConfigError
from textcl.randomness import RowRandom


@dataclass(frozen=True)
class Mask:
    """Replace each token by the mask token with chance `rate`.

    Args:
        mask_id: The tokenizer's mask token.
        rate: Chance of each token, in [0, 1).

    References:
        Devlin et al. (2019), arXiv:1810.04805, section 3.1, without its 80/10/10 form.
    """

    mask_id: int
    rate: float = 0.15

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ConfigError("rate", self.rate, "a chance in [0, 1)")

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of the same lengths with some ids replaced."""
        hidden = rng.per_token(rows.offsets) < self.rate
        return TokenRows(np.where(hidden, np.int32(self.mask_id), rows.ids), rows.offsets, rows.marks)
