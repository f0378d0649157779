"""What `training.precision: auto` becomes, and how fast the machine is then."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate.state import AcceleratorState, is_initialized

from textcl.assemble.processes import ACCELERATE_NAMES, join_processes, of_the_first, together
from textcl.encoder.load import linear_widths
from textcl.encoder.machine import fastest, product_speed, safe_precisions, say_speeds
from textcl.recipe.models import Recipe
from textcl.recipe.reading import read_recipe


def settle_precision(recipe: Recipe, recorded: Path | None = None) -> tuple[Recipe, list[str]]:
    """Return the recipe with a precision in the place of `auto`, the first process's choice on all, and a note of it.

    Args:
        recipe: One that names a precision comes back as it is.
        recorded: The recipe of a run that goes on, whose precision is kept without measuring; None, or one
            that is not there, for a new run.

    Raises:
        ConfigError: If `recorded` is no recipe.
    """
    if recipe.training.precision != "auto":
        return recipe, []
    first = join_processes().is_main_process
    chosen, why = of_the_first(together(lambda: _choose(recipe, recorded) if first else ("auto", "")))
    training = recipe.training.model_copy(update={"precision": chosen})
    return recipe.model_copy(update={"training": training}), [f"precision: {chosen} ({why})"]


def _choose(recipe: Recipe, recorded: Path | None) -> tuple[str, str]:
    """Return a precision, and why it is that one."""
    if recorded is not None and recorded.is_file():
        return read_recipe(recorded).training.precision, "as the run began"
    if is_initialized():  # Accelerate keeps one precision for the life of a process
        mixed = AcceleratorState().mixed_precision
        kept = next(name for name, theirs in ACCELERATE_NAMES.items() if theirs == mixed)
        return kept, "as this process has trained before"
    device, widths = join_processes().device, linear_widths(recipe.encoder.model)
    speeds = {name: product_speed(*widths, name, device) for name in safe_precisions(device)}
    return fastest(speeds), f"measured: {say_speeds(speeds)}"


def measure_peak(recipe: Recipe) -> float:
    """Return the floating-point operations a second that all processes can do, in the precision of a settled recipe.

    The first process measures; the others are taken to be as fast. It is the rate of a product of the encoder's widths
    alone, which no training step reaches.
    """
    state = join_processes()

    def measure() -> float:
        widths = linear_widths(recipe.encoder.model)
        return product_speed(*widths, recipe.training.precision, torch.device(state.device))

    return of_the_first(together(lambda: measure() if state.is_main_process else 0.0)) * int(state.num_processes)
