"""`textcl views show`, `audit` and `build`."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.output import say, show_json
from textcl.progress import bar

if TYPE_CHECKING:
    from rich.text import Text

    from textcl.assemble.auditing import Shown
    from textcl.recipe.models import Recipe
    from textcl.views.audit import ViewAudit

app = typer.Typer(help="Write, look at and measure the views of a recipe.", no_args_is_help=True)

_RECIPE = Annotated[Path, typer.Argument(help="YAML file")]
_SET = Annotated[list[str] | None, typer.Option("--set", help="key=value put over the recipe; repeatable")]
_JSON = Annotated[bool, typer.Option("--json", help="print one JSON object")]


@app.command()
def show(
    recipe: _RECIPE,
    n: Annotated[int, typer.Option("-n", help="texts, drawn at random")] = 10,
    done: Annotated[float, typer.Option(help="share of the training that is done, for strengths that move")] = 0.0,
    set_: _SET = None,
    json: _JSON = False,
) -> None:
    """Print texts beside their two views; on a terminal with colours red is gone and green is new."""
    from textcl.assemble.auditing import show_views

    shown = show_views(_read(recipe, set_), n, done=done, progress=bar, say=say)
    if json:
        pairs = [{"text": [one.first_text, one.second_text], "views": [one.first, one.second]} for one in shown]
        show_json({"pairs": pairs})
    else:
        _print_pairs(shown)


@app.command()
def audit(
    recipe: _RECIPE,
    n: Annotated[int, typer.Option("-n", help="texts, drawn at random")] = 1000,
    done: Annotated[float, typer.Option(help="share of the training that is done, for strengths that move")] = 0.0,
    judge: Annotated[str | None, typer.Option(help="encoder that compares; left out, views.judge")] = None,
    worst: Annotated[int, typer.Option(help="examples of each view")] = 3,
    set_: _SET = None,
    json: _JSON = False,
) -> None:
    """Measure how much of its text each view keeps."""
    from textcl.assemble.auditing import audit_views

    audits = audit_views(_read(recipe, set_), n, done=done, judge=judge, worst=worst, progress=bar, say=say)
    if json:
        show_json({"views": [one.to_json() for one in audits]})
    else:
        _print_audits(audits)


@app.command()
def build(recipe: _RECIPE, set_: _SET = None, json: _JSON = False) -> None:
    """Write the stored views of a recipe; stop it at any moment, and start it again to go on."""
    from textcl.assemble.auditing import build_recipe_views

    store, done = build_recipe_views(_read(recipe, set_), progress=bar, say=say)
    if json:
        rows = [{"place": one.place, "name": one.name, **asdict(one.built)} for one in done]
        show_json({"store": str(store), "views": rows})
        return
    for one in done:
        print(f"{one.place} ({one.name}): {one.built.written} of {one.built.texts} texts written now")
        print(f"    {one.built.empty} texts have no view, {one.built.unchanged} came back as they were")
    print(f"store: {store}")


def _read(recipe: Path, pairs: list[str] | None) -> Recipe:
    from textcl.recipe.reading import parse_overrides, read_recipe

    return read_recipe(recipe, parse_overrides(pairs or []))


def _print_pairs(shown: list[Shown]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(show_lines=True, expand=True)
    for column in ("text", "first view", "second view"):
        table.add_column(column, ratio=1, overflow="fold")
    for one in shown:
        text = one.first_text if one.single else f"{one.first_text}\n↕\n{one.second_text}"
        views = (_compared(one.first_text, one.first), _compared(one.second_text, one.second))
        # Without colours what is gone could not be told from what is there.
        seen = views if console.color_system else (one.first, one.second)
        table.add_row(escape(text), *(escape(view) if isinstance(view, str) else view for view in seen))
    console.print(table)


def _compared(text: str, view: str) -> Text:
    """Return a view with the words of the text that are gone in red, and those that are new in green."""
    from rich.text import Text

    before, after = text.split(), view.split()
    pieces: list[Text] = []
    for what, start, end, new_start, new_end in difflib.SequenceMatcher(None, before, after, False).get_opcodes():
        if what in ("delete", "replace"):
            pieces.append(Text(" ".join(before[start:end]), style="red strike"))
        if new_end > new_start:
            pieces.append(Text(" ".join(after[new_start:new_end]), style="" if what == "equal" else "green"))
    return Text(" ").join(pieces)


def _print_audits(audits: list[ViewAudit]) -> None:
    width = max(len(one.name) for one in audits) + 2
    columns = f"{'5 %':>7}{'50 %':>7}{'95 %':>7}{'overlap':>9}{'length':>8}{'unchanged':>11}{'empty':>7}"
    print(f"{'view':<{width}}{'cosine':>8}{columns}")
    for one in audits:
        low, middle, high = (one.quantiles[share] for share in (0.05, 0.5, 0.95))
        print(
            f"{one.name:<{width}}{one.cosine:>8.3f}{low:>7.2f}{middle:>7.2f}{high:>7.2f}"
            f"{one.token_overlap:>9.2f}{one.length_ratio:>8.2f}{one.unchanged:>11.3f}{one.empty:>7.3f}"
        )
    for one in audits:
        if one.worst and one.worst[0].cosine < 0.999:
            print(f"\n{one.name}: the lowest cosines")
            for example in one.worst:
                print(f"  {example.cosine:.2f}  {_short(example.text)}\n        {_short(example.view)}")
    print(f"\n{audits[0].texts} texts; cosine of text and view, its quantiles; shared tokens; tokens of view / text")


def _short(text: str, width: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"
