"""Several columns of texts → their embeddings, each different text encoded once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sentence_transformers import SentenceTransformer

from textcl.encoder.embed import Embedded, embed_texts
from textcl.progress import Progress, Say, quiet, silent


def embed_sides(
    encoder: SentenceTransformer, sides: Sequence[Sequence[str]], *, progress: Progress = quiet, say: Say = silent
) -> list[Embedded]:
    """Return the embeddings of each side.

    Texts of pairs often stand in several of them. Equal texts get equal vectors, to the bit.

    Args:
        encoder: In evaluation mode while it embeds.
        sides: Lists of texts.
        progress: Told of different texts.
        say: Told how many different texts were cut at the encoder's limit.

    Returns:
        One a side; `cut_texts` of each is that of all sides.
    """
    places = {text: place for place, text in enumerate(dict.fromkeys(text for side in sides for text in side))}
    made = embed_texts(encoder, list(places), progress=progress)
    if made.cut_texts:
        say(f"cut at {encoder.max_seq_length} tokens: {made.cut_texts} texts")
    found = []
    for side in sides:
        rows = np.array([places[text] for text in side], dtype=np.int64)
        lengths = None if made.lengths is None else made.lengths[rows]
        found.append(Embedded(made.vectors[rows], made.cut_texts, lengths))
    return found
