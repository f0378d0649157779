"""Encoder + texts → the most alike pairs of them, and how well these agree with pairs that are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from textcl.assemble.labelled import drawn
from textcl.assemble.uses import Use
from textcl.corpus.documents import Texts, read_texts
from textcl.corpus.readers import check_column, read_records
from textcl.encoder.embed import Embedded
from textcl.errors import ConfigError, DataError
from textcl.evaluation.paraphrases import MinedPairs, ParaphrasesResult, mine_paraphrases, score_paraphrases
from textcl.progress import Progress


@dataclass(frozen=True)
class Paraphrases:
    """What was found.

    Args:
        texts: The texts with their ids.
        pairs: The most alike pairs, by row of `texts`.
        result: How they agree with known pairs; None where none were given.
    """

    texts: Texts
    pairs: MinedPairs
    result: ParaphrasesResult | None

    def rows(self, limit: int | None = None) -> list[dict[str, str | float]]:
        """Return the first pairs with ids, texts and cosine."""
        columns = (self.pairs.first[:limit], self.pairs.second[:limit], self.pairs.cosines[:limit])
        return [
            {
                "id1": self.texts.ids[first],
                "id2": self.texts.ids[second],
                "score": round(cosine, 7),
                "text1": self.texts.texts[first],
                "text2": self.texts.texts[second],
            }
            for first, second, cosine in zip(*(column.tolist() for column in columns), strict=True)
        ]


def paraphrases_use(
    data: str | Path,
    *,
    column: str | None = None,
    duplicates: str | Path | None = None,
    limit: int = 10_000,
    most: int | None = None,
) -> Use[Paraphrases]:
    """Find the most alike pairs of texts, and judge how well they agree with known ones.

    Args:
        data: A file with a text a row, or a BEIR folder.
        column: The column of texts; None for the one that is named text or the only one.
        duplicates: A file with columns id1 and id2: pairs of ids of `data` (column `_id` or `id`, else row numbers from
            0) that are known to mean the same; None mines alone.
        limit: The most pairs.
        most: Texts at most: those of known pairs drawn at random, up to half, and others; None takes all.

    Raises:
        DataError: If a column is missing, a text is empty, there are fewer than 2, or a known pair has an id that does
            not exist, or one id twice.
        ConfigError: If `limit` is below 1.
    """
    if limit < 1:
        raise ConfigError("limit", limit, "a whole number of at least 1")
    texts = read_texts(data, column=column)
    if len(texts.texts) < 2:
        raise DataError("has a single text; a pair needs two", data)
    known = None if duplicates is None else _known_pairs(duplicates, texts)
    if most is not None and len(texts.texts) > most:
        texts, known = _some(texts, known, most)

    def score(sides: list[Embedded], progress: Progress) -> Paraphrases:
        pairs = mine_paraphrases(sides[0].vectors, limit, progress=progress)
        return Paraphrases(texts, pairs, None if known is None else score_paraphrases(pairs, known))

    return Use((texts.texts,), score)


def _some(texts: Texts, known: list[tuple[int, int]] | None, most: int) -> tuple[Texts, list[tuple[int, int]] | None]:
    """Return `most` texts, and the known pairs among them."""
    pairs = [] if known is None else [known[row] for row in drawn(np.arange(len(known)), most // 4).tolist()]
    wanted = np.unique(np.array(pairs, dtype=np.int64).ravel())
    others = np.setdiff1d(np.arange(len(texts.texts)), wanted)
    rows = np.sort(np.concatenate([wanted, drawn(others, max(0, most - len(wanted)))])).tolist()
    places = {row: place for place, row in enumerate(rows)}
    some = replace(texts, ids=[texts.ids[row] for row in rows], texts=[texts.texts[row] for row in rows])
    if known is None:
        return some, None
    return some, [(places[one], places[other]) for one, other in known if one in places and other in places]


def _known_pairs(duplicates: str | Path, texts: Texts) -> list[tuple[int, int]]:
    records = read_records(duplicates)
    places = {name: row for row, name in enumerate(texts.ids)}
    sides = []
    for column in ("id1", "id2"):
        check_column(records, column)
        names = list(map(str, records.dataset[column]))
        for row, name in enumerate(names):
            if name not in places:
                raise records.fault(f"column {column!r}: {texts.source} has no text with id {name!r}", row)
        sides.append([places[name] for name in names])
    pairs = list(zip(*sides, strict=True))
    for row, (first, second) in enumerate(pairs):
        if first == second:
            raise records.fault(f"text {texts.ids[first]!r} is said to be a duplicate of itself", row)
    return pairs
