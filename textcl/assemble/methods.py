"""The `method` section of a recipe → a method around an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.assemble.faults import within
from textcl.encoder.heads import Projector
from textcl.errors import ConfigError
from textcl.losses import BarlowTwins as BarlowTwinsLoss
from textcl.losses import (
    InfoNCE,
    Learned,
    Matryoshka,
    Scheduled,
    Sigmoid,
    SimilarityDistillation,
    Uniformity,
)
from textcl.losses import VICReg as VICRegLoss
from textcl.losses.false_negatives import FalseNegatives
from textcl.methods import BYOL, BarlowTwins, MoCo, Pairs, Regulariser, SimCLR, SimCSE, SimSiam, VICReg
from textcl.methods.masks import Masker
from textcl.methods.method import Method
from textcl.recipe.methods import (
    BarlowTwinsRecipe,
    BYOLRecipe,
    LearnedRecipe,
    MatryoshkaRecipe,
    MethodRecipe,
    MoCoRecipe,
    PairsRecipe,
    PredictorRecipe,
    ProjectorRecipe,
    ScheduledRecipe,
    SigLIPRecipe,
    SimCLRRecipe,
    SimCSERecipe,
    SimSiamRecipe,
    TemperatureRecipe,
    VICRegRecipe,
)

_Regularisers = Mapping[str, Regulariser]


def make_method(recipe: MethodRecipe, encoder: SentenceTransformer, labels: int = 1, guide_width: int = 0) -> Method:
    """Return the method of a recipe around `encoder`.

    Args:
        recipe: The section.
        encoder: Trained in place.
        labels: Label columns of a row of the training data.
        guide_width: Of the embeddings of a guide; 0 without one.

    Raises:
        ConfigError: If a setting is out of range.
    """
    if recipe.name == "moco":
        return _moco(recipe, encoder, _regularisers(recipe, encoder), labels, guide_width)
    make: Callable[..., Method] = _MAKERS[recipe.name]
    return make(recipe, encoder, _regularisers(recipe, encoder))


def _simclr(recipe: SimCLRRecipe, encoder: SentenceTransformer, added: _Regularisers) -> Method:
    loss = _info_nce(recipe, symmetric=recipe.symmetric, same_side=recipe.same_side)
    head = _projector(recipe.projector, encoder)
    return SimCLR(encoder, _cut(loss, recipe.matryoshka, encoder, head, "projector"), head, added, _masker(recipe))


def _simcse(recipe: SimCSERecipe, encoder: SentenceTransformer, added: _Regularisers) -> Method:
    loss = _cut(_info_nce(recipe), recipe.matryoshka, encoder, recipe.head or None, "head")
    return SimCSE(encoder, loss, recipe.head, added, _masker(recipe))


def _pairs(recipe: PairsRecipe, encoder: SentenceTransformer, added: _Regularisers) -> Method:
    loss = _info_nce(recipe, symmetric=recipe.symmetric, same_side=recipe.same_side)
    return Pairs(encoder, _cut(loss, recipe.matryoshka, encoder), regularisers=added, masker=_masker(recipe))


def _siglip(recipe: SigLIPRecipe, encoder: SentenceTransformer, added: _Regularisers) -> Method:
    loss = Sigmoid(_temperature(recipe.temperature), recipe.bias)
    return Pairs(encoder, _cut(loss, recipe.matryoshka, encoder), regularisers=added, masker=_masker(recipe))


def _moco(
    recipe: MoCoRecipe, encoder: SentenceTransformer, added: _Regularisers, labels: int, guide_width: int
) -> Method:
    projector = _projector(recipe.projector, encoder)
    return MoCo(
        encoder,
        _cut(_info_nce(recipe), recipe.matryoshka, encoder, projector, "projector"),
        queue_size=recipe.queue_size,
        momentum=recipe.momentum,
        projector=projector,
        symmetric=recipe.symmetric,
        width=None if recipe.projector is None else recipe.projector.out,
        labels=labels,
        regularisers=added,
        masker=_masker(recipe),
        guide_width=guide_width,
    )


def _byol(recipe: BYOLRecipe, encoder: SentenceTransformer, added: _Regularisers) -> Method:
    return BYOL(
        encoder,
        _needed_projector(recipe.projector, encoder),
        None if recipe.predictor is None else _predictor(recipe.predictor, recipe.projector.out),
        momentum=recipe.momentum,
        rise=recipe.rise,
        regularisers=added,
    )


def _simsiam(recipe: SimSiamRecipe, encoder: SentenceTransformer, added: _Regularisers) -> Method:
    return SimSiam(
        encoder,
        _needed_projector(recipe.projector, encoder),
        _predictor(recipe.predictor, recipe.projector.out),
        stop_gradient=recipe.stop_gradient,
        regularisers=added,
    )


def _barlow_twins(recipe: BarlowTwinsRecipe, encoder: SentenceTransformer, added: _Regularisers) -> Method:
    return BarlowTwins(
        encoder, BarlowTwinsLoss(recipe.off_diagonal_weight, recipe.scale), _projector(recipe.projector, encoder), added
    )


def _vicreg(recipe: VICRegRecipe, encoder: SentenceTransformer, added: _Regularisers) -> Method:
    loss = VICRegLoss(recipe.invariance, recipe.variance, recipe.covariance)
    return VICReg(encoder, loss, _projector(recipe.projector, encoder), added)


_MAKERS: Mapping[str, Callable[..., Method]] = {
    "simclr": _simclr,
    "simcse": _simcse,
    "pairs": _pairs,
    "siglip": _siglip,
    "byol": _byol,
    "simsiam": _simsiam,
    "barlow_twins": _barlow_twins,
    "vicreg": _vicreg,
}


def _masker(recipe: SimCLRRecipe | SimCSERecipe | PairsRecipe | SigLIPRecipe | MoCoRecipe) -> Masker:
    chosen, positives = recipe.false_negatives, getattr(recipe, "positives", "own")
    with within("false_negatives"):
        judge = None if chosen is None else FalseNegatives(chosen.above, chosen.margin)
    return Masker(judge, group_positives=positives == "group")


def _info_nce(recipe: SimCLRRecipe | SimCSERecipe | PairsRecipe | MoCoRecipe, **sides: bool) -> InfoNCE:
    return InfoNCE(
        _temperature(recipe.temperature),
        decoupled=recipe.decoupled,
        label_smoothing=recipe.label_smoothing,
        hardness=recipe.hardness,
        **sides,
    )


def _temperature(recipe: TemperatureRecipe) -> float | nn.Module:
    if isinstance(recipe, float | int):
        return recipe
    with within("temperature"):
        if isinstance(recipe, ScheduledRecipe):
            return Scheduled(recipe.start, recipe.end)
        assert isinstance(recipe, LearnedRecipe)
        try:
            return Learned(recipe.learned, recipe.least, recipe.most)
        except ConfigError as error:
            field = "learned" if error.field == "start" else error.field
            raise ConfigError(field, error.got, error.expected, error.problem) from None


def _cut(
    loss: nn.Module,
    recipe: MatryoshkaRecipe | None,
    encoder: SentenceTransformer,
    head: object = None,
    field: str = "",
) -> nn.Module:
    """Return the loss on the first dimensions, too, where the recipe wants it."""
    if recipe is None:
        return loss
    if head is not None:
        problem = f"cuts embeddings, but the loss sees what method.{field} makes of them; leave that out"
        raise ConfigError("matryoshka", problem=problem)
    with within("matryoshka"):
        width = encoder.get_embedding_dimension() or 0
        if any(dimension > width for dimension in recipe.dimensions):
            raise ConfigError("dimensions", list(recipe.dimensions), f"at most {width}, the encoder's width")
        return Matryoshka(loss, recipe.dimensions, recipe.weights)


def _projector(recipe: ProjectorRecipe | None, encoder: SentenceTransformer) -> Projector | None:
    return None if recipe is None else _needed_projector(recipe, encoder)


def _needed_projector(recipe: ProjectorRecipe, encoder: SentenceTransformer) -> Projector:
    with within("projector"):
        return Projector(
            encoder.get_embedding_dimension() or 0,
            recipe.hidden,
            recipe.out,
            layers=recipe.layers,
            norm=recipe.norm,
            norm_out=recipe.norm_out,
        )


def _predictor(recipe: PredictorRecipe, width: int) -> Projector:
    with within("predictor"):
        return Projector(width, recipe.hidden, width, layers=recipe.layers, norm=recipe.norm)


def _regularisers(recipe: Any, encoder: SentenceTransformer) -> dict[str, Regulariser]:  # noqa: ANN401 (any method's)
    added = {}
    if (chosen := recipe.uniformity) is not None:
        with within("uniformity"):
            added["uniformity"] = Regulariser(chosen.weight, Uniformity(chosen.t))
    if (kept := recipe.distillation) is not None:
        with within("distillation"):
            added["distillation"] = Regulariser(kept.weight, SimilarityDistillation(kept.temperature), encoder)
    return added
