"""There and back again: a text comes home from another language in other words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from textcl.errors import ConfigError


class Rewriter(Protocol):
    """Writes a text in other words; slow, so what it writes is stored (`views/store.py`).

    Its facts hold everything that decides what it writes, weights included, as plain JSON values: they are the key
    under which its work is kept.
    """

    @property
    def facts(self) -> Mapping[str, Any]:
        """What decides the output, known without loading a model."""
        ...

    @property
    def notes(self) -> list[str]:
        """What a user should know of the work so far, a sentence each."""
        ...

    def rewrite(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the variants of each text, none where there is no usable one; the same text always gets the same."""
        ...

    def close(self) -> None:
        """Let go of processes and models."""
        ...


class Translator(Protocol):
    """Texts of one language → texts of another; both languages None where nobody says which they are."""

    @property
    def source(self) -> str | None:
        """The language it reads."""
        ...

    @property
    def target(self) -> str | None:
        """The language it writes."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What decides the output, known without loading a model."""
        ...

    @property
    def notes(self) -> list[str]:
        """What a user should know of the work so far, a sentence each."""
        ...

    def check_variants(self, variants: int) -> None:
        """Raise ConfigError unless it has so many translations of a text."""
        ...

    def translate(self, texts: Sequence[str], variants: int = 1) -> list[list[str]]:
        """Return exactly `variants` translations of each text, best or first first; some may be empty."""
        ...

    def close(self) -> None:
        """Let go of processes and models."""
        ...


@dataclass(frozen=True)
class BackTranslation:
    """Translate each text into a pivot language and back.

    Args:
        there: From the texts' language to the pivot.
        back: From the pivot to the texts' language.
        variants: Pivot translations of a text, each brought back once; at least 1.

    Raises:
        ConfigError: If the languages of the two do not meet.

    References:
        Sennrich, Haddow and Birch (2016), arXiv:1511.06709; as views of a sentence: Fang and Xie (2020),
        arXiv:2005.12766, section 3.
    """

    there: Translator
    back: Translator
    variants: int = 1

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise ConfigError("variants", self.variants, "a whole number above 0")
        self.there.check_variants(self.variants)
        for one, other, what in (
            (self.there.target, self.back.source, "the way back must read what the way there writes"),
            (self.there.source, self.back.target, "the way back must write what the way there reads"),
        ):
            if one is not None and other is not None and one != other:
                raise ConfigError("back", problem=f"the languages do not meet, {other} is not {one}: {what}")

    @property
    def facts(self) -> dict[str, Any]:
        """Both translators' facts and the number of variants."""
        ways = {"there": dict(self.there.facts), "back": dict(self.back.facts)}
        return {"view": "back_translate", **ways, "variants": self.variants}

    @property
    def notes(self) -> list[str]:
        """What both translators have to say."""
        return [f"{way}: {note}" for way, one in (("there", self.there), ("back", self.back)) for note in one.notes]

    def rewrite(self, texts: Sequence[str]) -> list[list[str]]:
        """Return at most `variants` different texts for each, without empty ones."""
        pivots = [one for found in self.there.translate(texts, self.variants) for one in found]
        home = [found[0] for found in self.back.translate(pivots)]
        # The pivot's translation was empty where the text had nothing to translate: nothing came back either.
        return [distinct(home[start : start + self.variants]) for start in range(0, len(home), self.variants)]

    def close(self) -> None:
        """Let go of processes and models."""
        self.there.close()
        self.back.close()


def distinct(texts: Sequence[str]) -> list[str]:
    """Return the texts in their order, stripped, each once and none of them empty."""
    return list(dict.fromkeys(stripped for text in texts if (stripped := text.strip())))
