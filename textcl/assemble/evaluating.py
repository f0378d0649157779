"""Encoder or index + judged collection → rankings and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sentence_transformers import SentenceTransformer

from textcl.assemble.notes import missing_note
from textcl.assemble.searching import Searcher, open_searcher
from textcl.corpus.collection import Collection
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import load_encoder, prompt_of
from textcl.encoder.vector_files import cached_vectors
from textcl.errors import ConfigError, DataError
from textcl.evaluation.exact import top_documents
from textcl.evaluation.measures import DEFAULT_MEASURES, depth_of
from textcl.evaluation.ranking import Run
from textcl.evaluation.retrieval import RetrievalResult, evaluate_run
from textcl.index.search import search_run
from textcl.index.store import is_index
from textcl.progress import Progress, Say, quiet, silent


@dataclass(frozen=True)
class Ranked:
    """A run over a collection, and what was cut at the encoder's token limit to make it."""

    run: Run
    cut_queries: int
    cut_documents: int

    def note(self, limit: int | None) -> str | None:
        """Return the sentence about cut texts, or None where nothing was cut."""
        if not self.cut_queries and not self.cut_documents:
            return None
        return f"cut at {limit} tokens: {self.cut_documents} documents and {self.cut_queries} queries"


def rank_collection(
    encoder: SentenceTransformer,
    collection: Collection,
    measures: Sequence[str],
    progress: Progress = quiet,
    *,
    keep: bool = False,
) -> Ranked:
    """Return the run of exact search over a collection, as deep as `measures` look.

    With `keep`, embeddings are kept on disk: an encoder with the same weights embeds the same collection once.
    """
    embed = cached_vectors if keep else embed_texts
    document_prompt, query_prompt = prompt_of(encoder, "document"), prompt_of(encoder, "query")
    documents = embed(
        encoder, collection.documents, prompt=document_prompt, progress=progress, description="encode documents"
    )
    queries = embed(encoder, collection.queries, prompt=query_prompt, progress=progress, description="encode queries")
    run = top_documents(
        queries.vectors, collection.query_ids, documents.vectors, collection.doc_ids, depth_of(measures)
    )
    return Ranked(run, queries.cut_texts, documents.cut_texts)


def rank_by_index(
    searcher: Searcher,
    collection: Collection,
    measures: Sequence[str],
    progress: Progress = quiet,
    say: Say = silent,
) -> Ranked:
    """Return the run of an index's own search; its documents must be the collection's."""
    judged = {doc_id for judgements in collection.qrels.values() for doc_id in judgements}
    known = set(searcher.index.ids())
    if missing := len(set(collection.doc_ids) - known):
        say(f"{missing} of {len(collection.doc_ids)} documents of {collection.name} are not in {searcher.folder}")
    if not judged & known:
        raise DataError("holds none of the collection's judged documents; their ids must be equal", searcher.folder)
    queries = searcher.embed(collection.queries, progress)
    run = search_run(searcher.index, queries.vectors, collection.query_ids, depth_of(measures))
    return Ranked(run, queries.cut_texts, 0)


def evaluate_retrieval(
    model: str | Path | SentenceTransformer | Searcher,
    collection: Collection,
    *,
    measures: Sequence[str] = DEFAULT_MEASURES,
    seed: int = 0,
    keep: bool = True,
    progress: Progress = quiet,
    say: Say = silent,
) -> RetrievalResult:
    """Return the measures of exact search with a model, or of an index's search, over a judged collection.

    Args:
        model: A model's folder or name, a loaded encoder, an index folder, or what `build_index` returned.
        collection: As `read_collection` returns it.
        measures: Such as "ndcg@10".
        seed: Of the intervals' bootstrap.
        keep: Keep a model's embeddings on disk (see `cached_vectors`), so that it embeds a collection once.
        progress: Told of texts encoded.
        say: Told sentences about cut texts and missing documents.
    """
    depth_of(measures)  # a wrong measure is named before anything is encoded
    if isinstance(model, str | Path):
        model = model_or_index(model)
    if isinstance(model, Searcher):
        ranked, limit = rank_by_index(model, collection, measures, progress, say), model.encoder.max_seq_length
    else:
        ranked, limit = rank_collection(model, collection, measures, progress, keep=keep), model.max_seq_length
    for note in (ranked.note(limit), missing_note(collection)):
        if note:
            say(note)
    return evaluate_run(ranked.run, collection.qrels, measures, seed=seed)


def model_or_index(path: str | Path, max_tokens: int | None = None) -> SentenceTransformer | Searcher:
    """Open an index folder with its encoder, or load an encoder with `max_tokens` as its limit."""
    if not is_index(Path(path)):
        return load_encoder(path, max_tokens=max_tokens)
    if max_tokens is not None:
        raise ConfigError("max_tokens", problem="an index has the limit it was built with; build it with another model")
    return open_searcher(path)
