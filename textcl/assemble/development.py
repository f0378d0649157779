"""What chooses among the steps of a run, and how much of the training its weights should have."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean

import torch
from sentence_transformers import SentenceTransformer

from textcl.assemble.evaluating import GradedPairs, rank_collection, read_graded_pairs, score_pairs
from textcl.assemble.faults import within
from textcl.corpus.collection import Collection, read_collection
from textcl.encoder.interpolate import interpolate
from textcl.errors import ConfigError, DataError
from textcl.evaluation.measures import depth_of, score_run
from textcl.recipe.models import Recipe
from textcl.training.best import worth
from textcl.training.health import MEASURES
from textcl.training.settings import ChoiceSettings

Measure = Callable[[SentenceTransformer], dict[str, float]]


@dataclass(frozen=True)
class Development:
    """Data that chooses, held apart from the data that is reported on.

    Args:
        collection: Judged queries and documents, or None.
        measures: Of the collection.
        pairs: Graded pairs, or None; their measure is `spearman`.
    """

    collection: Collection | None
    measures: tuple[str, ...]
    pairs: GradedPairs | None

    @property
    def names(self) -> tuple[str, ...]:
        """The measures, in the order in which they come."""
        return (*(self.measures if self.collection is not None else ()), *(("spearman",) if self.pairs else ()))

    def measure(self, encoder: SentenceTransformer) -> dict[str, float]:
        """Return what an encoder reaches, by name; without a correlation, where all embeddings are one, 0."""
        found = {}
        if self.collection is not None:
            run = rank_collection(encoder, self.collection, self.measures).run
            scores = score_run(run, self.collection.qrels, self.measures)
            found = {name: fmean(values.values()) for name, values in scores.items()}
        if self.pairs is not None:
            try:
                found["spearman"] = score_pairs(encoder, self.pairs).spearman
            except DataError:
                found["spearman"] = 0.0
        return found


def read_development(recipe: Recipe, evaluated: Collection | None) -> Development | None:
    """Return what a run chooses by: its `development` section, else what it is evaluated on, or None.

    Raises:
        ConfigError: If a measure is unknown, or the one that chooses is not measured.
        DataError: For wrong data.
    """
    chosen = recipe.development
    if chosen is None:
        if evaluated is None or recipe.evaluation is None:
            return None
        return Development(evaluated, recipe.evaluation.measures, None)
    collection = pairs = None
    if chosen.collection is not None:
        with within("development"):
            depth_of(chosen.measures)
        collection = read_collection(chosen.collection, chosen.split)
    if chosen.sts is not None:
        pairs = read_graded_pairs(chosen.sts, split=chosen.sts_split)
    development = Development(collection, chosen.measures, pairs)
    watched = MEASURES if recipe.training.health is not None else ()
    if chosen.by is not None and chosen.by not in (*development.names, *watched):
        if chosen.by in MEASURES:
            raise ConfigError("development.by", problem=f"{chosen.by} is a measure of training.health, which is null")
        raise ConfigError("development.by", chosen.by, f"one of {', '.join((*development.names, *watched))}")
    return development


def choice_of(recipe: Recipe) -> ChoiceSettings:
    """Return which step's weights a run leaves."""
    if recipe.development is not None:
        chosen = recipe.development
        return ChoiceSettings(chosen.keep, chosen.by, chosen.patience)
    return ChoiceSettings("last" if recipe.evaluation is None else recipe.evaluation.keep)


def interpolate_best(
    encoder: SentenceTransformer, base: SentenceTransformer, shares: tuple[float, ...], measure: Measure, by: str | None
) -> tuple[float, dict[float, dict[str, float]]]:
    """Give an encoder the share of its trained weights, the rest from `base`, that measures best.

    Args:
        encoder: Changed in place.
        base: What it was before training.
        shares: To be tried; 1, the trained weights alone, is tried too, and wins where others are no better.
        measure: Measures an encoder.
        by: The measure that chooses; None takes the first.

    Returns:
        The share, and what each share measured.
    """
    trained = copy.deepcopy(encoder)
    found: dict[float, dict[str, float]] = {}
    for share in sorted({1.0, *shares}, reverse=True):
        _set_share(encoder, trained, base, share)
        found[share] = measure(encoder)
    best = max(found, key=lambda share: worth(found[share], by))
    _set_share(encoder, trained, base, best)
    return best, found


def _set_share(
    encoder: SentenceTransformer, trained: SentenceTransformer, base: SentenceTransformer, share: float
) -> None:
    with torch.no_grad():
        encoder.load_state_dict(trained.state_dict())
    interpolate(encoder, base, share)


def to_json(found: Mapping[float, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return what each share measured, by the share in words."""
    return {f"{share:g}": dict(measures) for share, measures in found.items()}
