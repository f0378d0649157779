"""Recipe sections → encoder, views, pairs and method. Faults of a component get their section's name here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.assemble.faults import Faults, within
from textcl.assemble.methods import make_method
from textcl.assemble.sides import make_side, open_store
from textcl.assemble.views import make_chain, make_pair_view
from textcl.corpus.collection import corpus_file, is_collection, read_texts
from textcl.corpus.readers import Records, column_texts, pick_column, read_records
from textcl.encoder.forward import excludes_prompt
from textcl.encoder.layers import freeze_layers
from textcl.encoder.load import load_encoder, prompt_of
from textcl.encoder.lora import add_lora
from textcl.errors import ConfigError
from textcl.methods.method import Method
from textcl.progress import Progress
from textcl.randomness import key_of
from textcl.recipe.models import DataRecipe, EncoderRecipe, Recipe
from textcl.training.batches import PairSource
from textcl.training.optimizer import parameter_groups
from textcl.views.fields import Fields
from textcl.views.view import Chain, PairView, kinds_of


@dataclass(frozen=True)
class TrainingTexts:
    """The two sides of N training pairs, and the labels of rows that mean the same.

    Args:
        anchors: N texts.
        positives: N texts; the same list as `anchors` for single texts.
        groups: (N, G) labels, as PairBatch has them.
        notes: What a reader of the run should know about the data.
        hard_negatives: H columns of N texts.
        negative_groups: (N, H) labels of these; None without any.
    """

    anchors: list[str]
    positives: list[str]
    groups: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    hard_negatives: tuple[list[str], ...] = ()
    negative_groups: NDArray[np.int64] | None = None


def make_encoder(recipe: EncoderRecipe, device: str, seed: int = 0) -> SentenceTransformer:
    """Return the encoder of a recipe, with what of it is trained; `seed` decides what LoRA starts from."""
    encoder = load_encoder(
        recipe.model,
        pooling=recipe.pooling,
        max_tokens=recipe.max_tokens,
        dropout=recipe.dropout,
        prompts=None if recipe.prompts is None else recipe.prompts.model_dump(),
        device=device,
    )
    if recipe.freeze_layers is not None:
        freeze_layers(encoder, recipe.freeze_layers)
    if not any(one.requires_grad for one in encoder.parameters()):
        raise ConfigError("freeze_layers", recipe.freeze_layers, "fewer layers: nothing is left to train")
    if recipe.lora is not None:
        with within("lora"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(key_of(seed, "lora"))
            add_lora(encoder, recipe.lora.rank, recipe.lora.alpha, recipe.lora.dropout, recipe.lora.targets)
    return encoder


@dataclass(frozen=True)
class Components:
    """What a recipe's encoder, views and method sections become."""

    encoder: SentenceTransformer
    first: Chain
    second: Chain
    pair: PairView | None
    method: Method


def make_components(recipe: Recipe, device: str) -> Components:
    """Return all components of a recipe; their faults come together."""
    faults = Faults()
    with faults.of("encoder"):
        encoder = make_encoder(recipe.encoder, device, recipe.seed)
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
        method = make_method(recipe.method, encoder, label_columns(recipe.data))
    with faults.of("training"):
        _check_training(recipe, method)
    with faults.of("data"):
        _check_negatives(recipe, method)
    faults.report()
    assert method is not None
    return Components(encoder, sides["first"], sides["second"], pair, method)


def _check_tokens_alone(side: Chain) -> None:
    """Raise ConfigError if a view would have to come before the pair view, which cuts tokens."""
    problem = "works on text, but views.pair cuts tokens first; use views of tokens"
    for number, link in enumerate(side.links):
        if kinds_of(link) - {"tokens"}:
            raise ConfigError(str(number), problem=problem)


def _check_training(recipe: Recipe, method: Method | None) -> None:
    """Raise ConfigError for what the loop's numbers and the method do not allow together."""
    loop = recipe.training
    if loop.average is not None and not 0 <= loop.average < 1:
        raise ConfigError("average", loop.average, "a share in [0, 1)")
    if method is not None:
        parameter_groups(method, loop.weight_decay, loop.layer_decay, loop.head_rate)


def _check_negatives(recipe: Recipe, method: Method | None) -> None:
    """Raise ConfigError if there are hard negatives that nobody would look at."""
    columns = recipe.data.columns
    if method is not None and columns is not None and columns.hard_negatives and not method.takes_hard_negatives:
        problem = f"the method {recipe.method.name} takes none; leave them out, or use pairs, siglip, simcse or moco"
        raise ConfigError("columns.hard_negatives", problem=problem)


def label_columns(recipe: DataRecipe) -> int:
    """Return how many label columns the texts of a recipe's `data` section have."""
    return (1 if recipe.columns is None else 2) + (recipe.group is not None)


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
    with within("data.columns"):
        view = Fields(recipe.columns.anchor, recipe.columns.positive)
    anchors, positives = view({name: column_texts(records, name) for name in (view.anchor, view.positive)})
    hard = tuple(column_texts(records, name) for name in recipe.columns.hard_negatives)
    groups = _labels([anchors, positives, *hard], labels)
    negatives = slice(2, 2 + len(hard))
    return TrainingTexts(
        list(anchors),
        list(positives),
        np.delete(groups, negatives, axis=1),
        notes,
        hard,
        groups[:, negatives] if hard else None,
    )


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
    hard = []
    for column in texts.hard_negatives:  # seen as the positives are, so that nothing but their meaning tells them apart
        side, notes_of_it = make_side(column, document, parts.second, encoder, store, progress)
        hard.append(side)
        more += notes_of_it
    count = len(texts.anchors)
    longer = sum(
        int((side.tokens.lengths[:count] > limit - len(side.prefix) - len(side.suffix)).sum())
        for side in ((first,) if single else (first, second, *hard))
    )
    source = PairSource(first, second, texts.groups, limit, recipe.seed, parts.pair, tuple(hard), texts.negative_groups)
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
    return any(first.ids.tolist() != second.ids.tolist() for first, second, *_hard in drawn)
