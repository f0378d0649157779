"""Several indexes → one of all their shards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from textcl.artifacts import check_target, whole_folder, write_manifest
from textcl.errors import ConfigError, DataError
from textcl.index.build import FILTER_FROM, new_name
from textcl.index.generations import facts_of
from textcl.index.store import ENCODER_FACTS, FORMAT_VERSION, KIND, SHARDS, Index, open_index
from textcl.unfinished import alone_at


def join(folders: Sequence[Path], out: Path, *, force: bool = False) -> Index:
    """Write one index of the shards of several, which may have been built by several processes; return it, open.

    Args:
        folders: Index folders of one encoder and one factory string, with different ids.
        out: The folder; `compact` makes it one shard.
        force: Replace an index at `out`.

    Raises:
        ConfigError: If `out` exists and may not be replaced, or the indexes are of different kinds.
        DataError: If two of them have a document of the same id.
        ArtifactError: If one is damaged, or was made by another encoder.
    """
    check_target(out, force=force)
    with ExitStack() as stack:
        out.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(alone_at(out))
        # Nobody changes them while they are copied, and what is copied is whole.
        for folder in {folder.resolve() for folder in folders}:
            if _may_be_written(folder):
                stack.enter_context(alone_at(folder))
        parts = [stack.enter_context(open_index(folder, verify=True)) for folder in folders]
        first = parts[0]
        seen: set[str] = set()
        for part in parts:
            part.check_encoder({fact: first.manifest["encoder"][fact] for fact in ENCODER_FACTS})
            for fact in ("factory", "normalised", "texts"):
                if part.manifest[fact] != first.manifest[fact]:
                    said = f"{part.manifest[fact]!r} in {part.folder}, {first.manifest[fact]!r} in {first.folder}"
                    raise ConfigError(fact, problem=f"is {said}; build them alike")
            ids = list(part.ids())
            if twice := [one for one in ids if one in seen]:
                problem = f"{len(twice)} of its documents are in an index before it too, the first {twice[0]!r}"
                raise DataError(problem, part.folder)
            seen.update(ids)
        with whole_folder(out, force=force) as made:
            entries = [_copied(part, facts, made) for part in parts for facts in part.manifest["shards"]]
            facts = facts_of(first.manifest) | {
                "generation": 1,
                "shards": entries,
                "longest": max(part.longest for part in parts),
                "fields": sorted({field for part in parts for field in part.manifest["fields"]}),
                "promise": None,
                "curve": [],
                "filter_from": FILTER_FROM,
                "decomposition": None,
            }
            write_manifest(made, KIND, FORMAT_VERSION, facts)
    return open_index(out)


def _may_be_written(folder: Path) -> bool:
    """Tell whether we could write beside an index: not on a read-only disk, nor where none is, as is said later."""
    return os.access(folder.parent, os.W_OK)


def _copied(part: Index, facts: Mapping[str, Any], made: Path) -> dict[str, Any]:
    """Copy a shard under a name of its own; return its entry."""
    name = new_name()
    shutil.copytree(part.folder / SHARDS / facts["name"], made / SHARDS / name)
    for file in (made / SHARDS / name).glob("deleted-*"):
        if facts["deleted"] is None or file.name != Path(facts["deleted"]).name:
            file.unlink()
    deleted = None if facts["deleted"] is None else f"{SHARDS}/{name}/{Path(facts['deleted']).name}"
    return {**facts, "name": name, "deleted": deleted}
