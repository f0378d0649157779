"""What a run is made from: recipe, folder, components, texts and judged data, read and found sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelerate import Accelerator

from textcl.artifacts import fingerprint
from textcl.assemble.components import Components, make_components
from textcl.assemble.development import Development, read_development
from textcl.assemble.negatives import Negatives
from textcl.assemble.processes import check_same_data, check_same_recipe, of_the_first, together
from textcl.assemble.run_folder import choose_folder
from textcl.assemble.texts import AnyTexts, TrainingTexts, read_training_texts
from textcl.corpus.collection import Collection, read_collection
from textcl.errors import ConfigError
from textcl.evaluation.measures import depth_of
from textcl.progress import Progress
from textcl.recipe.models import Recipe
from textcl.recipe.reading import read_recipe


@dataclass(frozen=True)
class Given:
    """What a run is made from, read and found sound."""

    folder: Path
    parts: Components
    texts: list[AnyTexts]
    fingerprint: str
    negatives: Negatives | None
    collection: Collection | None
    development: Development | None


def read_same_recipe(recipe: str | Path | Recipe, set: Mapping[str, object] | None) -> Recipe:
    """Return a recipe that is the same on all processes.

    Raises:
        ConfigError: On all processes, if it is wrong or differs.
    """
    found = together(lambda: recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe), set))
    check_same_recipe(found)
    return found


def read_given(
    recipe: Recipe,
    accelerator: Accelerator,
    out: str | Path | None,
    *,
    resume: bool,
    force: bool,
    progress: Progress,
) -> Given:
    """Read whatever a run is made from, on all processes; nothing is written.

    Raises:
        TextclError: On all processes, if something is wrong on one of them.
    """
    found = together(lambda: _read(recipe, accelerator, out, resume=resume, force=force, progress=progress))
    check_same_data(found.fingerprint)
    return replace(found, folder=of_the_first(found.folder))


def _read(
    recipe: Recipe,
    accelerator: Accelerator,
    out: str | Path | None,
    *,
    resume: bool,
    force: bool,
    progress: Progress,
) -> Given:
    """Read whatever a run is made from; nothing is written and no process waits for another."""
    first = accelerator.is_main_process
    folder = choose_folder(out, recipe, resume=resume, force=force) if first else Path(out or "runs")
    parts = make_components(recipe, str(accelerator.device))
    texts = read_training_texts(recipe.data, progress)
    negatives = None
    if recipe.negatives is not None:
        (pairs,) = (one for one in texts if isinstance(one, TrainingTexts))
        negatives = Negatives(recipe, pairs)
    collection = _read_collection(recipe)
    return Given(folder, parts, texts, _fingerprint(texts), negatives, collection, read_development(recipe, collection))


def _fingerprint(texts: Sequence[AnyTexts]) -> str:
    """Return what tells these training texts from others; a stream is read through, and its faults are found here."""
    return fingerprint(
        text
        for one in texts
        for block in one.blocks()
        for column in (block.anchors, block.positives, *block.hard_negatives)
        for text in column
    )


def _read_collection(recipe: Recipe) -> Collection | None:
    chosen = recipe.evaluation
    if chosen is None:
        return None
    try:
        depth_of(chosen.measures)
    except ConfigError as error:
        raise error.within("evaluation") from None
    return read_collection(chosen.collection, chosen.split, allow_missing=chosen.allow_missing)
