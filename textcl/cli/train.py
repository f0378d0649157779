"""`textcl train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.output import say, show_comparison, show_json, show_seeds, show_words
from textcl.progress import bar

if TYPE_CHECKING:
    from textcl.assemble.training import Run


def train(
    recipe: Annotated[Path, typer.Argument(help="YAML file")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value put over the recipe; repeatable")] = None,
    out: Annotated[Path | None, typer.Option(help="the run's folder; left out, a new one under runs/")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue --out from its last checkpoint")] = False,
    seeds: Annotated[
        int | None, typer.Option(help="runs under so many seeds, from the recipe's on; mean, deviation and interval")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the run in --out")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Train an encoder as a recipe says and measure what that bought."""
    from accelerate import PartialState

    from textcl.assemble.seeds import train_seeds
    from textcl.assemble.training import train as run_training
    from textcl.recipe.reading import parse_overrides

    overrides = parse_overrides(set_ or [])
    if seeds is not None:
        runs = train_seeds(recipe, seeds, set=overrides, out=out, resume=resume, force=force, progress=bar, say=say)
        if PartialState().is_main_process:
            show_json({"folder": str(runs.folder), **runs.to_json()}) if json else show_seeds(runs)
        return
    run = run_training(recipe, set=overrides, out=out, resume=resume, force=force, progress=bar, say=say)
    if PartialState().is_main_process:
        _show(run, json)


def _show(run: Run, json: bool) -> None:
    if json:
        comparison = None if run.comparison is None else run.comparison.to_json()
        show_json(
            {
                "run": str(run.folder),
                "model": str(run.model),
                "steps": run.steps,
                "kept_step": run.kept_step,
                "measures": run.measures,
                "bm25": None if run.words is None else run.words.to_json(),
                "difference": comparison,
            }
        )
        return
    if run.comparison is not None:
        show_comparison(run.comparison)
    if run.words is not None:
        show_words(run.words)
    print(f"model: {run.model}")
