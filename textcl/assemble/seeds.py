"""One recipe under several seeds: what it reaches on the average, and how much of it is luck."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textcl.artifacts import check_target, next_numbered, read_manifest, write_manifest, write_whole
from textcl.assemble.given import read_same_recipe
from textcl.assemble.precision import settle_precision
from textcl.assemble.processes import join_processes, make_accelerator, of_the_first, together
from textcl.assemble.training import RUN_KIND, RUN_VERSION, train
from textcl.errors import ArtifactError, ConfigError, PromiseError
from textcl.evaluation.seeds import SeedSummary, summarise_seeds
from textcl.progress import Progress, Say, quiet, silent
from textcl.recipe.models import Recipe
from textcl.recipe.reading import read_recipe
from textcl.training.health import MEASURES
from textcl.training.journal import read_journal

_KIND, _VERSION = "seeds", 1


@dataclass(frozen=True)
class SeedRuns:
    """Runs that differ by their seed alone.

    Args:
        folder: Holds seed-N, one run's folder a seed, and seeds.json.
        seeds: Their numbers.
        summaries: Mean, deviation and interval over the seeds of every measure: as the run was evaluated (`ndcg@10`),
            how much that was more than before (`ndcg@10 change`), what chose on the way (`development spearman`), and
            the health at the last look up to the step that was kept (`health/effective_rank`).
    """

    folder: Path
    seeds: tuple[int, ...]
    summaries: dict[str, SeedSummary]

    def to_json(self) -> dict[str, Any]:
        """Return the seeds and every summary."""
        return {
            "seeds": list(self.seeds),
            "measures": {name: summary.to_json() for name, summary in self.summaries.items()},
        }


def train_seeds(
    recipe: str | Path | Recipe,
    seeds: int,
    *,
    set: Mapping[str, object] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: Progress = quiet,
    say: Say = silent,
) -> SeedRuns:
    """Train a recipe under `seeds` seeds, from the recipe's own on, and summarise what the runs measured.

    Args:
        recipe: A recipe's file, or a Recipe.
        seeds: How many, at least 2.
        set: Values by dotted field, put over the file's.
        out: Gets one folder a seed; None takes the next number under `runs`.
        resume: Continue in `out`: runs that are complete stay, others go on or begin.
        force: Replace what is in `out`.
        progress: Told of texts, steps and documents.
        say: Told what a user should know.

    Raises:
        ConfigError: For fewer than 2 seeds, a wrong recipe, or an `out` that exists.
        PromiseError: If a run diverged or collapsed; the complete ones stay.
    """
    if seeds < 2:
        raise ConfigError("seeds", seeds, "at least 2: one run tells no deviation; leave --seeds out for it")
    join_processes()
    if resume and out is None:
        raise ConfigError("out", problem="--resume needs --out, the folder of the runs to continue")
    folder = of_the_first(next_numbered(Path("runs"), "seeds") if out is None else Path(out))
    first = join_processes().is_main_process
    say = say if first else silent
    kept = next(iter(sorted(folder.glob("seed-*/recipe.yaml"))), None) if first and resume else None
    settled, notes = settle_precision(read_same_recipe(recipe, set), kept)  # once, so that all seeds have the same
    processes = make_accelerator(settled.training)
    together(lambda: _open(folder, resume=resume, force=force) if processes.is_main_process else None)
    for note in notes:
        say(note)
    numbers = tuple(settled.seed + number for number in range(seeds))
    for number in numbers:
        own, seeded = folder / f"seed-{number}", settled.model_copy(update={"seed": number})
        started = (own / "recipe.yaml").is_file()
        if (own / "manifest.json").is_file():
            _check_recipe(own / "recipe.yaml", seeded)
            say(f"seed {number}: complete")
            continue
        say(f"seed {number}")
        try:
            train(seeded, out=own, resume=started, force=not started, progress=progress, say=say)
        except PromiseError as error:
            raise PromiseError(f"seed {number}: {error}") from error
        processes.wait_for_everyone()  # the first one writes what the run leaves, after the others are through
    summaries = summarise_seeds(_by_measure([_measured(folder / f"seed-{number}") for number in numbers]))
    found = SeedRuns(folder, numbers, summaries)
    if processes.is_main_process:
        write_whole(folder / "seeds.json", json.dumps(found.to_json(), indent=2) + "\n")
    return found


def _open(folder: Path, *, resume: bool, force: bool) -> None:
    """Make the folder of new runs, or make sure that it is one of runs to continue."""
    if resume:
        if not folder.is_dir():
            raise ArtifactError(folder, "no runs to continue here; start them without --resume")
        read_manifest(folder, _KIND, _VERSION)
        return
    check_target(folder, force=force)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_manifest(folder, _KIND, _VERSION, {})


def _check_recipe(path: Path, recipe: Recipe) -> None:
    """Raise ArtifactError if a complete run was made by another recipe."""
    if read_recipe(path) != recipe:
        raise ArtifactError(path, "differs from the recipe given; continue with the same one, or name another --out")


def _measured(folder: Path) -> dict[str, float]:
    """Return every number that a complete run reports."""
    facts = read_manifest(folder, RUN_KIND, RUN_VERSION)
    found: dict[str, float] = {}
    if (folder / "evaluation.json").is_file():
        evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        found |= {name: one["mean"] for name, one in evaluation["after"].items()}
        found |= {f"{name} change": one["difference"] for name, one in evaluation["difference"].items()}
    kept, mixed = facts["kept_step"], facts["interpolation"]
    chosen = facts["development"].get(str(kept), {}) if mixed is None else mixed["measures"][f"{mixed['share']:g}"]
    found |= {f"development {name}": value for name, value in chosen.items() if name not in MEASURES}
    journal = [line for line in read_journal(folder / "journal.jsonl") if line["name"].startswith("health/")]
    looked = max((line["step"] for line in journal if line["step"] <= kept), default=0)
    return found | {line["name"]: line["value"] for line in journal if line["step"] == looked}


def _by_measure(runs: list[dict[str, float]]) -> dict[str, list[float]]:
    """Return the values of each measure that all runs have."""
    return {name: [run[name] for run in runs] for name in runs[0] if all(name in run for run in runs)}
