"""Every recipe of the repository reads, and starts with the command that runs it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from textcl.recipe.reading import parse_overrides, read_recipe

ROOT = Path(__file__).parents[1]
RECIPES = sorted(ROOT.glob("recipes/*.yaml"))


def command(path):
    """The words of the command in a recipe's first line."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# textcl train ")
    return shlex.split(first.removeprefix("# "))


def overrides(words):
    return parse_overrides([words[place + 1] for place, word in enumerate(words) if word == "--set"])


def test_the_recipes_of_the_readme_are_there():
    names = {path.name for path in RECIPES}
    assert names >= {"demo.yaml", "masking.yaml", "pairs.yaml", "simcse_unsupervised.yaml"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_reads_as_its_first_line_runs_it(path):
    words = command(path)
    assert words[:3] == ["textcl", "train", f"recipes/{path.name}"]
    assert words[words.index("--out") + 1]
    recipe = read_recipe(path, overrides(words))
    assert all(part.train for part in recipe.data.parts)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_names_no_path_of_one_machine_and_its_measured_result(path):
    text = path.read_text(encoding="utf-8")
    assert not [word for word in text.split() if word.strip("'\"{,:").startswith(("/", "~"))]
    assert "\n# Result: " in text


def test_the_demo_recipe_is_the_one_in_the_package():
    ours, packaged = read_recipe(ROOT / "recipes" / "demo.yaml"), read_recipe(ROOT / "textcl/demo_data/demo.yaml")
    assert ours == packaged
    assert Path(ROOT / ours.data.train).is_file()
