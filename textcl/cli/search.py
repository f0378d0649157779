"""`textcl search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.output import show_json
from textcl.errors import ConfigError
from textcl.progress import bar

if TYPE_CHECKING:
    from textcl.index.search import Hit


def search(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the index folder")],
    query: Annotated[str | None, typer.Argument(help="a question in words")] = None,
    k: Annotated[int, typer.Option("-k", help="documents a query")] = 10,
    at_least: Annotated[float | None, typer.Option(help="leave out hits with a lower score")] = None,
    queries: Annotated[Path | None, typer.Option(help="file of queries, instead of one")] = None,
    run: Annotated[Path | None, typer.Option(help="TREC run file for the answers to --queries")] = None,
    model: Annotated[str | None, typer.Option(help="where the encoder is now, if it moved")] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Ask an index."""
    from textcl.assemble.searching import open_searcher, search_file

    if (query is None) == (queries is None) or (query is not None and not query.strip()):
        raise ConfigError("query", problem="give one question, or --queries with a file of them")
    if run is not None and queries is None:
        raise ConfigError("run", problem="is written for --queries; leave it out for one question")
    if queries is not None:
        if run is None:
            raise ConfigError("run", problem="--queries needs --run, the file to write the answers to")
        answered = search_file(open_searcher(folder, model), queries, run, k=k, at_least=at_least, progress=bar)
        if json:
            show_json({"run": str(run), "queries": answered})
        else:
            print(f"{answered} queries answered: {run}")
        return
    assert query is not None
    hits = open_searcher(folder, model).search(query, k, at_least=at_least)
    if json:
        show_json({"hits": [{"id": hit.id, "score": hit.score, "text": hit.text} for hit in hits]})
    else:
        for hit in hits:
            print(line_of(hit))


def line_of(hit: Hit, width: int = 100) -> str:
    """Return one hit as a line: score, id, and the beginning of its text."""
    text = " ".join((hit.text or "").split())
    shown = text if len(text) <= width else text[: width - 1].rstrip() + "…"
    return f"{hit.score:.3f}  {hit.id}  {shown}"
