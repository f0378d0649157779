"""Recipe sections → encoder, views and method. Faults of a component get their section's name here."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sentence_transformers import SentenceTransformer

from textcl.assemble.faults import Faults, within
from textcl.assemble.methods import make_method
from textcl.assemble.texts import label_columns
from textcl.assemble.views import make_chain, make_pair_view
from textcl.encoder.layers import freeze_layers
from textcl.encoder.load import load_encoder
from textcl.encoder.lora import add_lora
from textcl.errors import ConfigError
from textcl.methods.method import Method
from textcl.randomness import key_of
from textcl.recipe.models import EncoderRecipe, Recipe
from textcl.training.optimizer import parameter_groups
from textcl.views.view import Chain, PairView, kinds_of


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
    """What a recipe's encoder, views and method sections become; the guide judges false negatives."""

    encoder: SentenceTransformer
    first: Chain
    second: Chain
    pair: PairView | None
    method: Method
    guide: SentenceTransformer | None = None


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
    method = guide = None
    with faults.of("method"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(key_of(recipe.seed, "heads"))  # what a head starts from belongs to the run too
        guide = _make_guide(recipe, device)
        width = 0 if guide is None else guide.get_embedding_dimension() or 0
        method = make_method(recipe.method, encoder, label_columns(recipe.data), width)
    with faults.of("training"):
        _check_training(recipe, method)
    with faults.of("negatives"):
        if recipe.negatives is not None and method is not None and not method.takes_hard_negatives:
            field = "every" if recipe.negatives.file is None else "file"
            raise ConfigError(field, problem=f"the method {recipe.method.name} takes no hard negatives")
    with faults.of("data"):
        _check_data(recipe, method)
    faults.report()
    assert method is not None
    return Components(encoder, sides["first"], sides["second"], pair, method, guide)


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


def _make_guide(recipe: Recipe, device: str) -> SentenceTransformer | None:
    chosen = getattr(recipe.method, "false_negatives", None)
    if chosen is None or chosen.guide is None:
        return None
    if any(part.stream is not None for part in recipe.data.parts):
        problem = "embeds all texts once, which data.stream does not hold; leave the guide out, and the model judges"
        raise ConfigError("false_negatives.guide", problem=problem)
    return load_encoder(chosen.guide, device=device)


def _check_data(recipe: Recipe, method: Method | None) -> None:
    """Raise ConfigError if there are hard negatives that nobody would look at, or no groups for what needs them."""
    if method is None:
        return
    fields = [
        f"{'' if len(recipe.data.parts) == 1 else f'sources.{number}.'}columns.hard_negatives"
        for number, part in enumerate(recipe.data.parts)
        if part.columns is not None and part.columns.hard_negatives
    ]
    if fields and not method.takes_hard_negatives:
        problem = f"the method {recipe.method.name} takes none; leave them out, or use pairs, siglip, simcse or moco"
        raise ConfigError(fields[0], problem=problem)
    if getattr(recipe.method, "positives", "own") == "group" and all(part.group is None for part in recipe.data.parts):
        raise ConfigError("group", problem="method.positives is group, so name the column of groups here")
