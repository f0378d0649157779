"""`textcl views`: write the stored views of a recipe, look at its views, and measure what they keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from textcl.assemble.components import Components, make_components
from textcl.assemble.sides import make_judge, open_store
from textcl.assemble.sources import check_streamed, make_source
from textcl.assemble.texts import held, read_training_texts
from textcl.assemble.views import unwritten
from textcl.corpus.tokens import TokenRows
from textcl.encoder.load import tokenizer_of
from textcl.errors import ConfigError
from textcl.progress import Progress, Say, quiet, silent
from textcl.randomness import RowRandom, permutation
from textcl.recipe.models import Recipe
from textcl.recipe.views import ChainView, ChoiceView, StoredViewRecipe, ViewRecipe
from textcl.training.sources import PairSource
from textcl.views.audit import ViewAudit, audit_view
from textcl.views.store import Built, Stored, build_views, judge_views
from textcl.views.view import leaves

Embed: TypeAlias = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class BuiltView:
    """What `build_recipe_views` did for one stored view: where it stands, what it is called, and counts."""

    place: str
    name: str
    built: Built


@dataclass(frozen=True)
class Shown:
    """One training text beside its two views, all as the tokens read that the encoder sees."""

    first_text: str
    first: str
    second_text: str
    second: str

    @property
    def single(self) -> bool:
        """Whether both are views of one text."""
        return self.first_text == self.second_text


def build_recipe_views(
    recipe: Recipe, *, progress: Progress = quiet, say: Say = silent
) -> tuple[Path, list[BuiltView]]:
    """Write every stored view of a recipe that is not in its store yet, and measure those with a `min_similarity`.

    Several sources are gone through one after the other; a stored view of a text that two of them have is written once.

    Returns:
        The store's file, and what was done for each view.

    Raises:
        ConfigError: If the recipe is wrong, or has no stored view.
    """
    parts = make_components(recipe, _device())
    texts = read_training_texts(recipe.data, progress)
    check_streamed(texts, parts)
    store = open_store(recipe, _device())
    done = []
    read = [held(one) for one in texts]
    first = [one.anchors for one in read]
    second = [column for one in read for column in (one.positives, *one.hard_negatives)]  # these are seen as those are
    for view, columns in ((parts.first, first), (parts.second, second)):
        side = [text for column in columns for text in column]
        for plan in unwritten(view):
            say(f"{plan.place} ({plan.name})")
            try:
                built = build_views(store.views, plan.rewriter, side, progress)
            finally:
                plan.rewriter.close()
            for note in plan.rewriter.notes:
                say(f"{plan.place} ({plan.name}): {note}")
            if plan.min_similarity is not None:
                judge = store.judge()
                judge_views(store.views, plan.rewriter.facts, side, judge.fingerprint, judge.embed, progress)
            done.append(BuiltView(plan.place, plan.name, built))
    if not done:
        raise ConfigError("views", problem="the recipe has no stored view (back_translate, generate); nothing to build")
    return store.views.path, done


def show_views(
    recipe: Recipe, n: int = 10, *, done: float = 0.0, progress: Progress = quiet, say: Say = silent
) -> list[Shown]:
    """Return `n` training texts, drawn at random, with the views of the first epoch.

    Strengths that move are those of the moment at which the share `done` of the training is done.
    """
    _check_done(done)
    parts, source = _open(recipe, progress, say)
    rows = _some_rows(source, n, recipe.seed)
    (first, second), read = source.draw_views(rows, 0, done), _reader(parts)
    columns = (source.first.tokens.take(rows), first, source.second.tokens.take(rows), second)
    return [Shown(*texts) for texts in zip(*(read(one.cut(source.max_tokens)) for one in columns), strict=True)]


def audit_views(
    recipe: Recipe,
    n: int = 1000,
    *,
    done: float = 0.0,
    judge: str | None = None,
    worst: int = 5,
    progress: Progress = quiet,
    say: Say = silent,
) -> list[ViewAudit]:
    """Measure each view of a recipe alone, and each side's views together.

    Args:
        recipe: Its seed decides which texts are drawn.
        n: Texts, drawn at random; all if there are fewer.
        done: Share of the training that is done, for strengths that move, in [0, 1].
        judge: Encoder that measures; None takes the recipe's `views.judge`, or its encoder as it comes.
        worst: Examples kept of each view.
        progress: Told what is done.
        say: Told how many stored views were dropped, and whatever else a user should know.
    """
    _check_done(done)
    parts, source = _open(recipe, progress, say)
    measure = make_judge(judge or recipe.views.judge or recipe.encoder.model, _device())
    rows, read, limit = _some_rows(source, n, recipe.seed), _reader(parts), source.max_tokens
    embed = _remembering(measure.embed)
    drawn = list(_drawn(recipe, source, rows, done))
    if not drawn:
        raise ConfigError("views", problem="the recipe has none; nothing to measure")
    audits = []
    with progress("audit views", len(drawn)) as advance:
        for name, texts, views in drawn:
            audits.append(audit_view(name, texts.cut(limit), views.cut(limit), read, embed, worst))
            advance(1)
    return audits


def _remembering(embed: Embed) -> Embed:
    """Return what embeds each text once: those of a side come up again with each of its views."""
    known: dict[str, NDArray[np.float32]] = {}

    def embed_new(texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, embed(new), strict=True))
        return np.stack([known[text] for text in texts])

    return embed_new


def _drawn(
    recipe: Recipe, source: PairSource, rows: NDArray[np.int64], done: float
) -> Iterator[tuple[str, TokenRows, TokenRows]]:
    """Yield name, texts and views: of the pair view, of each view of a side alone, and of each side as a whole."""
    rng = RowRandom((recipe.seed, 0), rows, done)
    if source.pair is not None and recipe.views.pair is not None:
        texts = source.first.tokens.take(rows)
        for number, views in enumerate(source.pair(texts, rng.named("pair"))):
            yield f"pair {recipe.views.pair.name}, {('first', 'second')[number]} side", texts, views
    whole = source.draw_views(rows, 0, done)
    sides = (("first", source.first, recipe.views.first), ("second", source.second, recipe.views.second))
    for (name, side, recipes), together in zip(sides, whole[:2], strict=True):
        texts = side.tokens.take(rows)
        alone = list(zip(labels(recipes, name), leaves(side.view), strict=True))
        for label, leaf in alone:
            # A text that has no stored view is not one that kept everything.
            seen = rows[leaf.counts[rows] > 0] if isinstance(leaf, Stored) else rows
            if len(seen):
                own = RowRandom(rng.named(name).name, seen, done)
                yield label, side.tokens.take(seen), replace(side, view=leaf).draw(seen, own)
        if len(alone) > 1 or (alone and source.pair is not None):
            yield f"{name}, as a whole", texts, together


def labels(recipes: Sequence[ViewRecipe], place: str) -> list[str]:
    """Return place and name of each view that a side is made of, in the order of `leaves`."""
    found = []
    for number, recipe in enumerate(recipes):
        if isinstance(recipe, ChainView | ChoiceView):
            found += labels(recipe.of, f"{place}.{number}.of")
            continue
        found.append(f"{place}.{number} {recipe.name}")
        if isinstance(recipe, StoredViewRecipe):
            found += labels(recipe.otherwise, f"{place}.{number}.otherwise")
    return found


def _open(recipe: Recipe, progress: Progress, say: Say) -> tuple[Components, PairSource]:
    parts = make_components(recipe, _device())
    first, *others = read_training_texts(recipe.data, progress)
    texts = held(first)
    source, _longer, notes = make_source(texts, parts, recipe, progress)
    if others:
        say(f"of {1 + len(others)} sources, these are the views of the first, {first.name}")
    if len(texts) < len(first):
        say(f"of {len(first)} rows of a stream, these are the first {len(texts)}")
    for note in (*texts.notes, *notes):
        say(note)
    return parts, source


def _some_rows(source: PairSource, n: int, seed: int) -> NDArray[np.int64]:
    if n < 1:
        raise ConfigError("n", n, "a number of texts, at least 1")
    return permutation(len(source), seed, "audit")[:n]


def _check_done(done: float) -> None:
    if not 0 <= done <= 1:
        raise ConfigError("done", done, "a share of the training in [0, 1]")


def _reader(parts: Components) -> Callable[[TokenRows], list[str]]:
    """Return what reads token rows as text; special tokens that a view put there are shown."""
    tokenizer = tokenizer_of(parts.encoder)

    def read(rows: TokenRows) -> list[str]:
        return [
            str(tokenizer.decode(rows.row(index).tolist(), clean_up_tokenization_spaces=False))
            for index in range(len(rows))
        ]

    return read


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
