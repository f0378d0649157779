"""`textcl train`: a recipe in, a run's folder out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textcl.artifacts import whole_folder, write_manifest, write_whole
from textcl.assemble.baselines import rank_by_words
from textcl.assemble.components import Components, make_encoder
from textcl.assemble.development import Development, interpolate_best, to_json
from textcl.assemble.evaluating import rank_collection
from textcl.assemble.given import Given, read_given, read_same_recipe
from textcl.assemble.loop import make_batches, make_settings
from textcl.assemble.negatives import Miner
from textcl.assemble.notes import padding_note, tell
from textcl.assemble.precision import measure_peak, settle_precision
from textcl.assemble.processes import first_process_first, join_processes, make_accelerator, together
from textcl.assemble.run_folder import open_folder, versions
from textcl.assemble.sources import make_sources
from textcl.assemble.views import unwritten
from textcl.encoder.load import describe_encoder, save_encoder
from textcl.encoder.lora import merge_lora
from textcl.evaluation.compare import Comparison, compare_results
from textcl.evaluation.retrieval import RetrievalResult, evaluate_run
from textcl.evaluation.runs import check_ids, read_run, write_run
from textcl.progress import Progress, Say, quiet, silent
from textcl.recipe.models import Recipe
from textcl.training.journal import read_journal
from textcl.training.probe import draw_probe
from textcl.training.settings import TrainingResult
from textcl.training.sources import PairSource
from textcl.training.trainer import Evaluate, Trainer

RUN_KIND, RUN_VERSION = "run", 1


@dataclass(frozen=True)
class Run:
    """What a training run left.

    Args:
        folder: The run's folder.
        model: The trained encoder's folder, for sentence-transformers and everything here that takes a model.
        before: Measures of the encoder as it came, None without `evaluation`.
        after: Measures of the trained encoder.
        words: Measures of BM25.
        comparison: The differences with their paired intervals.
        steps: Optimizer steps done.
        kept_step: The step whose weights were kept.
    """

    folder: Path
    model: Path
    before: RetrievalResult | None
    after: RetrievalResult | None
    words: RetrievalResult | None
    comparison: Comparison | None
    steps: int
    kept_step: int

    @property
    def measures(self) -> dict[str, dict[str, float]]:
        """The trained encoder's measures with their intervals; empty without `evaluation`."""
        return {} if self.after is None else self.after.to_json()

    @property
    def journal(self) -> list[dict[str, Any]]:
        """Every value that was measured on the way: step, name, value."""
        return read_journal(self.folder / "journal.jsonl")


def train(
    recipe: str | Path | Recipe,
    *,
    set: Mapping[str, object] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress = quiet,
    say: Say = silent,
) -> Run:
    """Train an encoder as a recipe says, and measure what that bought.

    Nothing is written before the recipe, the data and the collection are known to be sound.

    Args:
        recipe: A recipe's file, or a Recipe.
        set: Values by dotted field, put over the file's.
        out: The run's folder; None takes the next number under `runs`.
        resume: Continue the run in `out` from its newest checkpoint; the recipe must be the same.
        force: Replace the run in `out`.
        progress: Told of texts, steps and documents.
        say: Told what a user should know: cut texts, leaks, where the run lies.

    Raises:
        ConfigError: For a wrong recipe, or an `out` that exists.
        DataError: For wrong data.
        ArtifactError: For a missing model, or a run that cannot be continued.
        PromiseError: If training diverged.
    """
    first = join_processes().is_main_process
    progress = progress if first else quiet
    say = say if first else silent
    recipe = read_same_recipe(recipe, set)
    recorded = Path(out) / "recipe.yaml" if resume and out is not None else None
    recipe, chosen = settle_precision(recipe, recorded)
    accelerator = make_accelerator(recipe.training)
    given = read_given(recipe, accelerator, out, resume=resume, force=force, progress=progress)
    parts, texts = given.parts, given.texts
    sources, longer, notes = first_process_first(lambda: make_sources(texts, parts, recipe, progress))  # tokens on disk
    miner, negatives = None, given.negatives
    if negatives is not None:
        (source,) = (one for one in sources if isinstance(one, PairSource))
        miner = first_process_first(lambda: Miner(negatives, parts, source, given.folder, accelerator, progress, say))
        sources, notes = [miner.source], [*notes, *miner.notes]
    batches = make_batches(sources, texts, recipe, parts.method, accelerator)
    settings = make_settings(recipe, batches.per_epoch, measure_peak(recipe))
    batches.length = settings.steps * settings.accumulate_steps
    probe = (
        None if recipe.training.health is None else draw_probe(sources, recipe.training.health.probe_pairs, recipe.seed)
    )
    evaluate = _on_the_way(recipe, parts, given.development, settings.steps)
    trainer = Trainer(
        parts.method,
        batches,
        settings,
        given.folder,
        accelerator,
        evaluate,
        probe,
        say,
        miner if miner and miner.every else None,
    )
    if batches.batch_size < recipe.training.batch_size:
        say(f"training.batch_size is {batches.batch_size}, since there are no more pairs for a process")
    if first:
        tell(recipe, texts, parts.encoder.max_seq_length, given.collection, longer, say)
        for note in [*chosen, padding_note(parts.encoder), *notes]:
            if note is not None:
                say(note)
    together(lambda: open_folder(given.folder, recipe, given.fingerprint, resume=resume) if first else None)
    before = together(lambda: _before(recipe, given, progress) if first else None)
    result = trainer.train(resume=resume, progress=progress)
    if not first:
        return Run(given.folder, given.folder / "model", None, None, None, None, result.steps, result.kept_step)
    mixture = _mix(recipe, parts, given.development, say)
    return _finish(recipe, given, before, result, mixture, progress)


def _on_the_way(recipe: Recipe, parts: Components, development: Development | None, steps: int) -> Evaluate | None:
    """Return the callable that measures the encoder on the way, or None where the last step is the only one asked."""
    every = recipe.training.evaluate_every
    if development is None or not development.names:
        return None
    if recipe.development is None and (every is None or every > steps):
        return None  # the evaluation behind the last step says it
    return lambda: development.measure(parts.encoder)


def _mix(recipe: Recipe, parts: Components, development: Development | None, say: Say) -> dict[str, Any] | None:
    """Merge LoRA, then give the encoder the best share of what it learnt; return what each share measured."""
    merge_lora(parts.encoder)
    chosen = recipe.development
    if development is None or chosen is None or not chosen.interpolate:
        return None
    base = make_encoder(recipe.encoder.model_copy(update={"lora": None}), str(parts.encoder.device))
    share, found = interpolate_best(parts.encoder, base, chosen.interpolate, development.measure, chosen.by)
    say(f"{share:g} of the trained weights, the rest from {recipe.encoder.model} as it came, measures best")
    return {"share": share, "measures": to_json(found)}


def _before(recipe: Recipe, given: Given, progress: Progress) -> RetrievalResult | None:
    """Return the measures of the encoder as it came; a resume reads its run back."""
    collection, chosen = given.collection, recipe.evaluation
    if collection is None or chosen is None:
        return None
    path, words = (given.folder / "runs" / f"{name}.trec" for name in ("before", "bm25"))
    check_ids(path, collection.query_ids, collection.doc_ids)
    if not path.exists():
        write_run(path, rank_collection(given.parts.encoder, collection, chosen.measures, progress, keep=True).run)
    if not words.exists():
        write_run(words, rank_by_words(collection, chosen.measures, progress))
    return evaluate_run(read_run(path), collection.qrels, chosen.measures, seed=recipe.seed)


def _finish(
    recipe: Recipe,
    given: Given,
    before: RetrievalResult | None,
    result: TrainingResult,
    mixture: dict[str, Any] | None,
    progress: Progress,
) -> Run:
    """Write the model, the second evaluation and the manifest."""
    folder, parts, collection = given.folder, given.parts, given.collection
    with whole_folder(folder / "model", force=True) as partial:
        save_encoder(parts.encoder, partial)
    after = words = comparison = None
    if collection is not None and before is not None and recipe.evaluation is not None:
        run = rank_collection(parts.encoder, collection, recipe.evaluation.measures, progress, keep=True).run
        write_run(folder / "runs" / "after.trec", run)
        after = evaluate_run(run, collection.qrels, recipe.evaluation.measures, seed=recipe.seed)
        comparison = compare_results(before, after, seed=recipe.seed)
        words = evaluate_run(
            read_run(folder / "runs" / "bm25.trec"), collection.qrels, recipe.evaluation.measures, seed=recipe.seed
        )
        evaluation = {
            "before": before.to_json(), "bm25": words.to_json(), "after": after.to_json(),
            "difference": comparison.to_json(),
        }  # fmt: skip
        write_whole(folder / "evaluation.json", json.dumps(evaluation, indent=2) + "\n")
    facts = {
        "steps": result.steps,
        "kept_step": result.kept_step,
        "development": {str(step): measures for step, measures in result.evaluations.items()},
        "interpolation": mixture,
        "data": given.fingerprint,
        "encoder": describe_encoder(parts.encoder, str((folder / "model").resolve())),
        "stored_views": [
            {"place": plan.place, "made_by": plan.rewriter.facts}
            for plan in (*unwritten(parts.first), *unwritten(parts.second))
        ],
        "versions": versions(),
    }
    write_manifest(folder, RUN_KIND, RUN_VERSION, facts, leave_out={"checkpoints", "tensorboard"})
    return Run(folder, folder / "model", before, after, words, comparison, result.steps, result.kept_step)
