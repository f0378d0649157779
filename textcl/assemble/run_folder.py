"""The folder of a training run: where it goes, what continues, and which versions made it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from textcl.artifacts import check_target, next_numbered, write_whole
from textcl.errors import ArtifactError, ConfigError
from textcl.recipe.models import Recipe
from textcl.recipe.reading import read_recipe, write_recipe


def choose_folder(out: str | Path | None, recipe: Recipe, *, resume: bool, force: bool) -> Path:
    """Return where a run goes, or the folder that it continues in; nothing is written yet.

    Raises:
        ConfigError: If the folder exists, or `resume` does not say which.
        ArtifactError: If there is nothing to continue, or it was made by another recipe.
    """
    if out is None:
        if resume:
            raise ConfigError("out", problem="--resume needs --out, the folder of the run to continue")
        return next_numbered(Path("runs"), "train")
    folder = Path(out)
    if not resume:
        check_target(folder, force=force)
        return folder
    kept = folder / "recipe.yaml"
    if not kept.is_file():
        raise ArtifactError(folder, "no run to continue here (recipe.yaml is missing); start it without --resume")
    if (folder / "manifest.json").exists():
        raise ArtifactError(folder, "this run is complete; there is nothing to continue")
    if read_recipe(kept) != recipe:
        raise ArtifactError(
            kept,
            f"differs from the recipe given; continue with the same one: textcl train {kept} --out {folder} --resume",
        )
    return folder


def open_folder(folder: Path, recipe: Recipe, fingerprint: str, *, resume: bool) -> None:
    """Make the folder of a new run, with its resolved recipe and the fingerprint of its data.

    Raises:
        ArtifactError: If a run is to go on, and began with other data.
    """
    kept = folder / "data.json"
    if resume:
        if not kept.is_file() or json.loads(kept.read_text(encoding="utf-8")) != {"fingerprint": fingerprint}:
            raise ArtifactError(folder, "began with other texts, groups or negatives; give it the same, or start anew")
        return
    if folder.exists():
        shutil.rmtree(folder)  # allowed by check_target, and everything that could be wrong has been looked at
    folder.mkdir(parents=True)
    write_whole(kept, json.dumps({"fingerprint": fingerprint}))
    write_whole(folder / "recipe.yaml", write_recipe(recipe))
    (folder / "journal.jsonl").touch()
    (folder / "checkpoints").mkdir()
    (folder / "runs").mkdir()


def versions() -> dict[str, str]:
    """Return the versions that a run was made with."""
    packages: Sequence[str] = ("textcl", "torch", "transformers", "sentence-transformers", "faiss-cpu", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}
