"""Views of strings: words left out, moved or mistyped, letter case. Words are what white space parts."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import ClassVar

from textcl.errors import ConfigError
from textcl.randomness import RowRandom
from textcl.views.strength import Strength, check_at_least, check_chance, now
from textcl.views.view import Kind

_ROWS_OF_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_MISTAKES = ("neighbour", "swap", "drop", "double")
_CASES = ("lower", "upper", "title")


def _neighbours() -> dict[str, str]:
    """Return the keys around each letter of a QWERTY keyboard, whose rows are shifted by about half a key."""
    places = {
        letter: (column + 0.5 * row, row)
        for row, keys in enumerate(_ROWS_OF_KEYS)
        for column, letter in enumerate(keys)
    }
    return {
        one: "".join(
            other
            for other, (x, y) in places.items()
            if other != one and abs(x - places[one][0]) <= 1 and abs(y - places[one][1]) <= 1
        )
        for one in places
    }


_KEYS_AROUND = _neighbours()


@dataclass(frozen=True)
class WordDelete:
    """Leave out each word with chance `rate`; at least one stays.

    Args:
        rate: Chance of each word, in [0, 1).

    References:
        Wei and Zou (2019), arXiv:1901.11196, section 2 (random deletion).
    """

    kind: ClassVar[Kind] = "text"
    rate: Strength = 0.1

    def __post_init__(self) -> None:
        check_chance("rate", self.rate)

    def __call__(self, texts: list[str], rng: RowRandom) -> list[str]:
        """Return the texts with one space between the words that stay; a text that keeps all stays as it is."""
        rate = now(self.rate, rng)
        return [self._one(text, rng.for_text(index), rate) for index, text in enumerate(texts)] if rate else texts

    @staticmethod
    def _one(text: str, draw: random.Random, rate: float) -> str:
        words = text.split()
        draws = [draw.random() for _word in words]
        kept = [word for word, number in zip(words, draws, strict=True) if number >= rate]
        if words and not kept:
            kept = [words[draws.index(max(draws))]]
        return text if len(kept) == len(words) else " ".join(kept)


@dataclass(frozen=True)
class WordOrder:
    """Move words about, none of them farther than `distance` places.

    Args:
        distance: Farthest move in words, a fraction rounded up; 0 moves none.

    References:
        Lample et al. (2018), arXiv:1711.00043, section 2.3.
    """

    kind: ClassVar[Kind] = "text"
    distance: Strength = 3.0

    def __post_init__(self) -> None:
        check_at_least("distance", self.distance, 0)

    def __call__(self, texts: list[str], rng: RowRandom) -> list[str]:
        """Return the texts with one space between words; a text whose words stay in order stays as it is."""
        reach = now(self.distance, rng) + 1
        return [self._one(text, rng.for_text(index), reach) for index, text in enumerate(texts)]

    @staticmethod
    def _one(text: str, draw: random.Random, reach: float) -> str:
        words = text.split()
        keys = [place + reach * draw.random() for place in range(len(words))]
        order = sorted(range(len(words)), key=keys.__getitem__)
        return text if order == list(range(len(words))) else " ".join(words[place] for place in order)


@dataclass(frozen=True)
class Typos:
    """Mistype each letter with chance `rate`: a key beside it, two letters swapped, one left out, or one twice.

    Letters of other scripts than the English keyboard's have no key beside them here; they are doubled instead. A word
    keeps at least one letter.

    Args:
        rate: Chance of each letter or digit, in [0, 1).

    References:
        Belinkov and Bisk (2018), arXiv:1711.02173, section 3.
    """

    kind: ClassVar[Kind] = "text"
    rate: Strength = 0.02

    def __post_init__(self) -> None:
        check_chance("rate", self.rate)

    def __call__(self, texts: list[str], rng: RowRandom) -> list[str]:
        """Return the texts with their white space as it was."""
        rate = now(self.rate, rng)
        return [self._one(text, rng.for_text(index), rate) for index, text in enumerate(texts)] if rate else texts

    @staticmethod
    def _one(text: str, draw: random.Random, rate: float) -> str:
        letters = list(text)
        place = 0
        while place < len(letters):
            if letters[place].isalnum() and draw.random() < rate:
                place += _mistype(letters, place, draw)
            place += 1
        return "".join(letters)


def _mistype(letters: list[str], place: int, draw: random.Random) -> int:
    """Make one mistake in place; return how many letters after `place` have had theirs."""
    letter, mistake = letters[place], draw.choice(_MISTAKES)
    follows = letters[place + 1] if place + 1 < len(letters) else " "
    # "" stands where a letter was left out.
    before = next((one for one in reversed(letters[:place]) if one), " ")
    if mistake == "swap" and follows.isalnum() and follows != letter:
        letters[place], letters[place + 1] = follows, letter
        return 1
    if mistake == "drop" and (before.isalnum() or follows.isalnum()):
        letters[place] = ""
    elif mistake != "double" and letter.lower() in _KEYS_AROUND:
        near = draw.choice(_KEYS_AROUND[letter.lower()])
        letters[place] = near.upper() if letter.isupper() else near
    else:
        letters[place] = letter * 2
    return 0


@dataclass(frozen=True)
class LetterCase:
    """Write the whole text in another letter case with chance `rate`: small letters, capitals, or Each Word So.

    Args:
        rate: Chance of each text, in [0, 1).
        cases: Which of lower, upper and title are drawn, evenly.
    """

    kind: ClassVar[Kind] = "text"
    rate: Strength = 0.5
    cases: tuple[str, ...] = _CASES

    def __post_init__(self) -> None:
        if not self.cases or set(self.cases) - set(_CASES):
            raise ConfigError("cases", list(self.cases), f"some of {', '.join(_CASES)}")
        check_chance("rate", self.rate)

    def __call__(self, texts: list[str], rng: RowRandom) -> list[str]:
        """Return the texts, some of them in another letter case; an encoder that lowers letters sees no difference."""
        rate = now(self.rate, rng)
        changed, drawn = rng.per_row(0) < rate, (rng.per_row(1) * len(self.cases)).astype(int)
        seen = zip(texts, changed.tolist(), drawn.tolist(), strict=True)
        return [_in_case(text, self.cases[case]) if change else text for text, change, case in seen]


def _in_case(text: str, case: str) -> str:
    if case == "title":
        return re.sub(r"\S+", lambda word: word[0][0].upper() + word[0][1:], text)
    return text.upper() if case == "upper" else text.lower()
