"""Texts longer than an encoder's limit → overlapping passages, so that nothing of them is cut off when it encodes.

Cuts lie between words. A passage's own tokens may be others than those it has in its text (a word at the start loses
the space before it, a piece of a long word is tokenised as a word), so each passage is tokenised by itself before it is
taken, and made shorter where it has too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from textcl.ahead import ahead
from textcl.corpus.tokens import special_tokens, tokenise, with_encodings
from textcl.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

Span: TypeAlias = tuple[int, int]
"""Characters [start, end) of a text."""

_WORD = re.compile(r"\S+")
_CHUNK_TEXTS = 2000
_CHUNK_CHARACTERS = 1_000_000  # a token's encoding takes about 100 bytes, so this bounds memory where texts are long


def passages_of(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, tokens: int, overlap: int, prompt: str = ""
) -> Iterator[list[Span]]:
    """Yield the passages of each text, in constant memory, as spans of its characters in their order.

    A text that fits is one span, all of it; so is an empty one, of no characters. The passages of a longer text begin
    and end with no white space, and hold every other character of it. Each is as long as it can be (or nearly, where a
    word's tokens depend on the words around it). Words, which is what stands between white space, stay whole, unless
    one alone is longer than a passage: that is cut where the tokenizer begins its own words, or else between tokens.

    Args:
        texts: N texts, taken some thousand ahead.
        tokenizer: The encoder's, a fast one (Hugging Face `tokenizers`).
        tokens: Most tokens of a passage as the encoder counts them against its limit: with special tokens and prompt.
            Only a single character that alone has more is a passage of more.
        overlap: Most tokens of the text that two neighbours share, in whole words: as many as fit in, fewer where the
            next word would not find room; at least 0, and fewer than a passage has room for.
        prompt: Stands before each passage when it is encoded.

    Raises:
        ConfigError: If `tokens` leaves no room for a text, or `overlap` is out of range.
    """
    prefix, suffix = special_tokens(tokenizer, prompt)
    taken = len(prefix) + len(suffix)
    if tokens <= taken:
        raise ConfigError("tokens", tokens, f"more than the {taken} of the prompt and the special tokens")
    room = tokens - taken
    if not 0 <= overlap < room:
        raise ConfigError("overlap", overlap, f"a number from 0 to below the {room} tokens a passage has room for")
    return _passages(texts, tokenizer, room, overlap, prompt)


def _passages(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, room: int, overlap: int, prompt: str
) -> Iterator[list[Span]]:
    """Yield the passages of each text; checked arguments, `room` without special tokens and prompt."""
    encode = partial(with_encodings, tokenizer, places=True)
    for prompted, encodings in ahead(encode, _chunks(texts, prompt), "tokenise"):
        chunk = [text[len(prompt) :] for text in prompted]
        long = {
            number: _Cutter(text, encoding, len(prompt), room, overlap)
            for number, (text, encoding) in enumerate(zip(chunk, encodings, strict=True))
            if not _fits(encoding, len(prompt), room)
        }
        unfinished = [cutter for cutter in long.values() if not cutter.done]
        while unfinished:  # a passage of each at a time, as where one starts depends on the one before
            proposed = [cutter.proposal for cutter in unfinished]
            counts = tokenise(proposed, tokenizer, prompt, marks=False).lengths.tolist()
            for cutter, count in zip(unfinished, counts, strict=True):
                cutter.answer(count)
            unfinished = [cutter for cutter in unfinished if not cutter.done]
        for number, text in enumerate(chunk):
            yield long[number].spans if number in long else [(0, len(text))]


def _chunks(texts: Iterable[str], prompt: str) -> Iterator[list[str]]:
    """Yield lists of texts with the prompt before each, none too large to be held with its encodings."""
    chunk: list[str] = []
    characters = 0
    for text in texts:
        if chunk and (len(chunk) == _CHUNK_TEXTS or characters + len(text) > _CHUNK_CHARACTERS):
            yield chunk
            chunk, characters = [], 0
        chunk.append(prompt + text)
        characters += len(text)
    if chunk:
        yield chunk


def _fits(encoding: Encoding, prompt_length: int, room: int) -> bool:
    """Tell whether a text has room in one passage; a token that spans the prompt's end belongs to the text."""
    if not prompt_length or len(encoding) <= room:
        return len(encoding) <= room
    return len(encoding) - sum(1 for _, end in encoding.offsets if 0 < end <= prompt_length) <= room


class _Cutter:
    """One text that is cut: proposes a passage, is told how many tokens that has alone, and takes or shortens it.

    The text is a row of units, n of them: words, and pieces of words that are too long. Unit i is the characters
    [`_begins[i]`, `_ends[i]`), and the tokens [`_firsts[i]`, `_afters[i]`) of the whole text. The passage proposed is
    units `_start` to `_stop`, both included, and reaches beyond `_covered`, the last unit of the passage before.
    """

    def __init__(self, text: str, encoding: Encoding, prompt_length: int, room: int, overlap: int) -> None:
        self.spans: list[Span] = []
        self._text, self._room, self._overlap = text, room, overlap
        self._encoding = encoding
        # Both rise, as the tokens of one character (bytes of it, or what it is spelt out as) have its whole place each.
        self._token_starts, self._token_ends = (np.array(encoding.offsets, dtype=np.int64) - prompt_length).T
        words = [match.span() for match in _WORD.finditer(text)]
        self.done = not words
        if self.done:
            self.spans.append((0, 0))
            return
        self._set_units(words)
        if (self._afters - self._firsts).max() > room:
            self._set_units([piece for word in words for piece in self._small_enough(word)])
        self._covered, self._start = -1, 0
        self._stop = max(self._reach(room), 0)

    @property
    def proposal(self) -> str:
        """The passage proposed."""
        return self._text[self._begins[self._start] : self._ends[self._stop]]

    def answer(self, count: int) -> None:
        """Take the passage proposed, which has `count` tokens alone, or shorten it; then propose the next."""
        if count > self._room and self._shorten(count - self._room):
            return
        self.spans.append((int(self._begins[self._start]), int(self._ends[self._stop])))
        self.done = self._stop == len(self._begins) - 1
        if self.done:
            return
        # The next passage shares what it may, but so that the next unit has room in it.
        covered = self._stop
        earliest = max(self._afters[covered] - self._overlap, self._afters[covered + 1] - self._room)
        shared_from = int(np.searchsorted(self._firsts, earliest))
        self._start = min(max(shared_from, self._start + 1), covered + 1)
        self._covered = covered
        self._stop = max(self._reach(self._room), covered + 1)

    def _reach(self, budget: int) -> int:
        """Return the last unit with which a passage from `_start` has at most `budget` tokens of the whole text."""
        return int(np.searchsorted(self._afters, self._firsts[self._start] + budget, side="right")) - 1

    def _shorten(self, excess: int) -> bool:
        """Propose a passage of fewer tokens, by `excess`, or with less shared; False if it is a single character."""
        budget = int(self._afters[self._stop] - self._firsts[self._start]) - excess
        least = self._covered + 1
        if self._start < least:
            stop = self._reach(budget)
            if stop < least:
                self._start += 1
                stop = max(self._reach(self._room), least)
            self._stop = stop
            return True
        if self._stop == least:
            pieces = self._finer((int(self._begins[least]), int(self._ends[least])))
            if len(pieces) == 1:
                return False
            units = list(zip(self._begins.tolist(), self._ends.tolist(), strict=True))
            self._set_units([*units[:least], *pieces, *units[least + 1 :]])
        self._stop = max(self._reach(budget), least)
        return True

    def _set_units(self, units: list[Span]) -> None:
        self._begins, self._ends = np.array(units, dtype=np.int64).T
        self._firsts = np.searchsorted(self._token_ends, self._begins, side="right")
        self._afters = np.searchsorted(self._token_starts, self._ends, side="left")

    @cached_property
    def _words(self) -> NDArray[np.int64]:
        """Number of each token's word as the tokenizer sees words, (S,)."""
        return np.array([-1 if word is None else word for word in self._encoding.word_ids], dtype=np.int64)

    def _token_range(self, unit: Span) -> tuple[int, int]:
        first = int(np.searchsorted(self._token_ends, unit[0], side="right"))
        return first, int(np.searchsorted(self._token_starts, unit[1], side="left"))

    def _small_enough(self, unit: Span) -> Iterator[Span]:
        """Yield a unit if it has room in a passage, or else its pieces, no smaller than needed."""
        first, after = self._token_range(unit)
        pieces = self._finer(unit) if after - first > self._room else [unit]
        if len(pieces) == 1:
            yield unit
        else:
            for piece in pieces:
                yield from self._small_enough(piece)

    def _finer(self, unit: Span) -> list[Span]:
        """Return the tokenizer's words in a unit; if it is but one, what its tokens stand for; if one, characters."""
        first, after = self._token_range(unit)
        starts = self._token_starts[first + 1 : after]
        inside = (starts > unit[0]) & (starts < unit[1])
        cuts = starts[inside & (np.diff(self._words[first:after]) != 0)]
        if not len(cuts):
            cuts = starts[inside]
        if not len(cuts):
            cuts = np.arange(unit[0] + 1, unit[1])
        borders: NDArray[np.int64] = np.unique(np.concatenate([[unit[0]], cuts, [unit[1]]]))
        return list(zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True))
