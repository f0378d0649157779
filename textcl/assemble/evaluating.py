"""Encoder or index + judged collection → measures; encoder + graded pairs → correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from textcl.assemble.labelled import rows_of_split
from textcl.assemble.notes import missing_note
from textcl.assemble.once import embed_sides
from textcl.assemble.searching import Searcher, open_searcher
from textcl.corpus.collection import Collection
from textcl.corpus.readers import Records, check_column, column_texts, read_records
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import load_encoder, prompt_of
from textcl.errors import ConfigError, DataError
from textcl.evaluation.exact import top_documents
from textcl.evaluation.measures import DEFAULT_MEASURES, depth_of
from textcl.evaluation.ranking import Run
from textcl.evaluation.retrieval import RetrievalResult, evaluate_run
from textcl.evaluation.sts import StsResult, score_sts
from textcl.index.search import search_run
from textcl.index.store import is_index
from textcl.progress import Progress, Say, quiet, silent

STS_RESAMPLES = 2000


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
    encoder: SentenceTransformer, collection: Collection, measures: Sequence[str], progress: Progress = quiet
) -> Ranked:
    """Return the run of exact search over a collection, as deep as `measures` look."""
    documents = embed_texts(
        encoder,
        collection.documents,
        prompt=prompt_of(encoder, "document"),
        progress=progress,
        description="encode documents",
    )
    queries = embed_texts(
        encoder, collection.queries, prompt=prompt_of(encoder, "query"), progress=progress, description="encode queries"
    )
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
    progress: Progress = quiet,
    say: Say = silent,
) -> RetrievalResult:
    """Return the measures of exact search with a model, or of an index's search, over a judged collection.

    Args:
        model: A model's folder or name, a loaded encoder, an index folder, or what `build_index` returned.
        collection: As `read_collection` returns it.
        measures: Such as "ndcg@10".
        seed: Of the intervals' bootstrap.
        progress: Told of texts encoded.
        say: Told sentences about cut texts and missing documents.
    """
    depth_of(measures)  # a wrong measure is named before anything is encoded
    if isinstance(model, str | Path):
        model = model_or_index(model)
    if isinstance(model, Searcher):
        ranked, limit = rank_by_index(model, collection, measures, progress, say), model.encoder.max_seq_length
    else:
        ranked, limit = rank_collection(model, collection, measures, progress), model.max_seq_length
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


def evaluate_sts(
    model: str | Path | SentenceTransformer,
    data: str | Path,
    *,
    columns: tuple[str, str, str] = ("sentence1", "sentence2", "score"),
    split: str | None = None,
    progress: Progress = quiet,
    say: Say = silent,
) -> StsResult:
    """Return the correlations of cosine similarity with graded similarity of sentence pairs, with their intervals.

    Args:
        model: A model's folder or name, or a loaded encoder.
        data: A file with a pair a row.
        columns: Names of the two texts and of the grade.
        split: Rows whose column `split` has this value; None takes all rows.
        progress: Told of texts encoded.
        say: Told how many texts were cut at the encoder's limit.

    Raises:
        DataError: If a column is missing, a grade is no number, fewer than two rows are in the split, or all grades in
            it are equal.
    """
    pairs = read_graded_pairs(data, columns=columns, split=split)
    encoder = model if isinstance(model, SentenceTransformer) else load_encoder(model)
    return score_pairs(encoder, pairs, resamples=STS_RESAMPLES, progress=progress, say=say)


@dataclass(frozen=True)
class GradedPairs:
    """Pairs of texts, how alike people say they are, and the file they come from."""

    first: list[str]
    second: list[str]
    grades: NDArray[np.float64]
    records: Records


def read_graded_pairs(
    data: str | Path, *, columns: tuple[str, str, str] = ("sentence1", "sentence2", "score"), split: str | None = None
) -> GradedPairs:
    """Return the graded pairs of a file; arguments and errors are those of `evaluate_sts`."""
    records = read_records(data)
    first, second = column_texts(records, columns[0]), column_texts(records, columns[1])
    grades = _grades(records, columns[2])
    chosen = np.arange(len(records)) if split is None else rows_of_split(records, split)
    if len(chosen) < 2:
        raise records.fault("has a single pair; a correlation needs at least 2")
    return GradedPairs([first[row] for row in chosen], [second[row] for row in chosen], grades[chosen], records)


def score_pairs(
    encoder: SentenceTransformer,
    pairs: GradedPairs,
    *,
    resamples: int | None = None,
    progress: Progress = quiet,
    say: Say = silent,
) -> StsResult:
    """Return how the encoder's cosines correlate with the grades; `resamples` as `score_sts` has it.

    Raises:
        DataError: If there is no correlation, since all grades or all cosines are equal.
    """
    sides = embed_sides(encoder, [pairs.first, pairs.second], progress=progress, say=say)
    try:
        return score_sts(sides[0].vectors, sides[1].vectors, pairs.grades, resamples=resamples)
    except DataError as error:
        raise pairs.records.fault(error.problem) from None


def _grades(records: Records, column: str) -> NDArray[np.float64]:
    check_column(records, column)
    grades = np.empty(len(records))
    for row, value in enumerate(records.dataset[column]):
        try:
            grades[row] = float(value)
        except (TypeError, ValueError):
            grades[row] = np.nan
        if not np.isfinite(grades[row]):
            raise records.fault(f"column {column!r}: expected a number, got {value!r}", row)
    return grades
