"""A folder that takes long to fill: what a kill leaves waits beside its place, under a lock, to be gone on with."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textcl.artifacts import check_name, check_target, put_in_place, write_whole
from textcl.errors import ArtifactError, ConfigError

UNFINISHED = "unfinished.json"


@dataclass(frozen=True)
class Unfinished:
    """A folder that is being filled, and what was last saved of how far it is.

    Args:
        folder: Where the files go; the state is one of them, so that it never stands beside what it does not speak of.
    """

    folder: Path

    def save(self, state: Mapping[str, Any]) -> None:
        """Put `state` in the place of what was saved; what it speaks of must be on disk already."""
        write_whole(self.folder / UNFINISHED, json.dumps(state))

    def read(self) -> dict[str, Any] | None:
        """Return what was last saved; None at the start."""
        path = self.folder / UNFINISHED
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def is_waiting(target: Path) -> bool:
    """Tell whether something unfinished waits to become `target`."""
    return (_waiting(target) / UNFINISHED).is_file()


def check_resumable(target: Path, *, resume: bool = False, force: bool = False) -> None:
    """Raise what `resumable_folder` would raise of `target`; call it before long work starts."""
    check_name(target, "out")
    waits = is_waiting(target)
    if resume and not waits:
        complete = "this one is complete; " if target.exists() else ""
        raise ArtifactError(target, f"{complete}there is nothing to continue here; start it without --resume")
    check_target(target, force=force)
    if waits and not resume and not force:
        problem = f"an unfinished {target} waits; add --resume to go on with it, or --force to start anew"
        raise ConfigError("out", problem=problem)


@contextmanager
def resumable_folder(target: Path, *, resume: bool = False, force: bool = False) -> Iterator[Unfinished]:
    """Yield a folder that becomes `target` when the block ends well; otherwise it waits beside it to be gone on with.

    What never saved a state is removed.

    Args:
        target: The final place; its parents are made.
        resume: Go on with what an earlier block left.
        force: Replace what stands at `target`, and without `resume` what waits beside it too.

    Raises:
        ConfigError: If `target` exists or something unfinished waits, and `force` does not allow to replace it; or if
            another process is at work there.
        ArtifactError: If there is nothing to go on with.
    """
    check_resumable(target, resume=resume, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone_at(target):
        check_resumable(target, resume=resume, force=force)  # nobody changes it any more
        (target / UNFINISHED).unlink(missing_ok=True)  # a kill right behind an earlier end left it
        unfinished = Unfinished(_waiting(target))
        if not resume:
            shutil.rmtree(unfinished.folder, ignore_errors=True)
            unfinished.folder.mkdir()
        try:
            yield unfinished
            put_in_place(unfinished.folder, target)
        except BaseException:
            if unfinished.read() is None:
                shutil.rmtree(unfinished.folder, ignore_errors=True)
            raise
        (target / UNFINISHED).unlink(missing_ok=True)
        shutil.rmtree(unfinished.folder, ignore_errors=True)  # what `target` was


def _waiting(target: Path) -> Path:
    return target.with_name(f".{target.name}.unfinished")


@contextmanager
def alone_at(target: Path) -> Iterator[None]:
    """Raise ConfigError if another process is inside such a `with` for the same target; a kill lets go of it."""
    target = target.resolve()  # one lock, whatever path leads there
    path = target.with_name(f".{target.name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.fstat(descriptor).st_ino == path.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:  # taken, or removed by whoever had it a moment ago
            raise ConfigError(
                "out", problem=f"another process is writing {target}; wait for it, or name another folder"
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
