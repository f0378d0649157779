"""`textcl demo`: the whole way from texts to measured search, on real data that the package carries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from textcl.artifacts import check_target, next_numbered, write_whole
from textcl.assemble.baselines import rank_by_words
from textcl.assemble.evaluating import rank_by_index, rank_collection
from textcl.assemble.indexing import build_index
from textcl.assemble.training import Run, train
from textcl.corpus.collection import Collection, read_collection
from textcl.corpus.documents import Texts
from textcl.encoder.load import load_encoder
from textcl.evaluation.compare import Comparison, compare_results
from textcl.evaluation.measures import DEFAULT_MEASURES
from textcl.evaluation.ranking import Run as Ranking
from textcl.evaluation.retrieval import RetrievalResult, evaluate_run
from textcl.evaluation.runs import write_run
from textcl.index.search import Hit
from textcl.progress import Progress, Say, quiet, silent
from textcl.recipe.reading import read_recipe

QUESTIONS = (
    "How can I tell whether my child has an ear infection?",
    "Can this disease be passed on to my children?",
    "What can be done against high blood pressure?",
)


@dataclass(frozen=True)
class Demo:
    """What the demo made and measured.

    Args:
        folder: The run's, with index/ beside the model and in evaluation.json what the rankings in runs/ are worth.
        run: The training run.
        comparison: Before and after on topics that training never saw.
        words: What BM25 reaches on the same topics.
        answers: Each example question with its best documents.
        seconds: Wall time of each step, by its name.
    """

    folder: Path
    run: Run
    comparison: Comparison
    words: RetrievalResult
    answers: dict[str, list[Hit]]
    seconds: dict[str, float]


def demo(
    *,
    out: str | Path | None = None,
    seed: int = 0,
    split: str = "test",
    overrides: Mapping[str, object] | None = None,
    force: bool = False,
    progress: Progress = quiet,
    say: Say = silent,
) -> Demo:
    """Evaluate, train, index, evaluate again, search.

    Args:
        out: Folder for everything; None takes the next number under `runs`.
        seed: Of order, views and dropout.
        split: `test`, the topics to print, or `dev`, those on which settings are chosen.
        overrides: Values by dotted field, put over the demo's recipe.
        force: Replace the folder.
        progress: Told of texts and steps.
        say: Told what happens, step by step.
    """
    folder = next_numbered(Path("runs"), "demo") if out is None else Path(out)
    check_target(folder, force=force)
    seconds: dict[str, float] = {}
    data = Path(__file__).parents[1] / "demo_data"
    settings = {"seed": seed, "data.train": str(data / "train.jsonl.gz"), "evaluation": None, **(overrides or {})}
    recipe = read_recipe(data / "demo.yaml", settings)
    collection = read_collection(data / split, split)
    say(
        f"MedQuAD (CC BY 4.0): {len(collection.documents)} answers to search, {len(collection.queries)} questions "
        "of topics that training never sees"
    )
    with _step("1/5 evaluate the base model", seconds, say):
        base = load_encoder(recipe.encoder.model, max_tokens=recipe.encoder.max_tokens)
        before = rank_collection(base, collection, DEFAULT_MEASURES, progress, keep=True)
    if note := before.note(recipe.encoder.max_tokens):
        say(note)
    with _step("2/5 train on the questions and answers of other topics", seconds, say):
        run = train(recipe, out=folder, force=force, progress=progress, say=say)
    with _step("3/5 build the index", seconds, say):
        documents = Texts(collection.doc_ids, collection.documents, collection.name)
        searcher = build_index(run.model, documents, out=folder / "index", progress=progress)
    with _step("4/5 evaluate again, through the index", seconds, say):
        after = rank_by_index(searcher, collection, DEFAULT_MEASURES, progress)
        comparison, words = _compare(folder, before.run, after.run, collection, data / split, split, seed)
    with _step("5/5 ask three questions", seconds, say):
        answers = {question: searcher.search(question, k=3) for question in QUESTIONS}
    return Demo(folder, run, comparison, words, answers, seconds)


def _compare(
    folder: Path, before: Ranking, after: Ranking, collection: Collection, source: Path, split: str, seed: int
) -> tuple[Comparison, RetrievalResult]:
    """Return what training changed, and what BM25 reaches; leave both in the run's folder, as `textcl train` does."""
    write_run(folder / "runs" / "before.trec", before)
    write_run(folder / "runs" / "after.trec", after)
    words = rank_by_words(collection, DEFAULT_MEASURES)
    write_run(folder / "runs" / "bm25.trec", words)
    first, second, third = (
        evaluate_run(run, collection.qrels, DEFAULT_MEASURES, seed=seed) for run in (before, after, words)
    )
    comparison = compare_results(first, second, seed=seed)
    evaluation = {
        "collection": {"folder": str(source.resolve()), "split": split},
        "before": first.to_json(),
        "bm25": third.to_json(),
        "after": second.to_json(),
        "difference": comparison.to_json(),
    }
    write_whole(folder / "evaluation.json", json.dumps(evaluation, indent=2) + "\n")
    return comparison, third


@contextmanager
def _step(name: str, seconds: dict[str, float], say: Callable[[str], None]) -> Iterator[None]:
    say(name)
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started
    say(f"    {seconds[name]:.0f} s")
