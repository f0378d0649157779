"""What chooses among the steps of a run, and how much of the training its weights should have."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from textcl.assemble.evaluating import rank_collection
from textcl.assemble.faults import within
from textcl.assemble.paraphrases import paraphrases_use
from textcl.assemble.uses import (
    Use,
    anomalies_use,
    clusters_use,
    geometry_use,
    pairs_use,
    probe_use,
    sts_use,
)
from textcl.corpus.collection import Collection, read_collection, reduced
from textcl.encoder.interpolate import interpolate
from textcl.errors import ConfigError, DataError
from textcl.evaluation.measures import depth_of, score_run
from textcl.recipe.measuring import USES, DevelopmentRecipe
from textcl.recipe.models import Recipe
from textcl.training.best import worth
from textcl.training.health import MEASURES
from textcl.training.settings import ChoiceSettings

Measure = Callable[[SentenceTransformer], dict[str, float]]

_USES: dict[str, tuple[Callable[..., Use[Any]], tuple[str, ...]]] = {
    "sts": (sts_use, ("spearman",)),
    "pairs": (pairs_use, ("average_precision", "f1", "accuracy")),
    "probe": (probe_use, ("accuracy", "macro_f1")),
    "clusters": (clusters_use, ("v_measure", "homogeneity", "completeness")),
    "anomalies": (anomalies_use, ("auroc", "average_precision")),
    "paraphrases": (paraphrases_use, ("average_precision", "f1")),
    "geometry": (
        geometry_use,
        ("uniformity", "effective_rank", "mean_cosine", "hub_skew", "robin_hood", "never_near_fraction",
         "near_duplicate_fraction", "alignment"),
    ),
}  # fmt: skip
"""What makes each, and its measures; the first one chooses where nothing else is said."""
_WORST = {
    "spearman": -1.0, "mean_cosine": 1.0, "hub_skew": 1000.0, "robin_hood": 1.0, "never_near_fraction": 1.0,
    "near_duplicate_fraction": 1.0, "alignment": 4.0,
}  # fmt: skip
"""Of those whose worst value is not 0."""


@dataclass(frozen=True)
class Development:
    """Data that chooses, held apart from the data that is reported on.

    Args:
        collection: Judged queries and documents, or None.
        measures: Of the collection.
        uses: Other ways to judge, by name.
    """

    collection: Collection | None
    measures: tuple[str, ...]
    uses: Mapping[str, Use[Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """The measures, in the order in which they come."""
        of_uses = (_called(name, measure) for name, use in self.uses.items() for measure in _measures(name, use))
        return (*(self.measures if self.collection is not None else ()), *of_uses)

    def measure(self, encoder: SentenceTransformer) -> dict[str, float]:
        """Return what an encoder reaches, by name; the worst value where none can be told, as of a collapsed one."""
        found = {}
        if self.collection is not None:
            run = rank_collection(encoder, self.collection, self.measures).run
            scores = score_run(run, self.collection.qrels, self.measures)
            found = {name: fmean(values.values()) for name, values in scores.items()}
        for name, use in self.uses.items():
            own = _measures(name, use)
            try:
                result = use.of(encoder)
            except DataError:
                found |= {_called(name, one): _WORST.get(one, 0.0) for one in own}
                continue
            measures = result.result.to_json() if name == "paraphrases" else result.to_json()
            found |= {_called(name, one): _number(measures[one]) for one in own}
        return found


def _called(use: str, measure: str) -> str:
    return measure if use == "sts" else f"{use}/{measure}"


def _measures(name: str, use: Use[Any]) -> tuple[str, ...]:
    """Return the measures of a use; alignment needs pairs."""
    return tuple(one for one in _USES[name][1] if one != "alignment" or len(use.sides) > 1)


def _number(value: float | Mapping[str, float]) -> float:
    """Return a measure without what is said beside it."""
    if isinstance(value, Mapping):
        return float(value["value"] if "value" in value else value["mean"])
    return float(value)


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
        return Development(evaluated, recipe.evaluation.measures, {})
    with within("development"):
        depth_of(chosen.measures)
    collection = None
    if chosen.collection is not None:
        collection = reduced(read_collection(chosen.collection, chosen.split), chosen.most)
    development = Development(collection, chosen.measures, _read_uses(chosen))
    watched = MEASURES if recipe.training.health is not None else ()
    if chosen.by is not None and chosen.by not in (*development.names, *watched):
        if chosen.by in MEASURES:
            raise ConfigError("development.by", problem=f"{chosen.by} is a measure of training.health, which is null")
        raise ConfigError("development.by", chosen.by, f"one of {', '.join((*development.names, *watched))}")
    return development


def _read_uses(chosen: DevelopmentRecipe) -> dict[str, Use[Any]]:
    uses: dict[str, Use[Any]] = {}
    if chosen.sts is not None:
        uses["sts"] = sts_use(chosen.sts, split=chosen.sts_split, resamples=None, most=chosen.most)
    for name in USES:
        section = getattr(chosen, name)
        if section is None:
            continue
        with within(f"development.{name}"):
            uses[name] = _USES[name][0](**section.model_dump(), most=chosen.most)
    return uses


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
