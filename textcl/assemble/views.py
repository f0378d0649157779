"""The `views` section of a recipe → views, and the table of stored views that they draw from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

import datasets
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

from textcl.corpus.token_files import cached_tokens
from textcl.corpus.tokens import special_tokens, tokenise
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import fingerprint_encoder, load_encoder, tokenizer_of
from textcl.errors import ConfigError
from textcl.progress import Progress
from textcl.randomness import RowRandom
from textcl.recipe.models import Recipe
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
from textcl.training.batches import Side
from textcl.views.apertium import Apertium
from textcl.views.back_translation import BackTranslation, Rewriter, Translator
from textcl.views.cropping import Crop, InverseCloze, Neighbours
from textcl.views.dropout import Dropout
from textcl.views.editing import Delete, Repeat, Shuffle
from textcl.views.keywords import Keywords
from textcl.views.masking import Cutoff, Mask, Replace, SpanMask
from textcl.views.sequence import Generation, SequenceModel
from textcl.views.store import Stored, ViewStore, differences
from textcl.views.strength import Ramp
from textcl.views.view import KINDS, AnyView, Chain, Choice, Kind, PairView, Where, kinds_of, leaves, replaced
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
        place: Where it stands in the recipe.
        name: What the recipe calls it.
    """

    rewriter: Rewriter
    min_similarity: float | None
    otherwise: Chain
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
        options = [_nested(one, encoder, f"{place}.of", "of.", number) for number, one in enumerate(recipe.of)]
        return Choice(tuple(options), recipe.weights)
    if isinstance(recipe, StoredViewRecipe):
        rewriter = make_rewriter(recipe)
        otherwise = make_chain(recipe.otherwise, encoder, f"{place}.otherwise", before="otherwise.")
        return Unwritten(rewriter, recipe.min_similarity, otherwise, place, recipe.name)
    needed = {name: _token_of(encoder, recipe.name, name) for name in _FROM_TOKENIZER.get(recipe.name, ())}
    return _VIEWS[recipe.name](**needed, **_settings(recipe))


def make_chain(recipes: Sequence[ViewRecipe], encoder: SentenceTransformer, place: str, before: str = "") -> Chain:
    """Return views that follow one another; `before` stands before their numbers in the field of an error."""
    links: list[AnyView] = []
    reached = -1
    for number, recipe in enumerate(recipes):
        link = _nested(recipe, encoder, place, before, number)
        stages = [KINDS.index(kind) for kind in kinds_of(link)]
        if stages and (min(stages) < reached or (min(stages) == reached == 0)):
            problem = (
                f"{recipe.name} works on {_WORKS_ON[KINDS[min(stages)]]}, a view before it on "
                f"{_WORKS_ON[KINDS[reached]]}; put one stored view first, then views of text, then views of tokens"
            )
            raise ConfigError(f"{before}{number}", problem=problem)
        reached = max([reached, *stages])
        links.append(link)
    return Chain(tuple(links))


def _nested(recipe: ViewRecipe, encoder: SentenceTransformer, place: str, before: str, number: int) -> AnyView:
    try:
        return make_view(recipe, encoder, f"{place}.{number}")
    except ConfigError as error:
        raise error.within(f"{before}{number}") from None


def make_pair_view(recipe: PairViewRecipe | None) -> PairView | None:
    """Return the view that makes both sides from one text, where the recipe has one."""
    return None if recipe is None else _PAIR_VIEWS[recipe.name](**_settings(recipe))


def _settings(recipe: BaseModel) -> dict[str, Any]:
    return {
        name: Ramp(value.start, value.end, value.until) if isinstance(value, RampRecipe) else value
        for name, value in recipe
        if name != "name"
    }


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


@dataclass(frozen=True)
class Store:
    """Where stored views lie, and the encoder that tells how much they kept.

    Args:
        views: The store.
        judge: Its fingerprint and what embeds with it, made when it is first asked for.
    """

    views: ViewStore
    judge: Callable[[], Judge]


@dataclass(frozen=True)
class Judge:
    """An encoder that measures views: its fingerprint, and texts → unit-length embeddings."""

    fingerprint: str
    embed: Callable[[Sequence[str]], NDArray[np.float32]]


def open_store(recipe: Recipe, device: str) -> Store:
    """Return the store of a recipe."""
    folder = recipe.views.store
    parent = Path(datasets.config.HF_DATASETS_CACHE) / "textcl" / "views" if folder is None else Path(folder)
    model = recipe.views.judge or recipe.encoder.model
    return Store(ViewStore(parent), cache(lambda: make_judge(model, device)))


def make_judge(model: str, device: str) -> Judge:
    """Return an encoder, as it comes, as a judge."""
    encoder = load_encoder(model, device=device)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return embed_texts(encoder, texts).vectors

    return Judge(fingerprint_encoder(encoder), embed)


def make_side(
    texts: list[str], prompt: str, view: AnyView, encoder: SentenceTransformer, store: Store, progress: Progress
) -> tuple[Side, list[str]]:
    """Return one side of the pairs, with its stored views in the table, and what a user should know of them."""
    table, notes = list(texts), list[str]()

    def bound(leaf: AnyView) -> AnyView:
        if isinstance(leaf, Keywords):
            return leaf.fit(texts, progress, len(texts))
        if not isinstance(leaf, Unwritten):
            return leaf
        variants = usable_views(leaf, texts, store, notes)
        stored = _table_rows(texts, variants, table)
        missing = stored.counts == 0
        return Chain((stored, Where(missing, replaced(leaf.otherwise, bound))))

    view = replaced(view, bound)
    tokenizer = tokenizer_of(encoder)
    prefix, suffix = special_tokens(tokenizer, prompt)
    tokens = cached_tokens(table, tokenizer, prompt, progress=progress)
    anew = partial(tokenise, tokenizer=tokenizer, prompt=prompt)
    return Side(tokens, prefix, suffix, view, table, anew), notes


def usable_views(plan: Unwritten, texts: Sequence[str], store: Store, notes: list[str]) -> dict[str, list[str]]:
    """Return the variants of each text that are good enough, and add a sentence about the others to `notes`.

    Raises:
        ConfigError: If the store lacks views of some texts, or how similar they are.
    """
    unique = list(dict.fromkeys(texts))
    facts = plan.rewriter.facts
    _check_written(plan, unique, store.views)
    found = store.views.read(facts, unique)
    kept = found
    if plan.min_similarity is not None:
        cosines = store.views.cosines(facts, store.judge().fingerprint, unique)
        if any(len(known) < len(variants) for known, variants in zip(cosines, found, strict=True)):
            problem = "not all stored views have been compared with their texts; run: textcl views build RECIPE"
            raise ConfigError(f"{plan.place}.min_similarity", problem=problem)
        kept = [
            [one for one, cosine in zip(variants, known, strict=True) if cosine >= plan.min_similarity]
            for variants, known in zip(found, cosines, strict=True)
        ]
    if note := _note(plan, found, kept):
        notes.append(note)
    return dict(zip(unique, kept, strict=True))


def _check_written(plan: Unwritten, texts: list[str], store: ViewStore) -> None:
    facts = plan.rewriter.facts
    missing = store.missing(facts, texts)
    if missing:
        others = [other for other in store.makers() if other != facts and other.get("view") == facts["view"]]
        changed = differences(facts, others) if len(missing) == len(texts) else []
        other_settings = f"; {store.path} has views made with other settings: {', '.join(changed)}" if changed else ""
        problem = f"{len(missing)} of {len(texts)} texts have no stored view{other_settings}"
        raise ConfigError(plan.place, problem=f"{problem}; run: textcl views build RECIPE")


def _note(plan: Unwritten, found: list[list[str]], kept: list[list[str]]) -> str | None:
    before, after = sum(map(len, found)), sum(map(len, kept))
    without = sum(not variants for variants in kept)
    if before == after and not without:
        return None
    names = [type(leaf).__name__ for leaf in leaves(plan.otherwise)]
    fallback = " and ".join(names) if names else "the text as it is"
    return (
        f"{plan.place} ({plan.name}): {before - after} of {before} stored views are below min_similarity and are not "
        f"used; {without} of {len(kept)} texts have none and fall back to {fallback}"
    )


def _table_rows(texts: Sequence[str], variants: Mapping[str, list[str]], table: list[str]) -> Stored:
    """Add all variants to the table; return the view that draws from it."""
    begins: dict[str, int] = {}
    for text, found in variants.items():
        begins[text] = len(table)
        table += found
    first = np.array([begins[text] for text in texts], dtype=np.int64)
    return Stored(first, np.array([len(variants[text]) for text in texts], dtype=np.int64))
