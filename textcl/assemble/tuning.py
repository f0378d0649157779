"""An index and queries, or a part of its own documents → settings that reach a recall, kept in the index."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textcl.assemble.searching import Searcher, open_searcher
from textcl.corpus.documents import read_texts
from textcl.errors import ConfigError, DataError
from textcl.index.generations import commit, writing
from textcl.index.grow import training_rows
from textcl.index.store import Index, open_index
from textcl.index.tune import FEWEST_QUERIES, tune
from textcl.progress import Progress, Say, quiet, silent
from textcl.randomness import permutation, stream

_PSEUDO_QUERIES = 1000


def tune_index(
    index: str | Path | Searcher,
    *,
    recall: float,
    at: int = 10,
    queries: str | Path | Sequence[str] | None = None,
    model: str | Path | None = None,
    seed: int = 0,
    progress: Progress = quiet,
    say: Say = silent,
) -> Searcher:
    """Choose the fastest search settings that reach a recall, check them on other queries, and keep them in the index.

    Args:
        index: An index folder, or one that is open; that one is closed.
        recall: The share of the exact answers that is to be found, in (0, 1].
        at: Of how many.
        queries: A file of queries, or some; None for parts of documents, which do not find themselves.
        model: Where the encoder is now; None for where it was.
        seed: Of whatever is drawn at random.
        progress: Told of settings tried.
        say: Told what was reached.

    Returns:
        The index, open; its manifest's `promise` says whether the target was reached.

    Raises:
        ConfigError: If a setting is out of range, or another process is writing the index.
        DataError: If there are too few queries.
        ArtifactError: If the index is damaged, or was made by another encoder.
    """
    searcher = index if isinstance(index, Searcher) else open_searcher(index, model)
    folder = searcher.folder
    asked, own, kind = _questions(searcher, queries, seed)
    if asked is not None:
        vectors = searcher.embed(asked, progress).vectors
    else:
        assert own is not None
        vectors = searcher.index.vectors_of(own)
    with writing(folder) as now:
        if now.manifest["digest"] != searcher.index.manifest["digest"]:
            raise ConfigError("index", problem=f"{folder} was changed meanwhile; tune it again")
        found = tune(now, vectors, recall=recall, at=at, kind=kind, own=own, seed=seed, progress=progress)
        commit(now, found.facts())
    searcher.index.close()
    promise = found.promise
    say(
        f"recall at {promise['at']}: {promise['measured']:.4f} ({promise['low']:.4f} to {promise['high']:.4f}) on "
        f"{promise['checked_on']} {kind}, target {recall}"
    )
    return Searcher(open_index(folder), searcher.encoder, folder, searcher.notes)


def _questions(
    searcher: Searcher, queries: str | Path | Sequence[str] | None, seed: int
) -> tuple[Sequence[str] | None, NDArray[np.int64] | None, str]:
    """Return queries in words, None where documents themselves ask; the rows they are made from; what they are."""
    if queries is not None:
        given = read_queries(queries) if isinstance(queries, str | Path) else queries
        return given, None, "given queries"
    rows = _unseen_rows(searcher.index, seed)
    if not searcher.index.manifest["texts"]:
        return None, rows, "documents asking for others"
    draw = stream("pseudo-queries", seed)
    texts = [_part_of(text or "", draw) for text in searcher.index.texts_of(rows)]
    return texts, rows, "parts of documents asking for others"


def read_queries(source: str | Path) -> list[str]:
    """Return the queries of a file; DataError if there are too few to tune with."""
    found = read_texts(source).texts
    if len(found) < FEWEST_QUERIES:
        raise DataError(
            f"holds {len(found)} queries, which cannot show a recall; give at least {FEWEST_QUERIES}", source
        )
    return found


def _unseen_rows(index: Index, seed: int) -> NDArray[np.int64]:
    """Return rows at random that can be found and that no cells were learnt from, as far as there are such."""
    live = np.ones(index.rows, dtype=np.bool_)
    for start, mask in zip(index.starts, index.live, strict=False):
        if mask is not None:
            live[start : start + len(mask)] = mask
    unseen = live.copy()
    if trained := int(index.manifest["trained_rows"]):  # those of the first shard, until it is compacted
        unseen[training_rows(index.family, trained, int(index.manifest["seed"]))] = False
    if unseen.sum() < 2 * FEWEST_QUERIES:
        unseen = live
    rows = permutation(index.rows, "pseudo-queries", seed)
    return rows[unseen[rows]][:_PSEUDO_QUERIES]


def _part_of(text: str, draw: random.Random) -> str:
    """Return a third to two thirds of a text's words, side by side; all of them where they are few."""
    words = text.split()
    count = max(3, round(len(words) * draw.uniform(1 / 3, 2 / 3)))
    start = draw.randint(0, max(0, len(words) - count))
    return " ".join(words[start : start + count]) or text
