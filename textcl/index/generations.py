"""How an index changes: a generation at a time, never half.

Whoever writes holds a lock, puts new files beside the old ones, and replaces the manifest in one step; files that no
manifest names any more go last, those that a kill left too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textcl.artifacts import MANIFEST, commit_manifest, describe_files
from textcl.errors import ArtifactError
from textcl.index.store import FORMAT_VERSION, KIND, SHARDS, Index, open_index, read_facts
from textcl.unfinished import alone_at


@contextmanager
def writing(folder: Path) -> Iterator[Index]:
    """Yield the index in `folder`, open, with nobody else writing it; what a kill left beside its files is removed.

    Raises:
        ConfigError: If another process is writing it.
        ArtifactError: As `open_index`.
    """
    open_index(folder).close()  # a folder that is no index gets no lock beside it
    with alone_at(folder), open_index(folder) as index:
        _sweep(folder, index.manifest)
        yield index


def commit(index: Index, changed: Mapping[str, Any], new_files: Sequence[str] = ()) -> None:
    """Make the next generation of an index under `writing`.

    Args:
        index: The last generation.
        changed: Facts of the manifest that are others now; `shards` says which files stay.
        new_files: Names of files that are not in the manifest yet, all on disk.

    Raises:
        ArtifactError: If another index stands in the folder by now.
    """
    if read_facts(index.folder)["digest"] != index.manifest["digest"]:
        raise ArtifactError(index.folder, "was replaced while it was being changed; nothing was written, start again")
    facts = facts_of(index.manifest) | dict(changed)
    facts["generation"] = index.manifest["generation"] + 1
    known = index.manifest["files"] | describe_files(index.folder, new_files)
    kept = {name: known[name] for name in known if _is_used(name, facts["shards"])}
    commit_manifest(index.folder, KIND, FORMAT_VERSION, facts, kept)
    _sweep(index.folder, {**facts, "files": kept})


def facts_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a manifest says of its index, without what is about its own file."""
    own = ("kind", "format_version", "files", "digest")
    return {name: value for name, value in manifest.items() if name not in own}


def _is_used(name: str, shards: Sequence[Mapping[str, Any]]) -> bool:
    _, shard, file = name.split("/")
    for facts in shards:
        if facts["name"] == shard:
            return not file.startswith("deleted-") or facts["deleted"] == name
    return False


def _sweep(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Remove what the manifest does not name: the leavings of a kill, or of the generation before."""
    names = {facts["name"] for facts in manifest["shards"]}
    for path in (folder / SHARDS).iterdir():
        if path.name not in names:
            _remove(path)
            continue
        for file in path.iterdir():
            if file.relative_to(folder).as_posix() not in manifest["files"]:
                _remove(file)
    for file in folder.glob(f".{MANIFEST}.partial-*"):
        _remove(file)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
