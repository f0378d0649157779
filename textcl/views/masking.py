"""Views that hide tokens and keep the rest in its place: masking, span masking, replacement, cutoff."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from textcl.corpus.tokens import TokenRows, offsets_of
from textcl.errors import ConfigError
from textcl.randomness import RowRandom
from textcl.views.strength import Strength, check_at_least, check_chance, now
from textcl.views.units import rank_in_rows, row_numbers, unit_draws

_LONGEST_SPAN = 4096  # each row is drawn for with so many places before it
NO_TOKENS: NDArray[np.int32] = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class Mask:
    """Replace each token by the mask token with chance `rate`.

    Args:
        mask_id: The tokenizer's mask token.
        rate: Chance of each token or word, in [0, 1).
        random_fraction: Share of the chosen tokens that become random ones instead; with `kept_fraction` at most 1.
            BERT's form is 0.1 and 0.1.
        kept_fraction: Share of the chosen tokens that stay as they are.
        whole_words: Choose words with all their tokens, each word with one draw.
        vocabulary: (V,) ids from which random tokens come; needed for `random_fraction`.

    References:
        Devlin et al. (2019), arXiv:1810.04805, section 3.1 and appendix A.1; whole words as in its later release.
    """

    mask_id: int
    rate: Strength = 0.15
    random_fraction: float = 0.0
    kept_fraction: float = 0.0
    whole_words: bool = False
    vocabulary: NDArray[np.int32] = field(default_factory=lambda: NO_TOKENS, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_chance("rate", self.rate)
        if not 0 <= self.random_fraction <= 1:
            raise ConfigError("random_fraction", self.random_fraction, "a share in [0, 1]")
        # Their sum is compared, since 1 - 0.9 is a little less than 0.1.
        if not (0 <= self.kept_fraction and self.random_fraction + self.kept_fraction <= 1):
            raise ConfigError("kept_fraction", self.kept_fraction, f"a share in [0, {1 - self.random_fraction:g}]")
        if self.random_fraction and not len(self.vocabulary):
            raise ConfigError("vocabulary", problem="random_fraction needs the ids from which random tokens come")

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of the same lengths with some ids replaced."""
        chosen = unit_draws(rows, rng, whole_words=self.whole_words) < now(self.rate, rng)
        ids = np.where(chosen, np.int32(self.mask_id), rows.ids)
        if self.random_fraction or self.kept_fraction:
            # Which of the three a chosen token becomes is drawn token by token, as in BERT.
            kind = rng.per_token(rows.offsets, 1)
            kept = chosen & (kind >= 1 - self.kept_fraction)
            ids[kept] = rows.ids[kept]
            random = chosen & (kind < self.random_fraction)
            # What is left of a number below the fraction is even on [0, 1) again.
            ids[random] = _ids_at(kind[random] / (self.random_fraction or 1.0), self.vocabulary)
        return TokenRows(ids, rows.offsets, rows.marks)


@dataclass(frozen=True)
class Replace:
    """Replace each token by a random one with chance `rate`.

    Args:
        vocabulary: (V,) ids from which tokens come, special ones left out.
        rate: Chance of each token or word, in [0, 1).
        whole_words: Replace all tokens of a word or none.
    """

    vocabulary: NDArray[np.int32] = field(compare=False, repr=False)
    rate: Strength = 0.1
    whole_words: bool = False

    def __post_init__(self) -> None:
        check_chance("rate", self.rate)
        if not len(self.vocabulary):
            raise ConfigError("vocabulary", problem="needs at least one id")

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of the same lengths with some ids replaced."""
        chosen = unit_draws(rows, rng, whole_words=self.whole_words) < now(self.rate, rng)
        ids = np.where(chosen, _ids_at(rng.per_token(rows.offsets, 1), self.vocabulary), rows.ids)
        return TokenRows(ids, rows.offsets, rows.marks)


@dataclass(frozen=True)
class SpanMask:
    """Hide runs of tokens behind mask tokens, one for each.

    Spans begin at random tokens and have geometric lengths, cut at `max_span` and at the row's end; where two meet they
    are one. Spans that began before the row reach into it, so that every token is hidden with the same chance.

    Args:
        mask_id: The tokenizer's mask token.
        rate: Share of the tokens that are hidden, in [0, 1).
        mean_span: Mean length in tokens before it is cut, at least 1.
        max_span: Longest span in tokens.

    References:
        Joshi et al. (2020), arXiv:1907.10529, section 3.1, which has 0.15, 5 (geometric with p = 0.2) and 10.
    """

    mask_id: int
    rate: Strength = 0.15
    mean_span: float = 5.0
    max_span: int = 10

    def __post_init__(self) -> None:
        check_chance("rate", self.rate)
        check_at_least("mean_span", self.mean_span, 1)
        if not 1 <= self.max_span <= _LONGEST_SPAN:
            raise ConfigError("max_span", self.max_span, f"a number of tokens from 1 to {_LONGEST_SPAN}")

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of the same lengths with some ids replaced."""
        before = self.max_span - 1
        wide = offsets_of(rows.lengths + before)  # each row with the places before it where spans may begin
        begins = rng.per_token(wide) < _start_rate(now(self.rate, rng), self.mean_span, self.max_span)
        places = np.flatnonzero(begins)
        lengths = _span_lengths(rng.per_token(wide, 1)[places], self.mean_span, self.max_span)
        # A span cannot reach the next row: the places before that are more than a span is longer than one token.
        ends = np.minimum(places + lengths, wide[-1])
        change = np.zeros(wide[-1] + 1, dtype=np.int64)
        change[places] += 1  # places are different, ends may not be
        np.subtract.at(change, ends, 1)
        inside = np.arange(len(rows.ids)) + np.repeat(wide[:-1] + before - rows.offsets[:-1], rows.lengths)
        hidden = np.cumsum(change)[inside] > 0
        return TokenRows(np.where(hidden, np.int32(self.mask_id), rows.ids), rows.offsets, rows.marks)


@dataclass(frozen=True)
class Cutoff:
    """Blank out a fixed share of each row's tokens, chosen at random; at least one token stays.

    The paper puts zeros in the place of their embeddings. On ids, the padding token stands for that: Hugging Face
    starts its embedding at zero and never trains it. Unlike padding, a blank takes part in attention and pooling.

    Args:
        pad_id: The tokenizer's padding token.
        rate: Share of each row's tokens, in [0, 1); rounded to whole tokens.

    References:
        Shen et al. (2020), arXiv:2009.13818, section 2.2; as views of a sentence: Yan et al. (2021), arXiv:2105.11741.
    """

    pad_id: int
    rate: Strength = 0.15

    def __post_init__(self) -> None:
        check_chance("rate", self.rate)

    def __call__(self, rows: TokenRows, rng: RowRandom) -> TokenRows:
        """Return rows of the same lengths with some ids replaced."""
        counts = np.rint(now(self.rate, rng) * rows.lengths).astype(np.int64)
        counts = np.minimum(counts, np.maximum(rows.lengths - 1, 0))
        row_of = row_numbers(rows)
        blank = rank_in_rows(rng.per_token(rows.offsets), row_of, len(rows)) < counts[row_of]
        return TokenRows(np.where(blank, np.int32(self.pad_id), rows.ids), rows.offsets, rows.marks)


def _ids_at(draws: NDArray[np.float64], vocabulary: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return a random id for each number in [0, 1), (n,)."""
    return vocabulary[np.minimum((draws * len(vocabulary)).astype(np.int64), len(vocabulary) - 1)]


def _span_lengths(draws: NDArray[np.float64], mean_span: float, max_span: int) -> NDArray[np.int64]:
    """Return geometric lengths from 1 to `max_span`, (n,), of numbers in [0, 1)."""
    if mean_span == 1:
        return np.ones(len(draws), dtype=np.int64)
    lengths: NDArray[np.float64] = np.floor(np.log1p(-draws) / np.log1p(-1 / mean_span)) + 1
    return np.minimum(lengths, float(max_span)).astype(np.int64)


@lru_cache(maxsize=64)
def _start_rate(rate: float, mean_span: float, max_span: int) -> float:
    """Return the chance of each token to begin a span so that the share `rate` of the tokens is inside of one.

    A token is outside if none of the `max_span` places up to it begins a span that reaches it. A span is longer than j
    tokens with chance (1 - 1 / mean_span) ** j.
    """
    reach = (1 - 1 / mean_span) ** np.arange(max_span) if mean_span > 1 else np.eye(1, max_span)[0]
    low, high = 0.0, 1.0
    for _halving in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - np.prod(1 - middle * reach) < rate else (low, middle)
    return (low + high) / 2
