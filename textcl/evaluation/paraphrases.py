"""Paraphrase mining: the most alike pairs of many texts, and whether they are the pairs that people know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError
from textcl.evaluation.curves import Best, LabelledScores
from textcl.evaluation.vectors import GRAIN, Vectors, grains, unit_rows
from textcl.progress import Progress, quiet


@dataclass(frozen=True)
class MinedPairs:
    """P pairs of rows, the most alike first.

    Args:
        first: (P,) the lower row of each pair.
        second: (P,) the higher one.
        cosines: (P,) descending; pairs of equal cosines are in the order of their rows.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    cosines: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class ParaphrasesResult:
    """How mined pairs agree with known ones.

    Args:
        average_precision: Over all known pairs, in [0, 1]; those that were not mined count 0, so that it is a lower
            bound where the mined pairs are not all pairs. It has no interval: pairs that share texts are not apart.
        best_f1: The threshold with the best F1, which was chosen on these pairs.
        mined: How many pairs were mined.
        known: How many are known.
        found: How many of the known are among the mined.
    """

    average_precision: float
    best_f1: Best
    mined: int
    known: int
    found: int

    def to_json(self) -> dict[str, Any]:
        """Return every number by its name."""
        best = self.best_f1
        return {
            "average_precision": self.average_precision,
            "f1": best.value,
            "threshold": best.threshold,
            "precision": best.precision,
            "recall": best.recall,
            "mined": self.mined,
            "known": self.known,
            "found": self.found,
        }


def mine_paraphrases(
    embeddings: Vectors,
    limit: int = 10_000,
    *,
    at_least: float = -1.0,
    block_rows: int = 1024,
    progress: Progress = quiet,
) -> MinedPairs:
    """Return the most alike pairs of different rows, each once.

    Cosines are rounded to `vectors.GRAIN`, and equal ones are ordered by row, so that the size of a block changes
    nothing. Memory beside the embeddings is that of one block of cosines and of `limit` pairs.

    Args:
        embeddings: (N, D), N at least 2, of any length but 0.
        limit: The most pairs, at least 1.
        at_least: Only pairs with such a cosine or more.
        block_rows: Rows compared with as many others at once, at least 1.
        progress: Told of rows compared with all before them.

    Raises:
        ConfigError: If `limit` or `block_rows` is below 1.
        ShapeError: If `embeddings` is not (N, D) with N at least 2.
        DataError: If an embedding is 0 or not finite.
    """
    for field, value in (("limit", limit), ("block_rows", block_rows)):
        if value < 1:
            raise ConfigError(field, value, "a whole number of at least 1")
    vectors = unit_rows(embeddings, "embeddings", least=2)
    kept = MinedPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    least = at_least
    with progress("comparing all pairs", len(vectors)) as advance:
        for start in range(0, len(vectors), block_rows):
            some = vectors[start : start + block_rows]
            for other in range(0, start + 1, block_rows):
                kept = _merged(kept, _block(vectors[other : other + block_rows], some, other, start, least), limit)
                if len(kept) == limit:
                    least = max(least, float(kept.cosines[-1]))
            advance(len(some))
    return kept


def score_paraphrases(mined: MinedPairs, known: Iterable[tuple[int, int]]) -> ParaphrasesResult:
    """Return how well mined pairs agree with known ones.

    Args:
        mined: The most alike pairs.
        known: Pairs of rows in either order; a pair that comes twice counts once.

    Raises:
        DataError: If there is no known pair, or one is a row with itself.

    References:
        sentence-transformers' ParaphraseMiningEvaluator, with average precision by groups of equal cosines.
    """
    pairs = {(min(pair), max(pair)) for pair in known}
    if not pairs:
        raise DataError("there is no known pair; average precision needs one")
    if own := [first for first, second in pairs if first == second]:
        raise DataError(f"row {own[0] + 1} is said to be a duplicate of itself; a pair has two different rows")
    hits = [pair in pairs for pair in zip(mined.first.tolist(), mined.second.tolist(), strict=True)]
    scores = LabelledScores(mined.cosines, np.array(hits, dtype=bool), positives=len(pairs))
    return ParaphrasesResult(scores.curve.average_precision, scores.best_f1, len(mined), len(pairs), sum(hits))


def _block(
    first: NDArray[np.float64], second: NDArray[np.float64], first_row: int, second_row: int, least: float
) -> MinedPairs:
    """Return the pairs of two blocks with a cosine of at least `least`; of a block with itself, each pair once."""
    cosines: NDArray[np.float64] = grains(first @ second.T) * GRAIN
    near = cosines >= least
    if first_row == second_row:
        near = np.triu(near, k=1)
    rows, columns = np.nonzero(near)
    return MinedPairs(rows + first_row, columns + second_row, cosines[rows, columns])


def _merged(kept: MinedPairs, more: MinedPairs, limit: int) -> MinedPairs:
    """Return the `limit` first of both in the canonical order."""
    first, second, cosines = (
        np.concatenate([getattr(kept, name), getattr(more, name)]) for name in ("first", "second", "cosines")
    )
    if len(cosines) > limit:  # most go by a partition; only those that may stay are sorted
        stay = np.flatnonzero(cosines >= np.partition(cosines, len(cosines) - limit)[len(cosines) - limit])
        first, second, cosines = first[stay], second[stay], cosines[stay]
    order = np.lexsort((second, first, -cosines))[:limit]
    return MinedPairs(first[order], second[order], cosines[order])
