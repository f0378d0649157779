"""Folders and files written whole or not at all, with manifests, checksums and fingerprints.

A folder is filled beside its final place, flushed to disk and renamed: whoever reads sees the old state or the new one,
also after a kill at any moment. The manifest names every file with its checksum.
"""

from __future__ import annotations

import ctypes
import glob
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textcl.errors import ArtifactError, ConfigError

MANIFEST = "manifest.json"
_FROM_HERE = -100  # AT_FDCWD and RENAME_EXCHANGE of Linux
_RENAME_EXCHANGE = 2


def check_target(target: Path, *, force: bool = False, field: str = "out") -> None:
    """Raise ConfigError if `target` exists and may not be replaced; call it before long work starts.

    With `force` only an empty folder or one that textcl wrote (it has a manifest of ours, a recipe or a model) is
    replaced, so that a mistyped path cannot cost anything else. What a kill left of an earlier replacement is mended
    first, so that an old folder that only waits to be put back counts as there.
    """
    check_name(target, field)
    _check_parents(target, field)
    _sweep(target)
    if not target.exists():
        return
    if not force:
        raise ConfigError(field, problem=f"{target} exists already; name another folder, or add --force to replace it")
    if not _is_ours(target):
        raise ConfigError(field, problem=f"{target} was not written by textcl, so --force does not replace it")


def check_file_target(target: Path, *, field: str) -> None:
    """Raise ConfigError if no file can be written at `target`; call it before long work starts."""
    if target.is_dir():
        raise ConfigError(field, problem=f"{target} is a folder; name a file")
    _check_parents(target, field)


def check_name(target: Path, field: str) -> None:
    """Raise ConfigError if `target` has no name of its own."""
    if target.name in ("", ".."):
        raise ConfigError(field, str(target), "the name of a new folder, not the current one or one above it")


def _check_parents(target: Path, field: str) -> None:
    nearest = next(parent for parent in target.absolute().parents if parent.exists())
    if not nearest.is_dir():
        raise ConfigError(field, problem=f"{target} cannot be made, since {nearest} is a file; name another place")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(field, problem=f"{target} cannot be made, since {nearest} is read-only; name another place")


def _is_ours(target: Path) -> bool:
    if not target.is_dir():
        return False
    started = (target / "recipe.yaml").is_file() and (
        target / "journal.jsonl"
    ).is_file()  # a run that has no manifest yet
    return started or _has_manifest(target) or not any(target.iterdir())


def _has_manifest(folder: Path) -> bool:
    """Tell whether the manifest is one of ours: browser extensions and web pages have a manifest.json too."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and {"kind", "format_version"} <= manifest.keys()


def next_numbered(parent: Path, name: str) -> Path:
    """Return the first of parent/name-001, parent/name-002, … that does not exist."""
    number = 1
    while (candidate := parent / f"{name}-{number:03d}").exists():
        number += 1
    return candidate


@contextmanager
def whole_folder(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a new folder that becomes `target` when the block ends well, and is removed when it does not.

    Args:
        target: The final place; its parents are made.
        force: Replace what stands there: the two change places in one step, then the old one is removed.

    Raises:
        ConfigError: If `target` exists and `force` does not allow to replace it.
    """
    check_target(target, force=force)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{uuid.uuid4().hex[:8]}")
    partial.mkdir()
    try:
        yield partial
        put_in_place(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put_in_place(partial: Path, target: Path) -> None:
    """Let `partial` become `target`; what stood there is gone afterwards, or in the place of `partial`."""
    flush_tree(partial)
    if not target.exists():
        partial.rename(target)
    elif not _exchange(partial, target):
        aside = target.with_name(f".{target.name}.replaced-{uuid.uuid4().hex[:8]}")
        target.rename(aside)
        partial.rename(target)
        shutil.rmtree(aside)
    flush_folder(target.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change places in one step; return False where the system cannot.

    Two renames would leave a moment at which a kill takes both away from a reader.
    """
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap is None:
        return False
    done: int = swap(_FROM_HERE, os.fsencode(first), _FROM_HERE, os.fsencode(second), _RENAME_EXCHANGE)
    return done == 0


def _sweep(target: Path) -> None:
    """Finish what a kill during a replacement left: put the old folder back, or remove it where the new one stands.

    Partial folders stay: they may belong to a process that is still running.
    """
    for aside in sorted(target.parent.glob(f".{glob.escape(target.name)}.replaced-*")):
        if target.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(target)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that `path` has the old content or the new one, whole."""
    partial = path.with_name(f".{path.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        with partial.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        flush_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def flush_tree(folder: Path) -> None:
    """Put every file of `folder` on disk."""
    for path in folder.rglob("*"):
        if path.is_dir():
            flush_folder(path)
        else:
            flush_file(path)
    flush_folder(folder)


def flush_file(path: Path) -> None:
    """Put a file on disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Put the names in `folder` on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(
    folder: Path, kind: str, version: int, facts: Mapping[str, Any], leave_out: Collection[str] = ()
) -> None:
    """Write manifest.json: kind, format version, facts, and size and SHA-256 of every other file in `folder`.

    Files under the names in `leave_out` at the top of `folder` are not named: those may change or go.
    """
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    kept = [name.as_posix() for name in names if name != Path(MANIFEST) and name.parts[0] not in leave_out]
    commit_manifest(folder, kind, version, facts, describe_files(folder, kept))


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of files of `folder`, as a manifest has them."""
    paths = {name: folder / name for name in names}
    return {name: {"bytes": path.stat().st_size, "sha256": checksum(path)} for name, path in paths.items()}


def commit_manifest(
    folder: Path, kind: str, version: int, facts: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put a manifest in the place of the one there, in one step; `files` as `describe_files` gives them."""
    manifest = {"kind": kind, "format_version": version, **facts, "files": dict(files)}
    write_whole(folder / MANIFEST, _written({**manifest, "digest": fingerprint([_written(manifest)])}))


def _written(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def read_manifest(folder: Path, kind: str, version: int, *, verify: bool = False) -> dict[str, Any]:
    """Return the manifest of `folder`, found to be as it was written, to the byte.

    Args:
        folder: What `write_manifest` described.
        kind: The kind it must have.
        version: The format version that this code reads.
        verify: Read every file and compare its checksum; without it only names and sizes are compared.

    Raises:
        ArtifactError: If the folder is missing, of another kind or version, or damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ArtifactError(folder, f"no {kind} here ({MANIFEST} is missing)")
    try:
        text = path.read_bytes().decode()  # as it is: read_text would take \r for \n
        manifest = json.loads(text)
        found, found_version, files = manifest["kind"], manifest["format_version"], manifest["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(path, "is damaged: not a manifest; make the folder again") from error
    if found != kind:
        raise ArtifactError(folder, f"is a {found}, not a {kind}")
    if found_version != version:
        raise ArtifactError(folder, f"has format version {found_version}, this textcl reads {version}; make it again")
    digest = manifest.pop("digest", None)
    if digest != fingerprint([_written(manifest)]) or text != _written({**manifest, "digest": digest}):
        raise ArtifactError(path, "is damaged: it was changed after it was written; make the folder again")
    for name, facts in files.items():
        _check_file(folder / name, facts, verify=verify)
    return {**manifest, "digest": digest}


def _check_file(path: Path, facts: Mapping[str, Any], *, verify: bool) -> None:
    if not path.is_file():
        raise ArtifactError(path, "is missing, though the manifest names it")
    if path.stat().st_size != facts["bytes"]:
        raise ArtifactError(path, f"is damaged: {path.stat().st_size} bytes, the manifest says {facts['bytes']}")
    if verify and checksum(path) != facts["sha256"]:
        raise ArtifactError(path, "is damaged: its SHA-256 is not the manifest's")


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(parts: Iterable[str | bytes | memoryview]) -> str:
    """Return a 128-bit digest of a sequence of parts, in hexadecimal; where one part ends counts."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
