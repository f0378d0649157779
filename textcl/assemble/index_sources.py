"""What an index is made of: texts, their passages, or vectors that were encoded before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from textcl.corpus.documents import Texts, read_texts
from textcl.corpus.passages import passages_of
from textcl.encoder.load import prompt_of, tokenizer_of
from textcl.errors import ConfigError


@dataclass(frozen=True)
class Passages:
    """How documents longer than an encoder's limit are cut.

    Args:
        tokens: Most tokens of a passage, special tokens and prompt counted; None for the encoder's limit.
        overlap: Most tokens that two neighbours share.
    """

    tokens: int | None = None
    overlap: int = 32


def read_source(
    source: str | Path | Texts, column: str | None, limit: int | None, fields: Sequence[str]
) -> tuple[Texts, Path | None]:
    """Return the texts of a source, and the folder of their vectors where it is that of an `encode`."""
    if isinstance(source, Texts):
        return source, None
    if not is_encoded(source):
        return read_texts(source, column=column, limit=limit, fields=fields or None), None
    for name, value in (("limit", limit), ("column", column), ("fields", fields or None)):
        if value is not None:
            advice = "give the texts themselves" if name == "fields" else f"give {name} to textcl encode"
            problem = f"{source} holds vectors, which are taken whole; {advice}"
            raise ConfigError(name, problem=problem)
    # An `encode` folder is a source of texts too: its texts.jsonl has them in the order of the vectors.
    return read_texts(Path(source) / "texts.jsonl", allow_empty=True), Path(source)


def is_encoded(source: str | Path | Texts) -> bool:
    """Tell whether a source is the folder of an `encode`, with vectors."""
    return not isinstance(source, Texts) and (Path(source) / "vectors.npy").is_file()


def rows_of(
    texts: Texts, encoder: SentenceTransformer, passages: Passages | None
) -> tuple[Texts, NDArray[np.int64] | None]:
    """Return what is embedded, and which passage of which document each is; None where each is a document."""
    if passages is None:
        return texts, None
    limit = passages.tokens or encoder.max_seq_length
    if limit is None:
        raise ConfigError("passages", problem="the encoder has no limit; say how many tokens a passage has at most")
    spans = passages_of(
        texts.texts,
        tokenizer_of(encoder),
        tokens=limit,
        overlap=passages.overlap,
        prompt=prompt_of(encoder, "document"),
    )
    rows = [(number, start, end) for number, some in enumerate(spans) for start, end in some]
    parts = [texts.texts[number][start:end] for number, start, end in rows]
    return Texts([str(row) for row in range(len(rows))], parts, texts.source), np.array(rows, dtype=np.int64)
