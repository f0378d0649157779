"""Which files a BEIR folder has, each with or without .gz."""

from __future__ import annotations

from pathlib import Path

from textcl.errors import DataError


def is_collection(path: str | Path) -> bool:
    """Tell whether `path` is a BEIR folder, one with a corpus.jsonl or corpus.jsonl.gz."""
    return Path(path).is_dir() and existing_file(Path(path) / "corpus.jsonl") is not None


def corpus_file(folder: str | Path) -> Path:
    """Return the file of a BEIR folder's documents."""
    return required_file(Path(folder) / "corpus.jsonl")


def existing_file(path: Path) -> Path | None:
    """Return `path`, or the same with .gz, whichever is there."""
    return next((found for found in (path, path.with_name(f"{path.name}.gz")) if found.is_file()), None)


def required_file(path: Path) -> Path:
    """Return the same, or raise DataError if neither is there."""
    found = existing_file(path)
    if found is None:
        raise DataError("no such file, nor with .gz; a BEIR folder has corpus.jsonl, queries.jsonl and qrels/", path)
    return found
