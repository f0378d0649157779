"""Texts → token rows: ids in one flat array, cut by offsets, with marks where words and sentences start.

Texts are tokenised once; views and batches are then integer operations on these arrays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from textcl.ahead import ahead
from textcl.errors import ConfigError, ShapeError
from textcl.progress import Progress, quiet

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

WORD_START = np.uint8(1)
SENTENCE_START = np.uint8(2)
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+(?=\S)")
_CHUNK_TEXTS = 2000


@dataclass(frozen=True, slots=True)
class TokenRows:
    """B rows of tokens in flat arrays; row i is `ids[offsets[i]:offsets[i + 1]]`.

    Args:
        ids: (T,) int32 vocabulary ids.
        offsets: (B + 1,) int64, from 0 to T, never falling.
        marks: (T,) uint8, WORD_START and SENTENCE_START bits of each token.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    marks: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.ids):
            raise ShapeError("offsets", self.offsets.shape, f"(B + 1,) from 0 to {len(self.ids)}")
        if len(self.marks) != len(self.ids):
            raise ShapeError("marks", self.marks.shape, f"({len(self.ids)},)")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens in each row, (B,)."""
        return np.diff(self.offsets)

    def row(self, index: int) -> NDArray[np.int32]:
        """Return the ids of one row, (S,)."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def spans(self, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> TokenRows:
        """Return one span of tokens a row of the result: (n,) starts in the flat arrays and (n,) lengths."""
        offsets = offsets_of(lengths)
        index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return TokenRows(self.ids[index], offsets, self.marks[index])

    def take(self, rows: NDArray[np.int64]) -> TokenRows:
        """Return the given rows, (n,), in that order."""
        return self.spans(self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows])

    def cut(self, max_tokens: int) -> TokenRows:
        """Return each row's first `max_tokens` tokens."""
        return self.spans(self.offsets[:-1], np.minimum(self.lengths, max_tokens))

    def keep(self, kept: NDArray[np.bool_]) -> TokenRows:
        """Return the tokens where `kept` (T,) holds."""
        offsets = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])[self.offsets]
        return TokenRows(self.ids[kept], offsets, self.marks[kept])

    def wrapped(self, prefix: Sequence[int], suffix: Sequence[int], max_tokens: int) -> TokenRows:
        """Return rows of `prefix`, as many tokens as `max_tokens` leaves room for, and `suffix`.

        Raises:
            ConfigError: If there is no room for a single token.
        """
        room = max_tokens - len(prefix) - len(suffix)
        if room < 1:
            taken = len(prefix) + len(suffix)
            raise ConfigError("max_tokens", max_tokens, f"more than the {taken} of the prompt and the special tokens")
        body = self.cut(room)
        lengths = body.lengths + len(prefix) + len(suffix)
        offsets = offsets_of(lengths)
        ids = np.empty(offsets[-1], dtype=np.int32)
        marks = np.zeros(offsets[-1], dtype=np.uint8)
        inside = np.arange(len(body.ids)) + np.repeat(offsets[:-1] + len(prefix) - body.offsets[:-1], body.lengths)
        ids[inside], marks[inside] = body.ids, body.marks
        for position, token in enumerate(prefix):
            ids[offsets[:-1] + position] = token
        for position, token in enumerate(reversed(suffix), start=1):
            ids[offsets[1:] - position] = token
        return TokenRows(ids, offsets, marks)


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (B + 1,) offsets of rows with `lengths` (B,)."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])


def concatenate(parts: Sequence[TokenRows]) -> TokenRows:
    """Return the rows of all parts, one part after the other."""
    return TokenRows(
        np.concatenate([part.ids for part in parts]),
        offsets_of(np.concatenate([part.lengths for part in parts])),
        np.concatenate([part.marks for part in parts]),
    )


def special_tokens(tokenizer: PreTrainedTokenizerBase, prompt: str = "") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that stand before and after a text: special tokens, and before it the prompt's own tokens."""
    text = f"{prompt}a"
    whole = tokenizer(text, verbose=False)["input_ids"]
    bare = tokenizer(text, add_special_tokens=False, verbose=False)
    start = next(i for i in range(len(whole)) if whole[i : i + len(bare["input_ids"])] == bare["input_ids"])
    prompt_tokens = _text_start(bare.encodings[0], len(prompt))
    return tuple(whole[: start + prompt_tokens]), tuple(whole[start + len(bare["input_ids"]) :])


def tokenizer_state(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return everything that decides a fast tokenizer's ids, as text; truncation and padding are left out.

    Those are whatever the last caller set.
    """
    state = json.loads(cast(Any, tokenizer).backend_tokenizer.to_str())
    state.pop("truncation", None)
    state.pop("padding", None)
    return json.dumps(state, sort_keys=True)


def tokenise(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    prompt: str = "",
    progress: Progress = quiet,
    *,
    marks: bool = True,
) -> TokenRows:
    """Return the tokens of each text, whole and without special tokens.

    Args:
        texts: B texts; an empty one gives an empty row.
        tokenizer: A fast tokenizer (Hugging Face `tokenizers`).
        prompt: Stands before each text while it is tokenised, so that ids are those of prompt and text together; its
            own tokens are left out (`special_tokens` has them).
        progress: Told the number of texts done.
        marks: Find where words and sentences start; without it all marks are 0, at a third of the time.
    """
    return concatenate([no_rows(), *token_chunks(texts, tokenizer, prompt, progress, marks=marks)])


def token_chunks(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    prompt: str = "",
    progress: Progress = quiet,
    *,
    marks: bool = True,
) -> Iterator[TokenRows]:
    """Yield what `tokenise` returns, some thousand texts at a time."""
    encode = partial(with_encodings, tokenizer, places=marks or prompt != "")
    chunks = ([prompt + text for text in texts[at : at + _CHUNK_TEXTS]] for at in range(0, len(texts), _CHUNK_TEXTS))
    with progress("tokenise", len(texts)) as advance:
        for chunk, encodings in ahead(encode, chunks, "tokenise"):
            yield _rows_of(chunk, encodings, len(prompt), with_marks=marks)
            advance(len(chunk))


def no_rows() -> TokenRows:
    """Return a batch without rows."""
    return TokenRows(np.empty(0, np.int32), np.zeros(1, np.int64), np.empty(0, np.uint8))


def with_encodings(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], *, places: bool
) -> tuple[list[str], list[Encoding]]:
    """Return the texts and their encodings, whole and without special tokens, made on all cores.

    Without `places` nobody finds out where tokens stand, and it takes less time. The backend is asked itself: what
    transformers makes of its answer costs as much as the answer.
    """
    backend = cast(Any, tokenizer).backend_tokenizer
    if backend.truncation is not None:  # whatever the last caller set
        backend.no_truncation()
    if backend.padding is not None:
        backend.no_padding()
    if backend.encode_special_tokens != tokenizer.split_special_tokens:
        backend.encode_special_tokens = tokenizer.split_special_tokens
    run = backend.encode_batch if places else backend.encode_batch_fast
    return texts, run(texts, add_special_tokens=False)


def _rows_of(texts: list[str], encodings: list[Encoding], prompt_length: int, *, with_marks: bool) -> TokenRows:
    ids = [encoding.ids for encoding in encodings]
    offsets = offsets_of(np.fromiter(map(len, ids), dtype=np.int64, count=len(ids)))
    flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(offsets[-1]))
    marks = _marks(texts, encodings, offsets, prompt_length) if with_marks else np.zeros(len(flat), dtype=np.uint8)
    rows = TokenRows(flat, offsets, marks)
    if not prompt_length:
        return rows
    skipped = np.array([_text_start(encoding, prompt_length) for encoding in encodings], dtype=np.int64)
    return rows.spans(offsets[:-1] + skipped, rows.lengths - skipped)


def _text_start(encoding: Encoding, prompt_length: int) -> int:
    """Return how many tokens belong to the prompt alone; one that spans its end belongs to the text."""
    if not prompt_length:
        return 0
    return sum(1 for _, end in encoding.offsets if 0 < end <= prompt_length)


def _marks(
    texts: list[str], encodings: list[Encoding], offsets: NDArray[np.int64], prompt_length: int
) -> NDArray[np.uint8]:
    """Return the marks of all tokens, (T,), those of the prompt included."""
    words = np.fromiter(
        (-1 if word is None else word for encoding in encodings for word in encoding.word_ids),
        dtype=np.int64,
        count=int(offsets[-1]),
    )
    marks: NDArray[np.uint8] = (np.diff(words, prepend=-2) != 0).astype(np.uint8)  # WORD_START is bit 0
    marks[offsets[:-1][np.diff(offsets) > 0]] |= WORD_START
    found = [
        start + token
        for text, encoding, start in zip(texts, encodings, offsets.tolist(), strict=False)
        for token in _sentence_starts(text, encoding, prompt_length)
    ]
    marks[found] |= SENTENCE_START
    return marks


def _sentence_starts(text: str, encoding: Encoding, prompt_length: int) -> Sequence[int]:
    """Return the tokens with which sentences start."""
    if not len(encoding):
        return ()
    starts = [prompt_length, *(match.end() for match in _SENTENCE_END.finditer(text, prompt_length))]
    if starts == [0] and (place := encoding.token_to_chars(0)) and place[1]:
        return (0,)  # of a single sentence: where its other tokens stand costs more to ask than all the rest
    # A token may hold the space before its word, so the first token that ends behind a sentence's start is meant.
    ends = np.array([end for _, end in encoding.offsets])
    first = np.searchsorted(ends, starts, side="right")
    return cast("list[int]", first[first < len(ends)].tolist())
