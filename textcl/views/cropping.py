"""Crops: parts of a text stand for the whole of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textcl.corpus.tokens import SENTENCE_START, TokenRows, concatenate
from textcl.errors import ConfigError
from textcl.randomness import RowRandom


@dataclass(frozen=True)
class Crop:
    """Keep one random span of each row; two of them on one text are the pair of Contriever.

    Args:
        min_fraction: Shortest span, as a share of the row, above 0.
        max_fraction: Longest span, at most 1.

    References:
        Izacard et al. (2022), arXiv:2112.09118, section 3.2.
    """

    min_fraction: float = 0.05
    max_fraction: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.min_fraction <= 1:
            raise ConfigError("min_fraction", self.min_fraction, "a share in (0, 1]")
        if not self.min_fraction <= self.max_fraction <= 1:
            raise ConfigError("max_fraction", self.max_fraction, f"a share in [{self.min_fraction}, 1]")

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of at least one token where there was one."""
        fractions = self.min_fraction + rng.per_row(0) * (self.max_fraction - self.min_fraction)
        lengths = np.minimum(np.maximum(np.rint(fractions * rows.lengths).astype(np.int64), 1), rows.lengths)
        starts = (rng.per_row(1) * (rows.lengths - lengths + 1)).astype(np.int64)
        return rows.spans(rows.offsets[:-1] + starts, lengths)


@dataclass(frozen=True)
class InverseCloze:
    """One sentence of each row against the rest; a row of one sentence is cut into two halves instead.

    Args:
        keep_rate: Chance that the sentence also stays in the rest, in [0, 1].

    References:
        Lee, Chang and Toutanova (2019), arXiv:1906.00300, section 3.3, which keeps it for 10 % of the rows.
    """

    keep_rate: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.keep_rate <= 1:
            raise ConfigError("keep_rate", self.keep_rate, "a chance in [0, 1]")

    def __call__(self, rows: TokenRows, rng: RowRandom) -> tuple[TokenRows, TokenRows]:
        """Return (sentence, rest), neither empty where the row has two tokens; one token stands on both sides."""
        starts, ends = self._sentences(rows, rng.per_row(0))
        sentence = rows.spans(starts, ends - starts)
        whole = (rng.per_row(1) < self.keep_rate) | (ends - starts == rows.lengths)
        before = rows.spans(rows.offsets[:-1], np.where(whole, ends, starts) - rows.offsets[:-1])
        after = rows.spans(ends, rows.offsets[1:] - ends)
        return sentence, _join(before, after)

    @staticmethod
    def _sentences(rows: TokenRows, draws: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the drawn sentence of each row starts and ends, (B,) each, in the flat arrays."""
        starts = np.flatnonzero(rows.marks & SENTENCE_START)
        first = np.searchsorted(starts, rows.offsets[:-1])
        count = np.searchsorted(starts, rows.offsets[1:]) - first
        # A row that lost its marks, or has one sentence: its first or its second half is the sentence.
        middle = rows.offsets[:-1] + (rows.lengths + 1) // 2
        left = (draws < 0.5) | (rows.lengths < 2)
        half = np.where(left, rows.offsets[:-1], middle), np.where(left, middle, rows.offsets[1:])
        if not len(starts):
            return half
        chosen = first + (draws * count).astype(np.int64)
        behind = np.append(starts, rows.offsets[-1])[np.minimum(chosen + 1, len(starts))]
        several = count > 1
        return (
            np.where(several, starts[np.minimum(chosen, len(starts) - 1)], half[0]),
            np.where(several, np.minimum(behind, rows.offsets[1:]), half[1]),
        )


def _join(left: TokenRows, right: TokenRows) -> TokenRows:
    """Return each row of `left` followed by the same row of `right`."""
    both = concatenate([left, right])
    count = len(left)
    interleaved = np.arange(2 * count).reshape(2, count).T.ravel()
    halves = both.take(interleaved)
    return TokenRows(halves.ids, halves.offsets[::2], halves.marks)
