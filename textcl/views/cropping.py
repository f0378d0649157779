"""Crops: parts of a text stand for the whole of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textcl.corpus.tokens import SENTENCE_START, TokenRows, concatenate
from textcl.errors import ConfigError
from textcl.randomness import RowRandom
from textcl.views.strength import Ramp, Strength, ends_of, moments_of, now, shown


@dataclass(frozen=True)
class Crop:
    """Keep one random span of each row; two of them on one text are the pair of Contriever.

    Args:
        min_fraction: Shortest span, as a share of the row, above 0.
        max_fraction: Longest span, at most 1.

    References:
        Izacard et al. (2022), arXiv:2112.09118, section 3.2.
    """

    min_fraction: Strength = 0.05
    max_fraction: Strength = 0.5

    def __post_init__(self) -> None:
        if not all(0 < value <= 1 for value in ends_of(self.min_fraction)):
            raise ConfigError("min_fraction", shown(self.min_fraction), "a share in (0, 1]")
        pairs = moments_of(self.min_fraction, self.max_fraction)
        if not all(shortest <= longest <= 1 for shortest, longest in pairs):
            expected = f"a share in [{shown(self.min_fraction)}, 1], at any moment of the training"
            if not isinstance(self.min_fraction, Ramp) and not isinstance(self.max_fraction, Ramp):
                expected = f"a share in [{self.min_fraction}, 1]"
            raise ConfigError("max_fraction", shown(self.max_fraction), expected)

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of at least one token where there was one."""
        shortest, longest = now(self.min_fraction, rng), now(self.max_fraction, rng)
        fractions = shortest + rng.per_row(0) * (longest - shortest)
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
        starts, ends = _one_sentence(rows, rng.per_row(0))
        sentence = rows.spans(starts, ends - starts)
        whole = (rng.per_row(1) < self.keep_rate) | (ends - starts == rows.lengths)
        before = rows.spans(rows.offsets[:-1], np.where(whole, ends, starts) - rows.offsets[:-1])
        after = rows.spans(ends, rows.offsets[1:] - ends)
        return sentence, _join(before, after)


@dataclass(frozen=True)
class Neighbours:
    """One sentence of each row against one that stands near it; a row of one sentence is cut into two halves instead.

    Args:
        distance: How far apart the two may stand, in sentences, at least 1; every distance that fits is as likely.

    References:
        Logeswaran and Lee (2018), arXiv:1803.02893, section 3; spans that lie near each other: Giorgi et al. (2021),
        arXiv:2006.03659.
    """

    distance: int = 1

    def __post_init__(self) -> None:
        if self.distance < 1:
            raise ConfigError("distance", self.distance, "a number of sentences, at least 1")

    def __call__(self, rows: TokenRows, rng: RowRandom) -> tuple[TokenRows, TokenRows]:
        """Return (one, other) in either order, neither empty where the row has two tokens."""
        starts, first, count = _sentences(rows)
        apart = 1 + (rng.per_row(0) * np.minimum(self.distance, count - 1)).astype(np.int64)
        earlier = first + (rng.per_row(1) * (count - apart)).astype(np.int64)
        swapped = rng.per_row(2) < 0.5
        several = count > 1
        one, other = np.where(swapped, earlier + apart, earlier), np.where(swapped, earlier, earlier + apart)
        halves = _halves(rows, rng.per_row(0))
        sides = []
        for sentence, half in ((one, halves), (other, _other_halves(rows, halves))):
            begin, end = _bounds(rows, starts, sentence)
            begin, end = np.where(several, begin, half[0]), np.where(several, end, half[1])
            sides.append(rows.spans(begin, end - begin))
        return sides[0], sides[1]


Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Where something starts and ends in the flat arrays, (B,) each."""


def _sentences(rows: TokenRows) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return where all sentences start, (n,), and for each row the number of its first one and how many it has."""
    starts = np.flatnonzero(rows.marks & SENTENCE_START)
    first = np.searchsorted(starts, rows.offsets[:-1])
    return starts, first, np.searchsorted(starts, rows.offsets[1:]) - first


def _bounds(rows: TokenRows, starts: NDArray[np.int64], sentence: NDArray[np.int64]) -> Bounds:
    """Return the bounds of one sentence a row, (B,) numbers; whatever for a row without sentences."""
    fence = np.append(starts, [rows.offsets[-1]] * 2)
    sentence = np.minimum(sentence, len(starts))
    return fence[sentence], np.minimum(fence[sentence + 1], rows.offsets[1:])


def _halves(rows: TokenRows, draws: NDArray[np.float64]) -> Bounds:
    """Return the first or the second half of each row; the whole of a row of one token."""
    middle = rows.offsets[:-1] + (rows.lengths + 1) // 2
    left = (draws < 0.5) | (rows.lengths < 2)
    return np.where(left, rows.offsets[:-1], middle), np.where(left, middle, rows.offsets[1:])


def _other_halves(rows: TokenRows, halves: Bounds) -> Bounds:
    """Return what `halves` left of each row; a row of one token again."""
    starts, ends = halves
    left = (starts == rows.offsets[:-1]) & (rows.lengths > 1)
    return np.where(left, ends, rows.offsets[:-1]), np.where(left | (rows.lengths < 2), rows.offsets[1:], starts)


def _one_sentence(rows: TokenRows, draws: NDArray[np.float64]) -> Bounds:
    """Return the bounds of a sentence of each row; one that lost its marks, or has one sentence, gives a half."""
    starts, first, count = _sentences(rows)
    half = _halves(rows, draws)
    chosen = _bounds(rows, starts, first + (draws * count).astype(np.int64))
    return np.where(count > 1, chosen[0], half[0]), np.where(count > 1, chosen[1], half[1])


def _join(left: TokenRows, right: TokenRows) -> TokenRows:
    """Return each row of `left` followed by the same row of `right`."""
    both = concatenate([left, right])
    count = len(left)
    interleaved = np.arange(2 * count).reshape(2, count).T.ravel()
    halves = both.take(interleaved)
    return TokenRows(halves.ids, halves.offsets[::2], halves.marks)
