"""The `views` section of a recipe → views; stored ones wait for their texts (`assemble/sides.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

from textcl.encoder.load import tokenizer_of
from textcl.errors import ConfigError, ConfigErrors, raise_all
from textcl.randomness import RowRandom
from textcl.recipe.views import (
    ApertiumRecipe,
    BackTranslateView,
    ChainView,
    ChoiceView,
    GenerateView,
    MarianRecipe,
    PairViewRecipe,
    RampRecipe,
    SequenceSettings,
    StoredViewRecipe,
    ViewRecipe,
)
from textcl.views.apertium import Apertium
from textcl.views.back_translation import BackTranslation, Rewriter, Translator
from textcl.views.cropping import Crop, InverseCloze, Neighbours
from textcl.views.dropout import Dropout
from textcl.views.editing import Delete, Repeat, Shuffle
from textcl.views.keywords import Keywords
from textcl.views.masking import Cutoff, Mask, Replace, SpanMask
from textcl.views.sequence import Generation, SequenceModel
from textcl.views.strength import Ramp
from textcl.views.view import KINDS, AnyView, Chain, Choice, Kind, PairView, kinds_of, leaves
from textcl.views.words import LetterCase, Typos, WordDelete, WordOrder

_VIEWS: Mapping[str, Callable[..., AnyView]] = {
    "dropout": Dropout,
    "mask": Mask,
    "span_mask": SpanMask,
    "replace": Replace,
    "cutoff": Cutoff,
    "delete": Delete,
    "shuffle": Shuffle,
    "repeat": Repeat,
    "crop": Crop,
    "word_delete": WordDelete,
    "word_order": WordOrder,
    "typos": Typos,
    "letter_case": LetterCase,
    "keywords": Keywords,
}
_PAIR_VIEWS: Mapping[str, Callable[..., PairView]] = {"inverse_cloze": InverseCloze, "neighbours": Neighbours}
_FROM_TOKENIZER = {
    "mask": ("mask_id", "vocabulary"),
    "span_mask": ("mask_id",),
    "replace": ("vocabulary",),
    "cutoff": ("pad_id",),
}
_WORKS_ON = {"stored": "stored texts", "text": "text", "tokens": "tokens"}


@dataclass(frozen=True)
class Unwritten:
    """A stored view of a recipe, before it is known which texts it is for.

    Args:
        rewriter: Writes the variants, in `textcl views build` alone.
        min_similarity: Variants below it are dropped; None keeps all.
        otherwise: For texts of which no variant is left.
        fallback: The same in the recipe's words.
        place: Where it stands in the recipe.
        name: What the recipe calls it.
    """

    rewriter: Rewriter
    min_similarity: float | None
    otherwise: Chain
    fallback: str
    place: str
    name: str
    kind: ClassVar[Kind] = "stored"

    def __call__(self, rows: Any, rng: RowRandom) -> Any:  # noqa: ANN401, ARG002 (the protocol's signature)
        """Never called: `make_side` puts a drawing view in its place."""
        raise TypeError(f"{self.place} has not been given its texts")


def make_view(recipe: ViewRecipe, encoder: SentenceTransformer, place: str) -> AnyView:
    """Return one view of a recipe; its stored views are `Unwritten`.

    Raises:
        ConfigError: For a setting out of range, a token that the tokenizer lacks, or views in an impossible order.
        MissingExtraError: If a translator is not installed.
        ArtifactError: If a model is missing.
    """
    if isinstance(recipe, ChainView):
        return make_chain(recipe.of, encoder, f"{place}.of", before="of.")
    if isinstance(recipe, ChoiceView):
        return Choice(_make_all(recipe.of, encoder, f"{place}.of", "of."), recipe.weights)
    if isinstance(recipe, StoredViewRecipe):
        rewriter = make_rewriter(recipe)
        otherwise = make_chain(recipe.otherwise, encoder, f"{place}.otherwise", before="otherwise.")
        fallback = " and ".join(one.name for one in recipe.otherwise) or "the text as it is"
        return Unwritten(rewriter, recipe.min_similarity, otherwise, fallback, place, recipe.name)
    needed = {name: _token_of(encoder, recipe.name, name) for name in _FROM_TOKENIZER.get(recipe.name, ())}
    return _VIEWS[recipe.name](**needed, **_settings(recipe))


def make_chain(recipes: Sequence[ViewRecipe], encoder: SentenceTransformer, place: str, before: str = "") -> Chain:
    """Return views that follow one another; `before` stands before their numbers in the field of an error."""
    links = _make_all(recipes, encoder, place, before)
    reached = -1
    for number, (recipe, link) in enumerate(zip(recipes, links, strict=True)):
        stages = [KINDS.index(kind) for kind in _all_kinds(link)]
        if stages and (min(stages) < reached or min(stages) == reached == 0):
            problem = (
                f"{recipe.name} works on {_WORKS_ON[KINDS[min(stages)]]}, a view before it on "
                f"{_WORKS_ON[KINDS[reached]]}; put one stored view first, then views of text, then views of tokens"
            )
            raise ConfigError(f"{before}{number}", problem=problem)
        reached = max([reached, *stages])
    return Chain(links)


def _all_kinds(view: AnyView) -> set[Kind]:
    """Return the kinds in a view, with those for texts that have no stored view."""
    kinds = kinds_of(view)
    return kinds.union(*(kinds_of(plan.otherwise) for plan in unwritten(view)))


def _make_all(
    recipes: Sequence[ViewRecipe], encoder: SentenceTransformer, place: str, before: str
) -> tuple[AnyView, ...]:
    """Return all views of a list; their faults come together."""
    views, faults = list[AnyView](), list[ConfigError]()
    for number, recipe in enumerate(recipes):
        try:
            views.append(make_view(recipe, encoder, f"{place}.{number}"))
        except ConfigErrors as several:
            faults += several.within(f"{before}{number}").errors
        except ConfigError as error:
            faults.append(error.within(f"{before}{number}"))
    raise_all(faults)
    return tuple(views)


def make_pair_view(recipe: PairViewRecipe | None) -> PairView | None:
    """Return the view that makes both sides from one text, where the recipe has one."""
    return None if recipe is None else _PAIR_VIEWS[recipe.name](**_settings(recipe))


def _settings(recipe: BaseModel) -> dict[str, Any]:
    return {name: _setting(name, value) for name, value in recipe if name != "name"}


def _setting(name: str, value: object) -> object:
    if not isinstance(value, RampRecipe):
        return value
    try:
        return Ramp(value.start, value.end, value.until)
    except ConfigError as error:
        raise error.within(name) from None


def _token_of(encoder: SentenceTransformer, view: str, name: str) -> Any:  # noqa: ANN401 (an id, or an array of them)
    tokenizer = tokenizer_of(encoder)
    if name == "vocabulary":
        special = set(tokenizer.all_special_ids)
        return np.array(sorted(set(tokenizer.get_vocab().values()) - special), dtype=np.int32)
    token = tokenizer.mask_token_id if name == "mask_id" else tokenizer.pad_token_id
    if token is None:
        kind = "mask" if name == "mask_id" else "padding"
        raise ConfigError("name", view, f"another view: the encoder's tokenizer has no {kind} token")
    return int(token)


def make_rewriter(recipe: BackTranslateView | GenerateView) -> Rewriter:
    """Return what writes the views of a recipe's stored view."""
    if isinstance(recipe, GenerateView):
        return Generation(SequenceModel(recipe.model, prompt=recipe.prompt, **_writing(recipe)), recipe.variants)
    there, back = _translators(recipe.translator)
    try:
        return BackTranslation(there, back, recipe.variants)
    except ConfigError as error:
        raise (error.within("translator") if error.field == "back" else error) from None


def _translators(recipe: ApertiumRecipe | MarianRecipe) -> tuple[Translator, Translator]:
    try:
        if isinstance(recipe, ApertiumRecipe):
            return Apertium(recipe.source, recipe.pivot), Apertium(recipe.pivot, recipe.source)
        home = {"beams": recipe.beams, "sampling": False}  # one way home from each pivot: the likeliest
        return SequenceModel(recipe.there, **_writing(recipe)), SequenceModel(recipe.back, **_writing(recipe, **home))
    except ConfigError as error:
        field = {"target": "pivot"}.get(error.field, error.field)
        raise ConfigError(f"translator.{field}", error.got, error.expected, error.problem) from None


def _writing(recipe: SequenceSettings, **instead: Any) -> dict[str, Any]:  # noqa: ANN401 (settings of any type)
    return {name: instead.get(name, getattr(recipe, name)) for name in SequenceSettings.model_fields}


def unwritten(view: AnyView) -> list[Unwritten]:
    """Return the stored views in a composition, those for texts without others too."""
    found = []
    for leaf in leaves(view):
        if isinstance(leaf, Unwritten):
            found += [leaf, *unwritten(leaf.otherwise)]
    return found
