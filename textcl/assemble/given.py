"""What a run is made from: recipe, folder, components, texts and judged data, read and found sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from accelerate import Accelerator

from textcl.artifacts import fingerprint
from textcl.assemble.components import Components, make_components
from textcl.assemble.development import Development, read_development
from textcl.assemble.negatives import Negatives
from textcl.assemble.processes import check_same_data, check_same_recipe, of_the_first, together
from textcl.assemble.run_folder import choose_folder
from textcl.assemble.texts import AnyTexts, held, read_training_texts
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

    def read() -> Given:
        """Read what this process needs; none waits for another here."""
        first = accelerator.is_main_process
        folder = choose_folder(out, recipe, resume=resume, force=force) if first else Path(out or "runs")
        parts = make_components(recipe, str(accelerator.device))
        texts = read_training_texts(recipe.data, progress)
        negatives = None if recipe.negatives is None else Negatives(recipe, held(texts[0]))
        collection = _read_collection(recipe)
        development = read_development(recipe, collection)
        seen = fingerprint(_parts(texts, negatives))
        return Given(folder, parts, texts, seen, negatives, collection, development)

    found = together(read)
    check_same_data(found.fingerprint)
    return replace(found, folder=of_the_first(found.folder))


def _parts(texts: Sequence[AnyTexts], negatives: Negatives | None) -> Iterator[str | bytes]:
    """Yield all texts, labels and negatives; a stream is read through, and its faults are found here."""
    if negatives is not None:
        yield negatives.pairs.made_from
        yield b"" if negatives.first is None else negatives.first.tobytes()
    for one in texts:
        for block in one.blocks():
            yield from chain(block.anchors, block.positives, *block.hard_negatives)
            yield block.groups.tobytes()


def _read_collection(recipe: Recipe) -> Collection | None:
    chosen = recipe.evaluation
    if chosen is None:
        return None
    try:
        depth_of(chosen.measures)
    except ConfigError as error:
        raise error.within("evaluation") from None
    return read_collection(chosen.collection, chosen.split, allow_missing=chosen.allow_missing)
