"""Texts are tokenised once, into files that are mapped into memory: every epoch, run and worker reads the same ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from numpy.typing import NDArray

from textcl.artifacts import fingerprint, read_manifest, whole_folder, write_manifest
from textcl.corpus.tokens import TokenRows, token_chunks, tokenizer_state
from textcl.errors import ArtifactError
from textcl.progress import Progress, quiet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_KIND, _VERSION = "tokens", 1
_FILES: dict[str, type[np.generic]] = {"ids": np.int32, "marks": np.uint8, "lengths": np.int64}


@dataclass(frozen=True, slots=True)
class MappedRows(TokenRows):
    """Token rows that are mapped from files.

    Args:
        ids: As TokenRows has it.
        offsets: As TokenRows has it.
        marks: As TokenRows has it.
        folder: Where the files lie.
    """

    folder: Path

    def __reduce__(self) -> tuple[Callable[[Path], MappedRows], tuple[Path]]:
        """Go to another process as the name of the folder, and not as a copy."""
        return open_tokens, (self.folder,)


def cached_tokens(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    prompt: str = "",
    *,
    cache: Path | None = None,
    progress: Progress = quiet,
) -> MappedRows:
    """Return the tokens of each text as `tokenise` gives them, mapped from files that are made at the first call.

    Args:
        texts: N texts.
        tokenizer: A fast tokenizer.
        prompt: Stands before each text while it is tokenised.
        cache: Folder for the files, one folder below it for each (tokenizer, prompt, texts); None for the folder
            `textcl/tokens` in the cache of `datasets`. Old ones are not removed.
        progress: Told the number of texts done, where they are tokenised now.
    """
    parent = cache if cache is not None else Path(datasets.config.HF_DATASETS_CACHE) / "textcl" / "tokens"
    folder = parent / fingerprint([str(_VERSION), tokenizer_state(tokenizer), prompt, *texts])
    try:
        return open_tokens(folder)
    except ArtifactError:  # not there, or damaged: made now
        with whole_folder(folder, force=True) as partial:
            _write(partial, texts, tokenizer, prompt, progress)
    return open_tokens(folder)


def open_tokens(folder: Path) -> MappedRows:
    """Return the token rows that lie in `folder`, mapped.

    Raises:
        ArtifactError: If they are missing, damaged or of another version.
    """
    read_manifest(folder, _KIND, _VERSION)
    found: dict[str, NDArray[Any]] = {name: _mapped(folder / name, kind) for name, kind in _FILES.items()}
    offsets = np.zeros(len(found["lengths"]) + 1, dtype=np.int64)
    np.cumsum(found["lengths"], out=offsets[1:])
    if not len(found["ids"]) == len(found["marks"]) == offsets[-1]:
        raise ArtifactError(folder, "is damaged: its files do not fit each other")
    return MappedRows(found["ids"], offsets, found["marks"], folder)


def _write(
    folder: Path, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, prompt: str, progress: Progress
) -> None:
    """Write the files chunk by chunk, so that memory stays small."""
    files = {name: (folder / name).open("wb") for name in _FILES}
    try:
        for chunk in token_chunks(texts, tokenizer, prompt, progress):
            for name, file in files.items():
                np.ascontiguousarray(getattr(chunk, name)).tofile(file)
    finally:
        for file in files.values():
            file.close()
    write_manifest(folder, _KIND, _VERSION, {"rows": len(texts), "tokenizer": tokenizer.name_or_path})


def _mapped(path: Path, kind: type[np.generic]) -> NDArray[Any]:
    if path.stat().st_size == 0:  # nothing can be mapped
        return np.empty(0, dtype=kind)
    return np.asarray(np.memmap(path, dtype=kind, mode="r"))
