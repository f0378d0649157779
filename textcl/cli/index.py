"""`textcl index build` and `textcl index info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.output import say, show_json
from textcl.progress import bar

app = typer.Typer(help="Build and look at FAISS indexes.", no_args_is_help=True)


@app.command()
def build(
    model: Annotated[str, typer.Argument(help="folder or name of the encoder")],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="text file, BEIR folder, hub:NAME or encode folder")],
    out: Annotated[Path, typer.Option(help="the index folder")],
    column: Annotated[str | None, typer.Option(help="column of the texts, where there are several")] = None,
    limit: Annotated[int | None, typer.Option(help="rows read at most")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the index")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Embed texts and write an exact index of them."""
    from textcl.assemble.searching import build_index

    searcher = build_index(model, source, out=out, column=column, limit=limit, force=force, progress=bar)
    for note in searcher.notes:
        say(note)
    if json:
        show_json({"index": str(out), **searcher.index.manifest})
    else:
        print(f"{searcher.index.rows} documents of {searcher.index.dimension} numbers: {out}")


@app.command()
def info(
    folder: Annotated[Path, typer.Argument(help="the index folder")],
    verify: Annotated[bool, typer.Option("--verify", help="read every file and compare checksums")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Say what an index holds and which encoder made it."""
    from textcl.index.store import open_index

    with open_index(folder, verify=verify) as index:
        manifest = index.manifest
    if json:
        show_json({"index": str(folder), **manifest})
        return
    for name in ("rows", "dimension", "factory", "metric", "normalised", "faiss_version", "build_s"):
        print(f"{name:<16}{manifest[name]}")
    for name, value in manifest["encoder"].items():
        print(f"encoder.{name:<16}{value}")
