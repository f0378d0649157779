"""`textcl encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.output import say, show_json
from textcl.progress import bar


def encode(
    model: Annotated[str, typer.Argument(help="folder or name of the encoder")],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="text file, BEIR folder or hub:NAME")],
    out: Annotated[Path, typer.Option(help="folder for vectors.npy, texts.jsonl and manifest.json")],
    column: Annotated[str | None, typer.Option(help="column of the texts, where there are several")] = None,
    limit: Annotated[int | None, typer.Option(help="rows read at most")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the folder")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Turn texts into vectors on disk."""
    from textcl.assemble.searching import encode as write_vectors

    folder, manifest = write_vectors(model, source, out=out, column=column, limit=limit, force=force, progress=bar)
    if cut := manifest["cut_texts"]:
        say(f"cut at {manifest['encoder']['max_tokens']} tokens: {cut} of {manifest['rows']} texts")
    if json:
        show_json({"vectors": str(folder), **manifest})
    else:
        print(f"{manifest['rows']} vectors of {manifest['encoder']['dimension']} numbers: {folder}")
