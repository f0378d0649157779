"""The `data` section of a recipe → texts of both sides, and the labels of rows that mean the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from textcl.assemble.faults import within
from textcl.corpus.beir_files import corpus_file, is_collection
from textcl.corpus.documents import read_texts
from textcl.corpus.duplicates import find_duplicates
from textcl.corpus.groups import column_groups
from textcl.corpus.readers import Records, column_texts, pick_column, read_records
from textcl.errors import ConfigError
from textcl.progress import Progress
from textcl.recipe.models import AnyDataRecipe, Source, SourceRecipe
from textcl.views.fields import Fields

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingTexts:
    """The two sides of N training pairs of one source, and the labels of rows that mean the same.

    Args:
        anchors: N texts.
        positives: N texts; the same list as `anchors` for single texts.
        groups: (N, G) labels, as PairBatch has them.
        kinds: G words, as PairBatch has them.
        notes: What a reader of the run should know about the data.
        hard_negatives: H columns of N texts.
        negative_groups: (N, H, F) labels of these.
        source: Where they come from, in the recipe's words.
        name: What the journal calls them.
    """

    anchors: list[str]
    positives: list[str]
    groups: Labels
    kinds: tuple[str, ...] = ("text", "text")
    notes: tuple[str, ...] = ()
    hard_negatives: tuple[list[str], ...] = ()
    negative_groups: Labels | None = None
    source: str = ""
    name: str = ""

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def single(self) -> bool:
        """Whether each text is its own pair."""
        return self.positives is self.anchors

    def blocks(self) -> Iterator[TrainingTexts]:
        """Yield what is read together, which is all."""
        yield self

    @property
    def columns(self) -> tuple[list[str], ...]:
        """All different columns of texts."""
        return (self.anchors, *(() if self.single else (self.positives,)), *self.hard_negatives)


def label_columns(recipe: AnyDataRecipe) -> int:
    """Return how many label columns the rows of a recipe's `data` section have."""
    return len(_kinds(recipe))


def hard_columns(recipe: AnyDataRecipe) -> int:
    """Return the most columns of hard negatives that a source of a recipe's `data` section has."""
    return max(0 if part.columns is None else len(part.columns.hard_negatives) for part in recipe.parts)


def _kinds(recipe: AnyDataRecipe) -> tuple[str, ...]:
    near = () if recipe.near_duplicates is None else ("near_duplicate",) * 2
    return ("text", "text", *near, *(("group",) if any(part.group is not None for part in recipe.parts) else ()))


@dataclass(frozen=True)
class StreamedTexts:
    """N training pairs of which a block is in memory at a time.

    Args:
        records: The rows, memory-mapped.
        part: The section that names their columns.
        number: Of the source.
        kinds: As TrainingTexts has them.
        block: Rows that are read together.
        progress: Told of rows, where all are read.
        name: What the journal calls them.
    """

    records: Records
    part: Source
    number: int
    kinds: tuple[str, ...]
    block: int
    progress: Progress
    name: str = ""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def single(self) -> bool:
        """Whether each text is its own pair."""
        return self.part.columns is None

    @property
    def source(self) -> str:
        """Where they come from, in the recipe's words."""
        return self.part.train

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run should know about the data."""
        return _blank_note(self.records, self.part)

    def read(self, number: int) -> TrainingTexts:
        """Return the texts of block `number`, counted from 0.

        Raises:
            DataError: If a row has no text where it needs one.
        """
        start = number * self.block
        rows = range(start, min(start + self.block, len(self)))
        return _texts_of(self.records.take(rows), self.part, self.number, self.kinds, start)

    def blocks(self) -> Iterator[TrainingTexts]:
        """Yield all blocks.

        Raises:
            DataError: As `read`.
        """
        with self.progress(f"read through {Path(self.source).name}", len(self)) as advance:
            for number in range(-(-len(self) // self.block)):
                block = self.read(number)
                yield block
                advance(len(block))


AnyTexts: TypeAlias = TrainingTexts | StreamedTexts


def read_training_texts(recipe: AnyDataRecipe, progress: Progress) -> list[AnyTexts]:
    """Return the texts that a recipe's `data` section names, source by source.

    Raises:
        ConfigError: If columns are named that exclude each other.
        DataError: If a file, a column or a row is at fault.
    """
    several = len(recipe.parts) > 1
    found: list[AnyTexts] = []
    for number, part in enumerate(recipe.parts):
        with within(f"data.sources.{number}" if several else "data"):
            texts = _read_source(part, number, _kinds(recipe), progress)
        found.append(replace(texts, name=part.name) if isinstance(part, SourceRecipe) else texts)
    if recipe.near_duplicates is None:
        return found
    with within("data"):
        return [*_near_duplicates([held(texts) for texts in found], recipe.near_duplicates, progress)]


def held(texts: AnyTexts) -> TrainingTexts:
    """Return texts that are in memory; of those that are streamed, the first block."""
    return texts if isinstance(texts, TrainingTexts) else texts.read(0)


def _read_source(part: Source, number: int, kinds: tuple[str, ...], progress: Progress) -> AnyTexts:
    folder = is_collection(part.train)
    if folder and part.columns is None and part.group is None:
        if part.stream is not None:
            raise ConfigError("stream", problem="a BEIR folder's documents are read whole; name its fields in columns")
        texts = read_texts(part.train, column=part.column, limit=part.limit).texts
        return TrainingTexts(texts, texts, _groups([texts, texts], [], number, kinds), kinds, source=part.train)
    # The fields of a BEIR folder's documents, such as title and text, are columns like any other.
    records = read_records(corpus_file(part.train) if folder else part.train, limit=part.limit, progress=progress)
    if part.stream is None:
        return _texts_of(records, part, number, kinds)
    return StreamedTexts(records, part, number, kinds, part.stream, progress)


def _texts_of(records: Records, part: Source, number: int, kinds: tuple[str, ...], first_row: int = 0) -> TrainingTexts:
    """Return the texts of some records, which begin at row `first_row` of their source."""
    groups = [] if part.group is None else column_groups(records, part.group)
    notes = _blank_note(records, part)
    if part.columns is None:
        texts = column_texts(records, pick_column(records, part.column))
        labels = _groups([texts, texts], groups, number, kinds, first_row)
        return TrainingTexts(texts, texts, labels, kinds, notes, source=part.train)
    with within("columns"):
        view = Fields(part.columns.anchor, part.columns.positive)
    anchors, positives = view({name: column_texts(records, name) for name in (view.anchor, view.positive)})
    hard = tuple(column_texts(records, name) for name in part.columns.hard_negatives)
    return TrainingTexts(
        list(anchors),
        list(positives),
        _groups([anchors, positives], groups, number, kinds, first_row),
        kinds,
        notes,
        hard,
        text_labels(hard)[..., None] if hard else None,
        part.train,
    )


def _blank_note(records: Records, part: Source) -> tuple[str, ...]:
    return (f"{records.blank_lines} blank lines of {part.train} were left out",) if records.blank_lines else ()


def _groups(
    texts: Sequence[Sequence[str]],
    groups: Sequence[str | None],
    number: int,
    kinds: tuple[str, ...],
    first_row: int = 0,
) -> Labels:
    """Return (N, G) labels; those of near-duplicates come later."""
    columns = [text_labels(texts)]
    if "group" in kinds:  # a row without one is in a group of its own
        named = groups or [None] * len(texts[0])
        labels = [
            _label("row", f"{number} {row}") if value is None else _label("group", f"{number} {value}")
            for row, value in enumerate(named, start=first_row)
        ]
        columns.append(np.array(labels, dtype=np.int64)[:, None])
    return np.concatenate(columns, axis=1)


def text_labels(columns: Sequence[Sequence[str]]) -> Labels:
    """Return (N, columns) labels, equal where texts are, in whichever column, block or source."""
    known = {text: _label("text", text) for column in columns for text in column}
    return np.array([[known[text] for text in column] for column in columns], dtype=np.int64).T


def _label(kind: str, value: str) -> int:
    """Return a number of 63 bits, at least 0: two among 10 million are equal by chance once in 200,000 runs."""
    digest = hashlib.blake2b(f"{kind} {value}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _near_duplicates(found: Sequence[TrainingTexts], threshold: float, progress: Progress) -> list[TrainingTexts]:
    """Return the texts with the labels of near-duplicates, over all sources and columns."""
    unique = list(dict.fromkeys(text for texts in found for column in texts.columns for text in column))
    try:
        groups = find_duplicates(unique, threshold, progress=progress)
    except ConfigError as error:  # where there is but one threshold, it needs no other name
        raise ConfigError("near_duplicates", error.got, error.expected) from None
    labels = {text: _label("near", str(group)) for text, group in zip(unique, groups.tolist(), strict=True)}

    def labels_of(columns: Sequence[Sequence[str]]) -> Labels:
        return np.array([[labels[text] for text in column] for column in columns], dtype=np.int64).T

    duplicates = len(unique) - len(np.unique(groups))
    note = f"{duplicates} of {len(unique)} different texts are near-duplicates of another, at {threshold:g}"
    done = []
    for number, texts in enumerate(found):
        near = labels_of([texts.anchors, texts.positives])
        negatives = texts.negative_groups
        if negatives is not None:
            negatives = np.concatenate([negatives, labels_of(texts.hard_negatives)[..., None]], axis=2)
        groups_of = np.concatenate([texts.groups[:, :2], near, texts.groups[:, 2:]], axis=1)
        notes = texts.notes if number else (*texts.notes, note)  # it is one of all of them
        done.append(replace(texts, groups=groups_of, negative_groups=negatives, notes=notes))
    return done
