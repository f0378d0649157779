"""Checkpoints: everything that a resume needs, written whole, under OUT/checkpoints/step-N."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from textcl.artifacts import read_manifest, whole_folder, write_manifest
from textcl.errors import ArtifactError

_KIND, _VERSION, _KEPT = "checkpoint", 2, 2


class Stateful(Protocol):
    """What has a state, as modules and optimizers have."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:  # noqa: ANN401 (nobody reads it)
        """Take a state."""
        ...


def save_checkpoint(folder: Path, step: int, parts: Mapping[str, Stateful], facts: dict[str, Any]) -> Path:
    """Write folder/step-N and remove all but the newest two up to it, and all later ones; return the new one.

    Args:
        folder: OUT/checkpoints.
        step: Optimizer steps done.
        parts: The method, whose state is encoder, heads, queues, averages and temperature, the optimizer, and more.
        facts: JSON values that come back from `load_checkpoint`, such as the best measure so far.
    """
    target = folder / f"step-{step}"
    with whole_folder(target, force=True) as partial:
        torch.save({name: part.state_dict() for name, part in parts.items()}, partial / "state.pt")
        write_manifest(partial, _KIND, _VERSION, {"step": step, **facts})
    found = checkpoints(folder)
    place = found.index(target)
    for old in found[: max(0, place + 1 - _KEPT)] + found[place + 1 :]:
        shutil.rmtree(old)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load_checkpoint(path: Path, parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """Put a checkpoint's state into its parts; return its facts, `step` among them.

    Raises:
        ArtifactError: If a byte of it is damaged, or it belongs to another kind of method.
    """
    facts = read_manifest(path, _KIND, _VERSION, verify=True)
    state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ArtifactError(path, "holds the state of another method or model; resume with its own recipe") from error
    return facts
