"""Texts and an encoder → an index: planned, built, tuned and checked."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer

from textcl.artifacts import MANIFEST, check_name
from textcl.assemble.encoding import encode, read_encoded, where_is
from textcl.assemble.index_sources import Passages, read_source, rows_of
from textcl.assemble.searching import Searcher
from textcl.assemble.tuning import read_queries, tune_index
from textcl.corpus.documents import Texts
from textcl.encoder.embed import Embedded
from textcl.encoder.load import describe_encoder, load_encoder
from textcl.errors import ArtifactError, ConfigError
from textcl.index.build import build_index as write_index
from textcl.index.grow import check_enough
from textcl.index.plan import plan_index
from textcl.index.store import is_index, open_index
from textcl.index.tune import FEWEST_QUERIES
from textcl.progress import Progress, Say, quiet, silent
from textcl.unfinished import check_resumable, is_waiting

DEFAULT_RECALL = 0.95  # of a structure that was asked for without one


@dataclass(frozen=True)
class Target:
    """What an index must reach.

    Args:
        recall: The share of the exact answers that is to be found; None for exact search, or with a factory string for
            0.95.
        at: Of how many.
        max_memory: Bytes that the structure may take, and the vectors where it scores with them; None for no limit.
        expected_queries: How many will be asked in all; None for many.
        needs: Of `textcl.index.plan.NEEDS`.
        factory: A FAISS factory string; None for the planner's.
        queries: A file of queries to tune with; None for some made from the corpus.
    """

    recall: float | None = None
    at: int = 10
    max_memory: int | None = None
    expected_queries: int | None = None
    needs: Collection[str] = ()
    factory: str | None = None
    queries: str | Path | None = None

    def __post_init__(self) -> None:
        if self.at < 1:
            raise ConfigError("at", self.at, "a whole number of at least 1")


def build_index(
    model: str | Path | SentenceTransformer,
    source: str | Path | Texts,
    *,
    out: str | Path,
    column: str | None = None,
    limit: int | None = None,
    fields: Sequence[str] = (),
    passages: Passages | None = None,
    target: Target | None = None,
    recall: float | None = None,
    at: int = 10,
    seed: int = 0,
    resume: bool = False,
    force: bool = False,
    progress: Progress = quiet,
    say: Say = silent,
) -> Searcher:
    """Embed the texts of `source` and write an index of them; return it open, with its encoder.

    Args:
        model: A model's folder or name, or a loaded encoder.
        source: What `read_texts` reads, texts already read, or the folder of an `encode` by the same model.
        out: The index folder. What is encoded waits beside it until the index stands.
        column: The column of texts, where the source has several.
        limit: Read only the first rows.
        fields: Columns that hits come back with and filters ask for.
        passages: Cut longer documents into these; None to embed the beginning of each alone.
        target: What the index must reach; None for `recall` at `at`.
        recall: The share of the exact answers that is to be found; None for exact search.
        at: Of how many.
        seed: Of whatever is drawn at random.
        resume: Go on with what an interrupted build of the same left.
        force: Replace an index at `out`, and what an interrupted build left.
        progress: Told of texts encoded, rows added, settings tried.
        say: Told what a user should know: what was chosen and why, what was cut, what was reached.

    Returns:
        The index. Its manifest's `promise` says whether the target was reached.

    Raises:
        ConfigError: If `out` exists, a setting is out of range, or nothing fits into the memory.
        DataError: If the source or the queries are at fault.
        ArtifactError: If an `encode` folder was made by another model, or there is nothing to go on with.
    """
    if target is not None and (recall is not None or at != Target.at):
        raise ConfigError("recall", problem="is said twice; put recall and at into the target")
    wanted = target or Target(recall=recall, at=at)
    folder = Path(out)
    check_name(folder, "out")
    vectors_folder = folder.with_name(f".{folder.name}.vectors")
    if resume and is_index(folder) and not is_waiting(folder):
        return _tuned(folder, vectors_folder, model, wanted, seed, progress, say)
    _check_out(folder, vectors_folder, resume=resume, force=force)
    encoder = model if isinstance(model, SentenceTransformer) else load_encoder(model)
    facts = describe_encoder(encoder, where_is(model))
    texts, encoded = read_source(source, column, limit, fields)
    if encoded is not None and passages is not None:
        raise ConfigError("passages", problem=f"{source} holds vectors of whole texts; give the texts themselves")
    rows, spans = rows_of(texts, encoder, passages)
    planned = plan_index(
        len(rows), int(facts["dimension"]), recall=wanted.recall, max_memory=wanted.max_memory,
        queries=wanted.expected_queries, needs=wanted.needs, factory=wanted.factory,
    )  # fmt: skip
    check_enough(planned.family, len(rows))
    asked = None if wanted.queries is None else read_queries(wanted.queries)
    if asked is None and not planned.family.is_flat and len(rows) < FEWEST_QUERIES:
        problem = f"{len(rows)} texts are too few to tune with; give queries, or build without recall"
        raise ConfigError("queries", problem=problem)
    for reason in planned.reasons:
        say(reason)
    if encoded is not None:
        embedded = read_encoded(encoded, facts)
    else:
        embedded = _encoded(encoder, rows, vectors_folder, facts, resume, force, progress, say)
    index = write_index(
        folder,
        vectors=embedded.vectors,
        ids=texts.ids,
        texts=texts.texts,
        metadata=texts.metadata,
        passages=spans,
        cutting=asdict(passages) if passages is not None else None,
        encoder=facts,
        factory=planned.family.factory,
        seed=seed,
        resume=resume and is_waiting(folder),
        force=force,
        progress=progress,
    )
    _remove(vectors_folder)
    cut = embedded.cut_texts
    notes = (f"cut at {facts['max_tokens']} tokens: {cut} of {len(texts)} documents",) if cut else ()
    searcher = Searcher(index, encoder, folder, notes)
    if index.family.is_flat and wanted.queries is None:
        return searcher
    return tune_index(
        searcher, recall=wanted.recall or DEFAULT_RECALL, at=wanted.at, queries=asked, seed=seed, progress=progress,
        say=say,
    )  # fmt: skip


def _tuned(
    folder: Path,
    vectors_folder: Path,
    model: str | Path | SentenceTransformer,
    wanted: Target,
    seed: int,
    progress: Progress,
    say: Say,
) -> Searcher:
    """Tune an index that stood already when its build was interrupted."""
    _remove(vectors_folder)
    encoder = model if isinstance(model, SentenceTransformer) else load_encoder(model)
    index = open_index(folder)
    if index.family.is_flat or index.manifest["promise"] is not None:
        index.close()
        raise ArtifactError(folder, "is built; there is nothing to continue here")
    index.check_encoder(describe_encoder(encoder, where_is(model)))
    asked = None if wanted.queries is None else read_queries(wanted.queries)
    return tune_index(
        Searcher(index, encoder, folder, ()), recall=wanted.recall or DEFAULT_RECALL, at=wanted.at, queries=asked,
        seed=seed, progress=progress, say=say,
    )  # fmt: skip


def _remove(folder: Path) -> None:
    """Remove a folder so that a kill leaves all of it or nothing that is taken for it."""
    if folder.is_dir():
        (folder / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(folder)


def _check_out(folder: Path, vectors_folder: Path, *, resume: bool, force: bool) -> None:
    if vectors_folder.is_dir() and not (vectors_folder / MANIFEST).is_file():
        shutil.rmtree(vectors_folder)  # a kill came while it was being removed
    waits = vectors_folder.is_dir() or is_waiting(vectors_folder) or is_waiting(folder)
    if resume and not waits:
        raise ArtifactError(folder, "there is nothing to continue here; start it without --resume")
    if waits and not resume and not force:
        problem = f"an unfinished {folder} waits; add --resume to go on with it, or --force to start anew"
        raise ConfigError("out", problem=problem)
    check_resumable(folder, resume=resume and is_waiting(folder), force=force)


def _encoded(
    encoder: SentenceTransformer,
    texts: Texts,
    folder: Path,
    facts: dict[str, Any],
    resume: bool,
    force: bool,
    progress: Progress,
    say: Say,
) -> Embedded:
    """Return the vectors of texts, kept in `folder` until the index stands."""
    if not (resume and folder.is_dir()):
        goes_on = resume and is_waiting(folder)
        encode(encoder, texts, out=folder, resume=goes_on, force=force and not goes_on, progress=progress, say=say)
    return read_encoded(folder, facts, texts)
