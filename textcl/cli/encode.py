"""`textcl encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from textcl.cli.output import say, show_json
from textcl.progress import bar

Precision = Literal["auto", "fp32", "bf16", "int8"]


def encode(
    model: Annotated[str, typer.Argument(help="folder or name of the encoder")],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="text file, BEIR folder or hub:NAME")],
    out: Annotated[Path, typer.Option(help="folder for vectors.npy, texts.jsonl and manifest.json")],
    column: Annotated[str | None, typer.Option(help="column of the texts, where there are several")] = None,
    limit: Annotated[int | None, typer.Option(help="rows read at most")] = None,
    precision: Annotated[
        Precision, typer.Option(help="of the matrix products; auto is bf16 where that is much faster, else fp32")
    ] = "fp32",
    resume: Annotated[bool, typer.Option("--resume", help="go on with an encode that was interrupted")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace the folder, or an unfinished one")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Turn texts into vectors on disk."""
    from textcl.assemble.encoding import encode as write_vectors

    folder, manifest = write_vectors(
        model, source, out=out, column=column, limit=limit, precision=precision, resume=resume, force=force,
        progress=bar, say=say,
    )  # fmt: skip
    if cut := manifest["cut_texts"]:
        say(f"cut at {manifest['encoder']['max_tokens']} tokens: {cut} of {manifest['rows']} texts")
    if json:
        show_json({"vectors": str(folder), **manifest})
    else:
        print(f"{manifest['rows']} vectors of {manifest['encoder']['dimension']} numbers: {folder}")
