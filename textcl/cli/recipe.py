"""`textcl recipe check` and `textcl recipe schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.output import show_json

app = typer.Typer(help="Look at recipes without running them.", no_args_is_help=True)


@app.command()
def check(
    recipe: Annotated[Path, typer.Argument(help="YAML file")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value put over the recipe; repeatable")] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Print a recipe with all defaults written out, or every fault in it."""
    from textcl.recipe.reading import parse_overrides, read_recipe, write_recipe

    resolved = read_recipe(recipe, parse_overrides(set_ or []))
    if json:
        show_json(resolved.model_dump(mode="json"))
    else:
        print(write_recipe(resolved), end="")


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from textcl.recipe.models import Recipe

    show_json(Recipe.model_json_schema())
