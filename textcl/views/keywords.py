"""Keyword queries: the salient words of a document, as somebody who searches for it would type them."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

from textcl.errors import ConfigError
from textcl.progress import Progress, quiet
from textcl.randomness import RowRandom
from textcl.views.view import Kind


@dataclass(frozen=True)
class Keywords:
    """A few words of each text, drawn without replacement by their weight, in the text's order and in small letters.

    A word's weight is (1 + ln tf) * ln((N + 1) / df) to the power `sharpness`, with its count in the text and the share
    of the corpus's texts that hold it. A text without words stays as it is.

    Args:
        min_words: Fewest words, at least 1; a text with fewer gives all it has.
        max_words: Most words; every number between the two is as likely.
        sharpness: 0 draws all words evenly; the higher, the surer the rarest words are taken.
        texts: N, the texts that `fit` has seen.
        counts: In how many of them each word stands; a word that is not there counts as rare.

    References:
        Weights: Salton and Buckley (1988), Term-weighting approaches in automatic text retrieval. Drawing: Efraimidis
        and Spirakis (2006), Weighted random sampling with a reservoir.
    """

    kind: ClassVar[Kind] = "text"
    min_words: int = 2
    max_words: int = 6
    sharpness: float = 4.0
    texts: int = field(default=0, compare=False)
    counts: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.min_words < 1:
            raise ConfigError("min_words", self.min_words, "a number of words, at least 1")
        if self.max_words < self.min_words:
            raise ConfigError("max_words", self.max_words, f"a number of words, at least {self.min_words}")
        if not 0 <= self.sharpness < math.inf:
            raise ConfigError("sharpness", self.sharpness, "a number of at least 0")

    def fit(self, corpus: Iterable[str], progress: Progress = quiet, total: int | None = None) -> Keywords:
        """Return the view with the words of `corpus` counted."""
        counts: Counter[str] = Counter()
        texts = 0
        with progress("count words", total) as advance:
            for text in corpus:
                counts.update(set(_words(text)))
                texts += 1
                advance(1)
        return Keywords(self.min_words, self.max_words, self.sharpness, texts, dict(counts))

    def __call__(self, texts: list[str], rng: RowRandom) -> list[str]:
        """Return the query of each text."""
        return [self._one(text, rng, index) for index, text in enumerate(texts)]

    def _one(self, text: str, rng: RowRandom, index: int) -> str:
        words = Counter(_words(text))  # in the order in which they are met
        if not words:
            return text
        draw = rng.for_text(index)
        number = draw.randint(self.min_words, self.max_words)
        # The smallest of -ln(u) / weight are a draw without replacement by weight; their logarithms cannot overflow.
        keys = {
            word: _log(-math.log(1 - draw.random())) - self._log_weight(word, count) for word, count in words.items()
        }
        chosen = set(sorted(keys, key=keys.__getitem__)[:number])
        return " ".join(word for word in words if word in chosen)

    def _log_weight(self, word: str, count: int) -> float:
        rarity = math.log((self.texts + 1) / min(self.counts.get(word, 1), self.texts)) if self.texts else 1.0
        # A word of every text has a rarity near 0 and is taken last.
        return self.sharpness * _log((1 + math.log(count)) * rarity)


def _log(value: float) -> float:
    return math.log(max(value, sys.float_info.min))


def _words(text: str) -> list[str]:
    return [match[0].lower() for match in _word_pattern().finditer(text)]


@cache
def _word_pattern() -> re.Pattern[str]:
    """Return what finds words: letters and digits with their marks, parts joined by one hyphen, apostrophe or joiner.

    Python's word characters lack the vowel signs and accents that are characters of their own, and would tear up words
    of Hindi, Thai or vocalised Arabic.
    """
    marks = "".join(one for one in map(chr, range(0x300, 0x20000)) if unicodedata.category(one).startswith("M"))
    return re.compile(rf"\w[\w{marks}]*(?:[-'\u2019\u200c\u200d]\w[\w{marks}]*)*")
