"""`textcl report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.output import say, show_json
from textcl.progress import bar


def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="folders of runs, at most 6")],
    out: Annotated[Path, typer.Option(help="HTML file")],
    collection: Annotated[
        Path | None, typer.Option(help="BEIR folder; left out, the one that each run was evaluated on")
    ] = None,
    split: Annotated[str | None, typer.Option(help="which qrels of it; left out, those of the run")] = None,
    index: Annotated[
        list[Path] | None, typer.Option(help="index folder to show too; repeatable; those in DIR are shown anyway")
    ] = None,
    field: Annotated[str | None, typer.Option(help="column that colours the map; left out, one that groups")] = None,
    sample: Annotated[
        int, typer.Option(help="documents encoded for the map and similarities; 0 encodes nothing")
    ] = 400,
    by: Annotated[str | None, typer.Option("--map", help="umap or pca; left out, umap where it is installed")] = None,
    seed: Annotated[int, typer.Option(help="of the sample and of intervals")] = 0,
    force: Annotated[bool, typer.Option("--force", help="replace the file")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Write what runs measured into one HTML file that needs no network."""
    from textcl.assemble.reporting import report as write_report

    missing = write_report(
        folders,
        out=out,
        force=force,
        collection=collection,
        split=split,
        indexes=index or [],
        field=field,
        sample=sample,
        by=by,
        seed=seed,
        progress=bar,
        say=say,
    )
    if json:
        show_json({"report": str(out), "bytes": out.stat().st_size, "missing": missing})
    else:
        print(f"report: {out}")
