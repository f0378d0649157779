"""An index and its encoder → answers to questions in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer

from textcl.artifacts import check_file_target
from textcl.corpus.documents import read_texts
from textcl.encoder.embed import Embedded, embed_texts
from textcl.encoder.load import describe_encoder, load_encoder, prompt_of
from textcl.errors import ConfigError
from textcl.evaluation.runs import write_run
from textcl.index.search import Hit, search, search_range, search_run
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

    def embed_documents(self, texts: Sequence[str], progress: Progress = quiet) -> Embedded:
        """Return the vectors of documents, with the document prompt."""
        prompt = prompt_of(self.encoder, "document")
        return embed_texts(self.encoder, texts, prompt=prompt, progress=progress, description="encode documents")

    def search(
        self,
        query: str,
        k: int | None = 10,
        *,
        at_least: float | None = None,
        filters: Mapping[str, object] | None = None,
        exact: bool = False,
    ) -> list[Hit]:
        """Return the best documents for one question, best first.

        Args:
            query: In words.
            k: How many at most; None for all that score at least `at_least`.
            at_least: The lowest score.
            filters: Only documents whose metadata fields have these values.
            exact: Search all vectors, whatever structure there is.

        Raises:
            ConfigError: If `k` and `at_least` are both None, or as `textcl.index.search.search`.
        """
        vectors = self.embed([query]).vectors
        if k is not None:
            return search(self.index, vectors, k, at_least=at_least, filters=filters, exact=exact)[0]
        if at_least is None:
            raise ConfigError("k", k, "a number of documents, or at_least, the lowest score")
        return search_range(self.index, vectors[0], at_least, filters=filters)


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


def search_file(
    searcher: Searcher,
    queries: Path,
    run: Path,
    *,
    k: int = 10,
    at_least: float | None = None,
    filters: Mapping[str, object] | None = None,
    exact: bool = False,
    progress: Progress = quiet,
) -> int:
    """Answer a file of queries as a TREC run file; return how many were asked.

    A query without any document at or above `at_least` has no line in the run file.
    """
    check_file_target(run, field="run")
    asked = read_texts(queries)
    answers = search_run(
        searcher.index, searcher.embed(asked.texts, progress).vectors, asked.ids, k, filters=filters, exact=exact
    )
    if at_least is not None:
        answers = {name: [hit for hit in ranking if hit[1] >= at_least] for name, ranking in answers.items()}
    write_run(run, answers)
    return len(asked.ids)
