"""Texts and components → the sources that batches are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.assemble.components import Components
from textcl.assemble.sides import make_side, open_store
from textcl.assemble.texts import AnyTexts, StreamedTexts, TrainingTexts, hard_columns
from textcl.assemble.views import Unwritten
from textcl.encoder.forward import excludes_prompt
from textcl.encoder.load import prompt_of
from textcl.encoder.vector_files import cached_vectors
from textcl.errors import ConfigError
from textcl.methods.method import ABSENT, PairBatch
from textcl.progress import Progress, quiet
from textcl.recipe.models import Recipe
from textcl.training.batches import draw_from
from textcl.training.sources import HardNegatives, Lookup, PairSource, Source
from textcl.views.keywords import Keywords
from textcl.views.view import leaves

_BLOCKS_HELD = 2  # a batch may reach from one into the next


def make_sources(
    texts: Sequence[AnyTexts], parts: Components, recipe: Recipe, progress: Progress
) -> tuple[list[Source], int, list[str]]:
    """Return the sources of training pairs, how many texts are too long for the encoder, and notes on stored views."""
    sources: list[Source] = []
    longer, notes = 0, list[str]()
    check_streamed(texts, parts)
    # Processes have different rows of a mixed batch, and must have as many columns of hard negatives as each other.
    columns = hard_columns(recipe.data) if getattr(recipe.data, "batches", None) == "mixed" else 0
    for one in texts:
        if isinstance(one, StreamedTexts):
            stream = StreamSource(one, parts, recipe, columns)
            _check_sides(stream[0], one.single, parts.encoder)
            sources.append(stream)
            continue
        source, found, more = make_source(one, parts, recipe, progress, columns)
        sources.append(source)
        longer += found
        notes += more
    return sources, longer, notes


def make_source(
    texts: TrainingTexts, parts: Components, recipe: Recipe, progress: Progress, columns: int = 0
) -> tuple[PairSource, int, list[str]]:
    """Return one source that is held in memory, with the same; it has at least so many columns of hard negatives."""
    source, notes = _pair_source(texts, parts, recipe, progress, columns)
    limit, count = source.max_tokens, len(texts)
    sides = [source.first] if texts.single else [source.first, source.second]
    counts = [count] * len(sides)
    if source.hard_negatives is not None and texts.hard_negatives:
        sides.append(source.hard_negatives.side)
        counts.append(len(source.hard_negatives.labels))
    longer = sum(
        int((side.tokens.lengths[:rows] > limit - len(side.prefix) - len(side.suffix)).sum())
        for side, rows in zip(sides, counts, strict=True)
    )
    _check_sides(source, texts.single, parts.encoder)
    return source, longer, notes


def _pair_source(
    texts: TrainingTexts,
    parts: Components,
    recipe: Recipe,
    progress: Progress,
    columns: int = 0,
    first_row: int = 0,
    keep_tokens: bool = True,
) -> tuple[PairSource, list[str]]:
    encoder = parts.encoder
    limit = encoder.max_seq_length or 512
    query, document = prompt_of(encoder, "query"), prompt_of(encoder, "document")
    if (query or document) and excludes_prompt(encoder):
        raise ConfigError(
            "encoder.prompts", problem="the model's pooling leaves prompts out, which training cannot yet"
        )
    store = open_store(recipe, str(encoder.device))
    # One text is its own pair: both sides are documents then, as the index will see them.
    anchor_prompt = document if texts.single else query
    first, notes = make_side(texts.anchors, anchor_prompt, parts.first, encoder, store, progress, keep_tokens)
    second, more = make_side(texts.positives, document, parts.second, encoder, store, progress, keep_tokens)
    negatives = None
    if table := _table(texts, columns):
        negatives, notes_of_it = make_negatives(*table, parts, recipe, progress, keep_tokens)
        more += notes_of_it
    guide = None
    if parts.guide is not None:
        anchors = look_up(parts.guide, texts.anchors, "document" if texts.single else "query", progress)
        guide = (anchors, anchors if texts.single else look_up(parts.guide, texts.positives, "document", progress))
    source = PairSource(
        first, second, texts.groups, limit, recipe.seed, parts.pair, negatives, texts.kinds, guide, first_row
    )
    return source, [*notes, *more]


def _table(texts: TrainingTexts, columns: int) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the hard negatives' texts, labels and places, as `make_negatives` takes them, or None without any.

    Args:
        texts: Their columns of hard negatives are taken.
        columns: Where they have fewer, the places of the others are empty.
    """
    count, own = len(texts), len(texts.hard_negatives)
    empty = ((0, 0), (0, max(columns - own, 0)))
    if texts.negative_groups is None:
        if not columns:
            return None
        nowhere = np.full((count, 0), ABSENT, dtype=np.int64)
        kinds = len(set(texts.kinds) - {"group"})  # of labels, as hard negatives of other sources have them
        return texts.positives[:1], texts.groups[:1, :kinds], np.pad(nowhere, empty, constant_values=ABSENT)
    places = np.arange(count)[:, None] + count * np.arange(own)[None, :]
    labels = texts.negative_groups.transpose(1, 0, 2).reshape(count * own, -1)
    table = [text for column in texts.hard_negatives for text in column]
    return table, labels, np.pad(places, empty, constant_values=ABSENT)


def make_negatives(
    texts: list[str],
    labels: NDArray[np.int64],
    places: NDArray[np.int64],
    parts: Components,
    recipe: Recipe,
    progress: Progress,
    keep_tokens: bool = True,
) -> tuple[HardNegatives, list[str]]:
    """Return hard negatives, seen as the positives are, so that nothing but their meaning tells them apart.

    Args:
        texts: M texts.
        labels: (M, F), as HardNegatives has them.
        places: (N, H), as HardNegatives has them.
        parts: Their encoder, second view and guide are taken.
        recipe: Names the store of views.
        progress: Told of texts tokenised and embedded.
        keep_tokens: Whether their tokens are kept on disk for the next run.
    """
    encoder = parts.encoder
    document = prompt_of(encoder, "document")
    store = open_store(recipe, str(encoder.device))
    side, notes = make_side(texts, document, parts.second, encoder, store, progress, keep_tokens)
    guide = None if parts.guide is None else look_up(parts.guide, texts, "document", progress)
    return HardNegatives(side, labels, places, guide), notes


def look_up(
    guide: SentenceTransformer, texts: Sequence[str], side: Literal["query", "document"], progress: Progress
) -> Lookup:
    """Return the guide's embeddings of texts, each different one embedded once and kept on disk for later runs."""
    numbers: dict[str, int] = {}
    places = [numbers.setdefault(text, len(numbers)) for text in texts]
    prompt = prompt_of(guide, side)
    vectors = cached_vectors(
        guide, list(numbers), prompt=prompt, progress=progress, description="embed by the guide"
    ).vectors
    return Lookup(vectors, np.array(places, dtype=np.int64))


class StreamSource:
    """N pairs of which two blocks are in memory at a time; block b is a source of its own.

    Args:
        texts: What is read.
        parts: The encoder, whose tokenizer is used, and the views.
        recipe: Its seed decides the views.
        columns: Of hard negatives, at least.
    """

    def __init__(self, texts: StreamedTexts, parts: Components, recipe: Recipe, columns: int = 0) -> None:
        self.texts, self.parts, self.recipe, self.seed, self.columns = texts, parts, recipe, recipe.seed, columns
        self._blocks: dict[int, PairSource] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, number: int) -> PairSource:
        """Return block `number`."""
        if number not in self._blocks:
            if len(self._blocks) == _BLOCKS_HELD:
                del self._blocks[next(iter(self._blocks))]
            texts, first_row = self.texts.read(number), number * self.texts.block
            self._blocks[number], _notes = _pair_source(
                texts, self.parts, self.recipe, quiet, self.columns, first_row, keep_tokens=False
            )
        return self._blocks[number]

    def draw(self, rows: NDArray[np.int64], epoch: int, progress: float = 0.0) -> PairBatch:
        """Return the pairs of `rows` (B,) as they are seen in `epoch`, when the share `progress` of the run is done."""
        blocks, places = np.divmod(rows, self.texts.block)
        return draw_from(self, np.stack([blocks, places, np.full(len(rows), epoch)], axis=1), progress)


def check_streamed(texts: Sequence[AnyTexts], parts: Components) -> None:
    """Raise ConfigError if a view needs all texts at once and some are streamed."""
    if not any(isinstance(one, StreamedTexts) for one in texts):
        return
    for side, view in (("first", parts.first), ("second", parts.second)):
        if any(isinstance(leaf, Keywords | Unwritten) for leaf in leaves(view)):
            problem = "keywords and stored views need all texts at once, which data.stream does not hold"
            raise ConfigError(f"views.{side}", problem=problem)


def _check_sides(source: PairSource, single: bool, encoder: SentenceTransformer) -> None:
    """Raise ConfigError if both sides of single texts would be the same to the encoder."""
    if single and not _drops(encoder) and not _sides_differ(source):
        problem = "both sides see the same text and the encoder drops nothing; set encoder.dropout, or name a view"
        raise ConfigError("views", problem=problem)


def _drops(encoder: SentenceTransformer) -> bool:
    """Tell whether the encoder has dropout, by which two passes of one text differ."""
    return any(isinstance(one, nn.Dropout) and one.p > 0 for one in encoder.modules())


def _sides_differ(source: PairSource, texts: int = 64) -> bool:
    """Tell whether the two views of any of the first texts differ, at the begin or at the end of the training."""
    rows = np.arange(min(len(source), texts))
    drawn = [source.draw_views(rows, epoch, progress) for epoch, progress in ((0, 0.0), (1, 1.0))]
    return any(first.ids.tolist() != second.ids.tolist() for first, second in drawn)
