"""Checkpoints: everything that a resume needs, written whole, under OUT/checkpoints/step-N."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from textcl.artifacts import read_manifest, whole_folder, write_manifest
from textcl.errors import ArtifactError
from textcl.methods.method import Method

_KIND, _VERSION, _KEPT = "checkpoint", 1, 2


def save_checkpoint(
    folder: Path, step: int, method: Method, optimizer: torch.optim.Optimizer, facts: dict[str, Any]
) -> Path:
    """Write folder/step-N and remove all but the newest two; return the new one.

    Args:
        folder: OUT/checkpoints.
        step: Optimizer steps done.
        method: Its whole state is saved: encoder, heads, queues, averages, temperature.
        optimizer: Its moments are saved.
        facts: JSON values that come back from `load_checkpoint`, such as the best measure so far.
    """
    target = folder / f"step-{step}"
    with whole_folder(target, force=True) as partial:
        torch.save({"method": method.state_dict(), "optimizer": optimizer.state_dict()}, partial / "state.pt")
        write_manifest(partial, _KIND, _VERSION, {"step": step, **facts})
    for old in checkpoints(folder)[:-_KEPT]:
        shutil.rmtree(old)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    found = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load_checkpoint(path: Path, method: Method, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a checkpoint's state into `method` and `optimizer`; return its facts, `step` among them.

    Raises:
        ArtifactError: If a byte of it is damaged, or it belongs to another kind of method.
    """
    facts = read_manifest(path, _KIND, _VERSION, verify=True)
    state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    try:
        method.load_state_dict(state["method"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise ArtifactError(path, "holds the state of another method or model; resume with its own recipe") from error
    return facts
