"""Recipe sections → encoder, views, pairs and method. Faults of a component get their section's name here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.assemble.sides import make_side, open_store
from textcl.assemble.views import make_chain, make_pair_view
from textcl.corpus.collection import corpus_file, is_collection, read_texts
from textcl.corpus.readers import Records, column_texts, pick_column, read_records
from textcl.encoder.forward import excludes_prompt
from textcl.encoder.heads import Projector
from textcl.encoder.load import load_encoder, prompt_of
from textcl.errors import ConfigError, ConfigErrors, raise_all
from textcl.losses.info_nce import InfoNCE
from textcl.methods.simclr import SimCLR
from textcl.progress import Progress
from textcl.randomness import key_of
from textcl.recipe.models import DataRecipe, EncoderRecipe, Recipe, SimCLRRecipe
from textcl.training.batches import PairSource
from textcl.views.fields import Fields
from textcl.views.view import Chain, PairView, kinds_of


class Faults:
    """Collects the ConfigErrors of several components, so that all are reported together."""

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []

    @contextmanager
    def of(self, section: str) -> Iterator[None]:
        """Keep a ConfigError raised in the block, with `section.` before its field."""
        try:
            yield
        except ConfigErrors as several:
            self.errors += several.within(section).errors
        except ConfigError as error:
            self.errors.append(error.within(section))

    def report(self) -> None:
        """Raise what was collected."""
        raise_all(self.errors)


@dataclass(frozen=True)
class TrainingTexts:
    """The two sides of N training pairs, and the labels of rows that mean the same.

    Args:
        anchors: N texts.
        positives: N texts; the same list as `anchors` for single texts.
        groups: (N, G) labels, as PairBatch has them.
        notes: What a reader of the run should know about the data.
    """

    anchors: list[str]
    positives: list[str]
    groups: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def make_encoder(recipe: EncoderRecipe, device: str) -> SentenceTransformer:
    """Return the encoder of a recipe."""
    return load_encoder(
        recipe.model,
        pooling=recipe.pooling,
        max_tokens=recipe.max_tokens,
        dropout=recipe.dropout,
        prompts=None if recipe.prompts is None else recipe.prompts.model_dump(),
        device=device,
    )


def make_method(recipe: SimCLRRecipe, encoder: SentenceTransformer) -> SimCLR:
    """Return the method of a recipe around `encoder`."""
    loss = InfoNCE(recipe.temperature, symmetric=recipe.symmetric, same_side=recipe.same_side)
    projector = None
    if recipe.projector is not None:
        width = encoder.get_embedding_dimension() or 0
        try:
            projector = Projector(width, recipe.projector.hidden, recipe.projector.out)
        except ConfigError as error:
            raise error.within("projector") from None
    return SimCLR(encoder, loss, projector)


@dataclass(frozen=True)
class Components:
    """What a recipe's encoder, views and method sections become."""

    encoder: SentenceTransformer
    first: Chain
    second: Chain
    pair: PairView | None
    method: SimCLR


def make_components(recipe: Recipe, device: str) -> Components:
    """Return all components of a recipe; their faults come together."""
    faults = Faults()
    with faults.of("encoder"):
        encoder = make_encoder(recipe.encoder, device)
    if faults.errors:
        if faults.errors[0].field == "encoder.model":
            faults.report()
        # The other components need an encoder; the recipe's settings of it are at fault, so any will do to find theirs.
        encoder = make_encoder(EncoderRecipe(model=recipe.encoder.model), device)
    sides = {}
    for side, views in (("first", recipe.views.first), ("second", recipe.views.second)):
        with faults.of(f"views.{side}"):
            sides[side] = make_chain(views, encoder, f"views.{side}")
            if recipe.views.pair is not None:
                _check_tokens_alone(sides[side])
    pair: PairView | None = None
    with faults.of("views.pair"):
        pair = make_pair_view(recipe.views.pair)
    method = None
    with faults.of("method"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_of(recipe.seed, "heads"))  # what a head starts from belongs to the run too
        method = make_method(recipe.method, encoder)
    faults.report()
    assert method is not None
    return Components(encoder, sides["first"], sides["second"], pair, method)


def _check_tokens_alone(side: Chain) -> None:
    """Raise ConfigError if a view would have to come before the pair view, which cuts tokens."""
    problem = "works on text, but views.pair cuts tokens first; use views of tokens"
    for number, link in enumerate(side.links):
        if kinds_of(link) - {"tokens"}:
            raise ConfigError(str(number), problem=problem)


def read_training_texts(recipe: DataRecipe, progress: Progress) -> TrainingTexts:
    """Return the texts that a recipe's `data` section names."""
    folder = is_collection(recipe.train)
    if folder and recipe.columns is None and recipe.group is None:
        texts = read_texts(recipe.train, column=recipe.column, limit=recipe.limit).texts
        return TrainingTexts(texts, texts, _labels([texts]))
    # The fields of a BEIR folder's documents, such as title and text, are columns like any other.
    source = corpus_file(recipe.train) if folder else recipe.train
    records = read_records(source, limit=recipe.limit, progress=progress)
    notes = (f"{records.blank_lines} blank lines of {recipe.train} were left out",) if records.blank_lines else ()
    labels = [] if recipe.group is None else [_group_labels(records, recipe.group)]
    if recipe.columns is None:
        texts = column_texts(records, pick_column(records, recipe.column))
        return TrainingTexts(texts, texts, _labels([texts], labels), notes)
    try:
        view = Fields(recipe.columns.anchor, recipe.columns.positive)
    except ConfigError as error:
        raise error.within("data.columns") from None
    anchors, positives = view({name: column_texts(records, name) for name in (view.anchor, view.positive)})
    return TrainingTexts(list(anchors), list(positives), _labels([anchors, positives], labels), notes)


def _labels(texts: Sequence[Sequence[str]], groups: Sequence[Sequence[str]] = ()) -> NDArray[np.int64]:
    """Return (N, G) labels: equal texts, on whichever side, have one label; equal groups another."""
    numbers: dict[tuple[str, str], int] = {}
    named = [("text", column) for column in texts] + [("group", column) for column in groups]
    columns = [[numbers.setdefault((kind, value), len(numbers)) for value in column] for kind, column in named]
    return np.array(columns, dtype=np.int64).T


def _group_labels(records: Records, column: str) -> list[str]:
    if column not in records.columns:
        raise records.fault(f"no column {column!r} for data.group; there are: {', '.join(records.columns)}")
    values = enumerate(records.dataset[column])
    # A blank cell says nothing: such a row is in a group of its own.
    return [f"row {row}" if value is None or not str(value).strip() else repr(value) for row, value in values]


def make_source(
    texts: TrainingTexts, parts: Components, recipe: Recipe, progress: Progress
) -> tuple[PairSource, int, list[str]]:
    """Return the source of training pairs, how many texts are too long for the encoder, and notes on stored views."""
    encoder = parts.encoder
    limit = encoder.max_seq_length or 512
    query, document = prompt_of(encoder, "query"), prompt_of(encoder, "document")
    if (query or document) and excludes_prompt(encoder):
        raise ConfigError(
            "encoder.prompts", problem="the model's pooling leaves prompts out, which training cannot yet"
        )
    single = texts.positives is texts.anchors
    store = open_store(recipe, str(encoder.device))
    # One text is its own pair: both sides are documents then, as the index will see them.
    first, notes = make_side(texts.anchors, document if single else query, parts.first, encoder, store, progress)
    second, more = make_side(texts.positives, document, parts.second, encoder, store, progress)
    count = len(texts.anchors)
    longer = sum(
        int((side.tokens.lengths[:count] > limit - len(side.prefix) - len(side.suffix)).sum())
        for side in ((first,) if single else (first, second))
    )
    source = PairSource(first, second, texts.groups, limit, recipe.seed, parts.pair)
    if single and not _drops(encoder) and not _sides_differ(source):
        problem = "both sides see the same text and the encoder drops nothing; set encoder.dropout, or name a view"
        raise ConfigError("views", problem=problem)
    return source, longer, [*notes, *more]


def _drops(encoder: SentenceTransformer) -> bool:
    """Tell whether the encoder has dropout, by which two passes of one text differ."""
    return any(isinstance(one, nn.Dropout) and one.p > 0 for one in encoder.modules())


def _sides_differ(source: PairSource, texts: int = 64) -> bool:
    """Tell whether the two views of any of the first texts differ, at the begin or at the end of the training."""
    rows = np.arange(min(len(source), texts))
    drawn = [source.draw_views(rows, epoch, progress) for epoch, progress in ((0, 0.0), (1, 1.0))]
    return any(first.ids.tolist() != second.ids.tolist() for first, second in drawn)
