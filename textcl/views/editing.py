"""Views that remove, move or repeat tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textcl.corpus.tokens import SENTENCE_START, TokenRows, offsets_of
from textcl.randomness import RowRandom
from textcl.views.strength import Strength, check_at_least, check_chance, now
from textcl.views.units import rank_in_rows, row_numbers, unit_draws, unit_starts


@dataclass(frozen=True)
class Delete:
    """Remove each token with chance `rate`; at least one token or word of a row stays.

    Args:
        rate: Chance of each token or word, in [0, 1).
        whole_words: Remove words with all their tokens.

    References:
        Iyyer et al. (2015), Deep unordered composition rivals syntactic methods, section 3.2; as views of a sentence:
        Wu et al. (2020), arXiv:2012.15466.
    """

    rate: Strength = 0.1
    whole_words: bool = False

    def __post_init__(self) -> None:
        check_chance("rate", self.rate)

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of the tokens that stay."""
        draws = unit_draws(rows, rng, whole_words=self.whole_words)
        kept = draws >= now(self.rate, rng)
        filled = rows.lengths > 0
        if filled.any():  # the token with the highest number of its row always stays
            highest = np.zeros(len(rows))
            highest[filled] = np.maximum.reduceat(draws, rows.offsets[:-1][filled])
            kept |= draws == np.repeat(highest, rows.lengths)
        return rows.keep(kept)


@dataclass(frozen=True)
class Shuffle:
    """Move tokens about, none of them farther than `distance` places.

    Args:
        distance: Farthest move, in tokens or words, a fraction rounded up; 0 moves none.
        whole_words: Move words with all their tokens.

    References:
        Lample et al. (2018), arXiv:1711.00043, section 2.3.
    """

    distance: Strength = 3.0
    whole_words: bool = False

    def __post_init__(self) -> None:
        check_at_least("distance", self.distance, 0)

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of the same tokens in another order."""
        starts = unit_starts(rows, whole_words=self.whole_words)
        row_of = row_numbers(rows)[starts]
        first = np.searchsorted(row_of, np.arange(len(rows)))[row_of]
        # Place plus noise below distance + 1: two units change places only if they are nearer than that.
        noise = rng.per_token(rows.offsets)[starts] * (now(self.distance, rng) + 1)
        # Places are counted in the row, since a sum with a place in the batch would be rounded by the batch.
        ranks = rank_in_rows(np.arange(len(starts)) - first + noise, row_of, len(rows))
        order = np.empty(len(starts), dtype=np.int64)
        order[first + ranks] = np.arange(len(starts))
        lengths = np.diff(np.append(starts, len(rows.ids)))[order]
        moved = rows.spans(starts[order], lengths)
        return TokenRows(moved.ids, rows.offsets, moved.marks)


@dataclass(frozen=True)
class Repeat:
    """Say some tokens twice, so that the length tells nothing of the meaning.

    How many is drawn evenly from 0 to max(2, max_fraction * length), as far as the row has so many.

    Args:
        max_fraction: Largest share of a row's tokens or words, in [0, 1).
        whole_words: Repeat words with all their tokens.

    References:
        Wu et al. (2022), arXiv:2109.04380, section 3.1, where it is called the duplication rate (0.32).
    """

    max_fraction: Strength = 0.32
    whole_words: bool = False

    def __post_init__(self) -> None:
        check_chance("max_fraction", self.max_fraction)

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows that are longer by what was repeated."""
        starts = unit_starts(rows, whole_words=self.whole_words)
        row_of = row_numbers(rows)[starts]
        units = np.bincount(row_of, minlength=len(rows))
        fraction = now(self.max_fraction, rng)
        most = np.minimum(np.maximum(2, (fraction * units).astype(np.int64)), units)
        counts = (rng.per_row() * (most + 1)).astype(np.int64) if fraction else np.zeros_like(units)
        twice = rank_in_rows(rng.per_token(rows.offsets)[starts], row_of, len(rows)) < counts[row_of]
        times = np.where(twice, 2, 1)
        copies = np.repeat(np.arange(len(starts)), times)
        lengths = np.diff(np.append(starts, len(rows.ids)))
        said = rows.spans(starts[copies], lengths[copies])
        # The second time a word begins no sentence.
        again = np.repeat(np.diff(copies, prepend=-1) == 0, lengths[copies])
        marks = np.where(again, said.marks & ~SENTENCE_START, said.marks)
        row_lengths = np.bincount(row_of, weights=times * lengths, minlength=len(rows)).astype(np.int64)
        return TokenRows(said.ids, offsets_of(row_lengths), marks)
