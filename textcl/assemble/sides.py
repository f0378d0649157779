"""Texts and their views → the two sides that batches are drawn from, with stored views in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from textcl.assemble.views import Unwritten
from textcl.corpus.token_files import cached_tokens
from textcl.corpus.tokens import special_tokens, tokenise
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import fingerprint_encoder, load_encoder, tokenizer_of
from textcl.errors import ConfigError
from textcl.progress import Progress
from textcl.recipe.models import Recipe
from textcl.training.sources import Side
from textcl.views.keywords import Keywords
from textcl.views.store import Stored, ViewStore, differences
from textcl.views.view import AnyView, Chain, Where, replaced

_BUILD = "textcl views build RECIPE (with the same --set, if any)"


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
    texts: list[str],
    prompt: str,
    view: AnyView,
    encoder: SentenceTransformer,
    store: Store,
    progress: Progress,
    keep_tokens: bool = True,
) -> tuple[Side, list[str]]:
    """Return one side of the pairs, with its stored views in the table, and what a user should know of them.

    With `keep_tokens` its tokens lie on disk afterwards, for the next run.
    """
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
    anew = partial(tokenise, tokenizer=tokenizer, prompt=prompt)
    tokens = cached_tokens(table, tokenizer, prompt, progress=progress) if keep_tokens else anew(table)
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
            problem = f"not all stored views have been compared with their texts; run: {_BUILD}"
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
        raise ConfigError(plan.place, problem=f"{problem}; run: {_BUILD}")


def _note(plan: Unwritten, found: list[list[str]], kept: list[list[str]]) -> str | None:
    before, after = sum(map(len, found)), sum(map(len, kept))
    without = sum(not variants for variants in kept)
    if before == after and not without:
        return None
    below = f"{before - after} of {before} stored views are below min_similarity and are not used; "
    return (
        f"{plan.place} ({plan.name}): {below if before > after else ''}"
        f"{without} of {len(kept)} texts have none and fall back to {plan.fallback}"
    )


def _table_rows(texts: Sequence[str], variants: Mapping[str, list[str]], table: list[str]) -> Stored:
    """Add all variants to the table; return the view that draws from it."""
    begins: dict[str, int] = {}
    for text, found in variants.items():
        begins[text] = len(table)
        table += found
    first = np.array([begins[text] for text in texts], dtype=np.int64)
    return Stored(first, np.array([len(variants[text]) for text in texts], dtype=np.int64))
