"""Texts and an encoder → an index, and answers to questions in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sentence_transformers import SentenceTransformer

from textcl.artifacts import check_file_target, check_target
from textcl.assemble.encoding import read_encoded, where_is
from textcl.corpus.documents import Texts, read_texts
from textcl.encoder.embed import Embedded, embed_texts
from textcl.encoder.load import describe_encoder, load_encoder, prompt_of
from textcl.errors import ConfigError
from textcl.evaluation.runs import write_run
from textcl.index.build import build_index as write_index
from textcl.index.search import Hit, search, search_run
from textcl.index.store import Index, open_index
from textcl.progress import Progress, quiet


@dataclass(frozen=True)
class Searcher:
    """An open index together with the encoder that made it: questions in words, documents back.

    Args:
        index: Open.
        encoder: Its fingerprint and prompts are those the index was built with.
        folder: The index folder.
        notes: Sentences about its making, such as how many documents were cut.
    """

    index: Index
    encoder: SentenceTransformer
    folder: Path
    notes: tuple[str, ...] = ()

    def embed(self, queries: Sequence[str], progress: Progress = quiet) -> Embedded:
        """Return the vectors of queries, with the query prompt."""
        prompt = prompt_of(self.encoder, "query")
        return embed_texts(self.encoder, queries, prompt=prompt, progress=progress, description="encode queries")

    def search(self, query: str, k: int = 10, *, at_least: float | None = None) -> list[Hit]:
        """Return the best `k` documents for one question, best first, those below `at_least` left out."""
        return search(self.index, self.embed([query]).vectors, k, at_least=at_least)[0]


def open_searcher(folder: str | Path, model: str | Path | None = None) -> Searcher:
    """Open an index with its encoder.

    Args:
        folder: The index folder.
        model: Where the encoder is now; None for where it was when the index was built.

    Raises:
        ArtifactError: If the index is damaged, or the encoder is missing or another one.
    """
    index = open_index(Path(folder))
    facts = index.manifest["encoder"]
    prompts = {"query": facts["query_prompt"], "document": facts["document_prompt"]}
    encoder = load_encoder(str(model or facts["model"]), max_tokens=facts["max_tokens"], prompts=prompts)
    index.check_encoder(describe_encoder(encoder, str(model or facts["model"])))
    return Searcher(index, encoder, Path(folder))


def build_index(
    model: str | Path | SentenceTransformer,
    source: str | Path | Texts,
    *,
    out: str | Path,
    column: str | None = None,
    limit: int | None = None,
    force: bool = False,
    progress: Progress = quiet,
) -> Searcher:
    """Embed the texts of `source` and write an exact index of them; return it open, with its encoder.

    Args:
        model: A model's folder or name, or a loaded encoder.
        source: What `read_texts` reads, texts already read, or the folder of an `encode` by the same model.
        out: The index folder.
        column: The column of texts, where the source has several.
        limit: Read only the first rows.
        force: Replace an index at `out`.
        progress: Told of texts encoded and vectors added.

    Raises:
        ConfigError: If `out` exists, or `limit` is given for the folder of an `encode`.
        DataError: If the source is at fault.
        ArtifactError: If an `encode` folder was made by another model.
    """
    target = Path(out)
    check_target(target, force=force)
    encoded = isinstance(source, str | Path) and (Path(source) / "vectors.npy").is_file()
    for name, value in (("limit", limit), ("column", column)):
        if encoded and value is not None:
            raise ConfigError(
                name, problem=f"{source} holds vectors, which are taken whole; give {name} to textcl encode"
            )
    # An `encode` folder is a source of texts too: its texts.jsonl has them in the order of the vectors.
    texts = (
        source
        if isinstance(source, Texts)
        else read_texts(Path(source) / "texts.jsonl", allow_empty=True)
        if encoded
        else read_texts(source, column=column, limit=limit)
    )
    encoder = model if isinstance(model, SentenceTransformer) else load_encoder(model)
    facts = describe_encoder(encoder, where_is(model) if isinstance(model, str | Path) else _folder_of(encoder))
    if encoded:
        embedded = read_encoded(Path(str(source)), facts)
    else:
        embedded = embed_texts(
            encoder, texts.texts, prompt=facts["document_prompt"], progress=progress, description="encode documents"
        )
    index = write_index(
        target,
        vectors=embedded.vectors,
        ids=texts.ids,
        texts=texts.texts,
        encoder=facts,
        force=force,
        progress=progress,
    )
    cut = embedded.cut_texts
    notes = (f"cut at {facts['max_tokens']} tokens: {cut} of {len(texts.ids)} documents",) if cut else ()
    return Searcher(index, encoder, target, notes)


def _folder_of(encoder: SentenceTransformer) -> str:
    """Return where a loaded encoder came from, as far as it knows."""
    return str(getattr(cast(Any, encoder[0]).auto_model.config, "_name_or_path", "")) or "an encoder in memory"


def search_file(
    searcher: Searcher,
    queries: Path,
    run: Path,
    *,
    k: int = 10,
    at_least: float | None = None,
    progress: Progress = quiet,
) -> int:
    """Answer a file of queries as a TREC run file; return how many were asked.

    A query without any document at or above `at_least` has no line in the run file.
    """
    check_file_target(run, field="run")
    asked = read_texts(queries)
    answers = search_run(searcher.index, searcher.embed(asked.texts, progress).vectors, asked.ids, k)
    if at_least is not None:
        answers = {name: [hit for hit in ranking if hit[1] >= at_least] for name, ranking in answers.items()}
    write_run(run, answers)
    return len(asked.ids)
