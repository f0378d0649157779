"""Texts and an index → the index with them."""

from __future__ import annotations

from pathlib import Path

from textcl.assemble.encoding import read_encoded
from textcl.assemble.index_sources import Passages, is_encoded, read_source, rows_of
from textcl.assemble.searching import open_searcher
from textcl.corpus.documents import Texts
from textcl.encoder.load import describe_encoder
from textcl.errors import ConfigError, DataError
from textcl.index import update
from textcl.index.shard_files import Documents
from textcl.progress import Progress, quiet


def add_texts(
    folder: str | Path,
    source: str | Path | Texts,
    *,
    column: str | None = None,
    limit: int | None = None,
    replace: bool = False,
    model: str | Path | None = None,
    progress: Progress = quiet,
) -> tuple[int, int]:
    """Embed texts and add them to an index; return how many documents were added, and how many of them replaced others.

    Args:
        folder: The index folder.
        source: What `read_texts` reads, or texts already read, or the folder of an `encode` by the same model.
        column: The column of texts, where the source has several.
        limit: Read only the first rows.
        replace: A document whose id is there takes its place; without it that is an error.
        model: Where the encoder is now; None for where it was.
        progress: Told of texts encoded and rows added.

    Raises:
        ConfigError, DataError, ArtifactError: As `textcl.index.update.add` and `open_searcher`.
    """
    searcher = open_searcher(folder, model)
    with searcher.index as index:
        cutting = index.manifest["cutting"]
        if is_encoded(source) and (index.manifest["fields"] or cutting is not None):
            kept = "fields" if index.manifest["fields"] else "passages"
            problem = f"{source} holds vectors without {kept}, which {folder} keeps; give the texts themselves"
            raise ConfigError("source", problem=problem)
        texts, encoded = read_source(source, column, limit, index.manifest["fields"])
        if not replace and (old := index.places_of(texts.ids)):
            one = next(name for name in texts.ids if name in old)
            problem = f"{len(old)} documents are in the index already, the first {one!r}; add --replace to replace them"
            raise DataError(problem, folder)
        facts = describe_encoder(searcher.encoder, index.manifest["encoder"]["model"])
        keeps_texts = bool(index.manifest["texts"])
    rows, spans = rows_of(texts, searcher.encoder, None if cutting is None else Passages(**cutting))
    vectors = (
        read_encoded(encoded, facts).vectors
        if encoded is not None
        else searcher.embed_documents(rows.texts, progress).vectors
    )
    documents = Documents(texts.ids, texts.texts if keeps_texts else None, texts.metadata, spans)
    # The index may have been built anew by another encoder meanwhile.
    replaced = update.add(
        Path(folder), vectors=vectors, documents=documents, encoder=facts, replace=replace, progress=progress
    )
    return len(texts), replaced
