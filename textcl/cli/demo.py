"""`textcl demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.output import say, show_comparison, show_json, show_words
from textcl.cli.search import line_of
from textcl.progress import bar


def demo(
    out: Annotated[Path | None, typer.Option(help="folder for all results; a new numbered one under runs/")] = None,
    seed: Annotated[int, typer.Option(help="of order, views and dropout")] = 0,
    force: Annotated[bool, typer.Option("--force", help="replace the folder")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Train on questions and answers, index, and measure what it bought; a few minutes on two cores."""
    from textcl.assemble.demo import demo as run_demo

    made = run_demo(out=out, seed=seed, force=force, progress=bar, say=say)
    if json:
        show_json(
            {
                "folder": str(made.folder),
                "model": str(made.run.model),
                "index": str(made.folder / "index"),
                "seconds": made.seconds,
                "difference": made.comparison.to_json(),
                "bm25": made.words.to_json(),
            }
        )
        return
    for question, hits in made.answers.items():
        print(f"\n{question}")
        for hit in hits:
            print(f"  {line_of(hit)}")
    print()
    show_comparison(made.comparison)
    show_words(made.words)
    print(f"\nmodel        {made.run.model}")
    print(f'index        {made.folder / "index"}     textcl search {made.folder / "index"} "your question"')
    print(f"rankings     {made.folder / 'runs' / 'before.trec'}, bm25.trec and after.trec")
    print(f"recipe       {made.folder / 'recipe.yaml'}")
    print(f"curves       {made.folder / 'journal.jsonl'}     tensorboard --logdir {made.folder}")
    print(f"all of it in {sum(made.seconds.values()):.0f} s")
