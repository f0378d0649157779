"""`textcl search`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.output import say, show_json
from textcl.errors import ConfigError, TextclError
from textcl.progress import bar

if TYPE_CHECKING:
    from textcl.assemble.searching import Searcher
    from textcl.index.search import Hit


def search(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the index folder")],
    query: Annotated[str | None, typer.Argument(help="a question in words; left out, a prompt asks for some")] = None,
    k: Annotated[int, typer.Option("-k", help="documents a query")] = 10,
    at_least: Annotated[float | None, typer.Option(help="leave out hits with a lower score")] = None,
    everything: Annotated[bool, typer.Option("--all", help="all hits that --at-least leaves, not the best -k")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--filter", help="field=value that hits must have; may be given several times")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="search all vectors, whatever structure there is")] = False,
    queries: Annotated[Path | None, typer.Option(help="file of queries, instead of one")] = None,
    run: Annotated[Path | None, typer.Option(help="TREC run file for the answers to --queries")] = None,
    model: Annotated[str | None, typer.Option(help="where the encoder is now, if it moved")] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Ask an index."""
    from textcl.assemble.searching import open_searcher, search_file

    _check(query, queries, run, json=json, everything=everything, at_least=at_least)
    filters = _filters(only or ())
    if queries is not None:
        assert run is not None
        answered = search_file(
            open_searcher(folder, model), queries, run, k=k, at_least=at_least, filters=filters, exact=exact,
            progress=bar,
        )  # fmt: skip
        if json:
            show_json({"run": str(run), "queries": answered})
        else:
            print(f"{answered} queries answered: {run}")
        return
    searcher = open_searcher(folder, model)
    wanted = None if everything else k
    if query is None:
        _ask(searcher, wanted, at_least, filters, exact)
        return
    hits = searcher.search(query, wanted, at_least=at_least, filters=filters, exact=exact)
    if json:
        shown = [{"id": hit.id, "score": hit.score, "text": hit.text, "metadata": dict(hit.metadata)} for hit in hits]
        show_json({"hits": shown})
    else:
        _show(hits)


def _check(
    query: str | None, queries: Path | None, run: Path | None, *, json: bool, everything: bool, at_least: float | None
) -> None:
    if query is not None and (queries is not None or not query.strip()):
        raise ConfigError("query", problem="give one question, or --queries with a file of them")
    if query is None and queries is None and json:
        raise ConfigError("query", problem="--json needs a question, or --queries with a file of them")
    if run is not None and queries is None:
        raise ConfigError("run", problem="is written for --queries; leave it out for one question")
    if queries is not None and run is None:
        raise ConfigError("run", problem="--queries needs --run, the file to write the answers to")
    if everything and (at_least is None or queries is not None):
        raise ConfigError("all", problem="goes with --at-least, the lowest score, and one question at a time")


def _ask(searcher: Searcher, k: int | None, at_least: float | None, filters: Mapping[str, object], exact: bool) -> None:
    """Answer questions from standard input until it ends; an empty line ends it too."""
    asks = sys.stdin.isatty()
    if asks:
        import readline  # noqa: F401 (gives the prompt a history and arrows)

        say(f"{searcher.index.documents} documents; an empty line ends")
    while True:
        try:
            question = input("? " if asks else "").strip()
        except EOFError:
            return
        if not question:
            return
        started = time.perf_counter()
        try:
            hits = searcher.search(question, k, at_least=at_least, filters=filters, exact=exact)
        except TextclError as error:
            say(str(error))
            continue
        _show(hits)
        if asks:
            say(f"{len(hits)} hits in {1000 * (time.perf_counter() - started):.0f} ms")


def _show(hits: list[Hit]) -> None:
    for hit in hits:
        print(line_of(hit, colour=sys.stdout.isatty()))


def line_of(hit: Hit, width: int = 100, *, colour: bool = False) -> str:
    """Return one hit as a line: score, id, metadata, and the beginning of its text."""
    text = " ".join((hit.text or "").split())
    shown = text if len(text) <= width else text[: width - 1].rstrip() + "…"
    known = "".join(f"{name}={value}  " for name, value in hit.metadata.items())
    if not colour:
        return f"{hit.score:.3f}  {hit.id}  {known}{shown}"
    green, cyan, dim, off = "\033[32m", "\033[36m", "\033[2m", "\033[0m"
    return f"{green}{hit.score:.3f}{off}  {cyan}{hit.id}{off}  {dim}{known}{off}{shown}"


def _filters(words: Sequence[str]) -> Mapping[str, object]:
    """Return `field=value` words as a mapping; ConfigError if one is none."""
    found: dict[str, object] = {}
    for word in words:
        field, equals, value = word.partition("=")
        if not equals or not field:
            raise ConfigError("filter", word, "field=value")
        found[field] = value
    return found
