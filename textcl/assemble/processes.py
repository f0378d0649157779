"""The processes of a run: what they agree on before the first step, so that none waits for one that has ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import gather_object

from textcl.errors import ConfigError, TextclError
from textcl.recipe.models import Recipe, TrainingRecipe
from textcl.recipe.reading import write_recipe

T = TypeVar("T")
ACCELERATE_NAMES = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
_PATIENCE = timedelta(hours=24)  # while the first one mines or measures; a process that ends is noticed at once


def join_processes() -> PartialState:
    """Join the group of processes that this one was started with, if there is one."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)


def together(work: Callable[[], T]) -> T:
    """Do some work on every process; where it fails on one, all raise.

    Args:
        work: Must not wait for other processes.

    Raises:
        Exception: Whatever `work` raised here.
        TextclError: If it failed on another process alone.
    """
    result, failed = None, None
    try:
        result = work()
    except Exception as error:  # bugs too: the others must hear of them
        failed = error
    said = gather_object([None if failed is None else _said(failed)])
    if failed is not None:
        raise failed
    for process, problem in enumerate(said):
        if problem is not None:
            raise TextclError("\n".join(f"process {process}: {line}" for line in problem.split("\n")))
    return result  # type: ignore[return-value]  # it did not fail, so this is what `work` returned


def _said(error: Exception) -> str:
    """Return what the other processes are told of an error; of a bug its kind too, without which few say much."""
    return str(error) if isinstance(error, TextclError) else f"{type(error).__name__}: {error}"


def of_the_first(value: T) -> T:
    """Return the first process's value on all."""
    found: list[T] = gather_object([value])
    return found[0]


def check_same_recipe(recipe: Recipe) -> None:
    """Raise ConfigError on all processes if their recipes differ."""
    found = gather_object([write_recipe(recipe)])
    for process, other in enumerate(found):
        if other != found[0]:
            lines = zip(found[0].splitlines(), other.splitlines(), strict=False)
            first, second = next(((one, two) for one, two in lines if one != two), ("", ""))
            said = f"process 0 has `{first.strip()}`, process {process} has `{second.strip()}`"
            raise ConfigError("recipe", problem=f"differs between processes: {said}; start all with the same")


def check_same_data(fingerprint: str) -> None:
    """Raise ConfigError on all processes if they read different texts."""
    found = gather_object([fingerprint])
    if other := [process for process, one in enumerate(found) if one != found[0]]:
        problem = f"process {other[0]} has read other texts or groups than process 0; give all the same files"
        raise ConfigError("data.train", problem=problem)


def make_accelerator(recipe: TrainingRecipe) -> Accelerator:
    """Return what knows the processes and the precision of a run.

    Raises:
        ConfigError: If the precision cannot be had here, or is not settled yet.
    """
    on_gpu = torch.cuda.is_available()
    if recipe.precision == "auto":
        raise ConfigError("training.precision", "auto", "what auto chose, which settle_precision says")
    if recipe.precision == "fp16" and not on_gpu:  # Accelerate would take fp32 and not say so
        raise ConfigError("training.precision", problem="fp16 needs a GPU, and there is none; take auto, fp32 or bf16")
    try:
        return Accelerator(mixed_precision=ACCELERATE_NAMES[recipe.precision], cpu=not on_gpu)
    except ValueError as error:  # Accelerate keeps the precision that a process started with
        problem = "this process has trained with another precision already; start a new one for this run"
        raise ConfigError("training.precision", problem=problem) from error


def first_process_first(work: Callable[[], T]) -> T:
    """Do some work on the first process, then on the others, which find what it has left on disk.

    Args:
        work: Must not wait for other processes. Where the first one fails the others try all the same, so that each
            says what it finds itself.

    Raises:
        Exception: As `together` raises it.
    """
    first = PartialState().is_main_process
    found, failed = None, None
    try:
        found = work() if first else None
    except Exception as error:  # raised below, where the others hear of it
        failed = error
    of_the_first(None)  # the others wait here

    def after() -> T:
        if failed is not None:
            raise failed
        return found if first else work()  # type: ignore[return-value]  # what `work` returned here

    return together(after)
