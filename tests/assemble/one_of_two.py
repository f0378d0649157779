"""What each process of test_processes.py runs: several agreements, and what came of each, printed as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from textcl.assemble.processes import (
    check_same_data,
    check_same_recipe,
    first_process_first,
    join_processes,
    of_the_first,
    together,
)
from textcl.errors import ConfigError, ConfigErrors, DataError
from textcl.recipe.reading import read_recipe


def failing(process, error):
    """Work that fails on one process alone."""
    rank = join_processes().process_index

    def work():
        if rank == process:
            raise error
        return rank

    return work


def left_behind():
    """Work that says who has begun it before."""
    with Path("begun").open("a+") as file:
        file.seek(0)
        before = file.read()
        file.write(str(join_processes().process_index))
    return before


def outcome(action):
    """What an action returned, or what it raised."""
    try:
        return ["returned", action()]
    except Exception as error:
        return [type(error).__name__, str(error)]


def main():
    rank = join_processes().process_index
    several = ConfigErrors([ConfigError("first", 1, "a text"), ConfigError("second", 2, "a text")])
    same, other = (read_recipe(f"seed: {seed}\ndata: {{train: a.txt}}") for seed in (0, rank))
    return {
        "well": outcome(lambda: together(lambda: 10 + rank)),
        "of the first": outcome(lambda: str(of_the_first(Path(f"run-{rank}")))),
        "wrong on 0": outcome(lambda: together(failing(0, DataError("is empty", "a.txt", 3)))),
        "wrong on 1": outcome(lambda: together(failing(1, several))),
        "a bug on 1": outcome(lambda: together(failing(1, KeyError("x")))),
        "same recipe": outcome(lambda: check_same_recipe(same)),
        "other recipe": outcome(lambda: check_same_recipe(other)),
        "same data": outcome(lambda: check_same_data("abc")),
        "other data": outcome(lambda: check_same_data(f"abc{rank}")),
        "first first": outcome(lambda: first_process_first(left_behind)),
        "first fails": outcome(lambda: first_process_first(failing(0, DataError("is empty", "a.txt", 3)))),
        "second fails": outcome(lambda: first_process_first(failing(1, DataError("is empty", "a.txt", 3)))),
        "well again": outcome(lambda: together(lambda: 20 + rank)),
    }


def show():
    """Print what came of them, and leave."""
    from accelerate import PartialState

    print(json.dumps(main()))  # noqa: T201 (read by the test)
    PartialState().destroy_process_group()
