"""`textcl index plan|build|tune|add|delete|compact|join|verify|info`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textcl.cli.output import say, show_json
from textcl.errors import ConfigError, PromiseError
from textcl.progress import bar

if TYPE_CHECKING:
    from textcl.index.store import Index

app = typer.Typer(help="Plan, build, tune and change FAISS indexes.", no_args_is_help=True)

Recall = Annotated[
    float | None, typer.Option(help="share of the exact answers to find; left out, all, or 0.95 with a factory")
]
Memory = Annotated[str | None, typer.Option(help="for the structure, not for vectors read to rank again; such as 4GB")]
Needs = Annotated[str | None, typer.Option(help="what it must do well: delete,merge,filter,mmap")]
Factory = Annotated[str | None, typer.Option(help="FAISS factory string, instead of the planner's")]
Expected = Annotated[int | None, typer.Option(help="queries in all, as far as known")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="the index folder")]
Source = Annotated[str, typer.Argument(metavar="INPUT", help="text file, BEIR folder, hub:NAME or encode folder")]
Column = Annotated[str | None, typer.Option(help="column of the texts, where there are several")]
Limit = Annotated[int | None, typer.Option(help="rows read at most")]
Model = Annotated[str | None, typer.Option(help="where the encoder is now, if it moved")]
Seed = Annotated[int, typer.Option(help="of whatever is drawn at random")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]


@app.command()
def plan(
    rows: Annotated[int, typer.Option(help="vectors")],
    dimension: Annotated[int, typer.Option(help="of the vectors")],
    recall: Recall = None,
    max_memory: Memory = None,
    expected_queries: Expected = None,
    needs: Needs = None,
    factory: Factory = None,
    json: Json = False,
) -> None:
    """Say which index to build, why, and how many bytes it takes."""
    from textcl.index.plan import bytes_of, in_bytes, plan_index

    made = plan_index(
        rows, dimension, recall=recall, max_memory=None if max_memory is None else bytes_of(max_memory),
        queries=expected_queries, needs=_listed(needs), factory=factory,
    )  # fmt: skip
    if json:
        show_json(made.to_json())
        return
    print(made.family.factory)
    for reason in made.reasons:
        print(f"  {reason}")
    print(f"memory  {in_bytes(made.family.memory_bytes(rows))}")
    print(f"disk    {in_bytes(made.family.disk_bytes(rows))}, and texts and ids")


@app.command()
def build(
    model: Annotated[str, typer.Argument(help="folder or name of the encoder")],
    source: Source,
    out: Annotated[Path, typer.Option(help="the index folder")],
    column: Column = None,
    limit: Limit = None,
    fields: Annotated[str | None, typer.Option(help="columns for hits and filters: topic,year")] = None,
    passage_tokens: Annotated[
        int | None, typer.Option(help="cut longer documents into passages of so many tokens; 0 for the encoder's limit")
    ] = None,
    overlap: Annotated[int, typer.Option(help="tokens that neighbouring passages share")] = 32,
    recall: Recall = None,
    at: Annotated[int, typer.Option(help="of how many hits")] = 10,
    max_memory: Memory = None,
    expected_queries: Expected = None,
    needs: Needs = None,
    factory: Factory = None,
    queries: Annotated[str | None, typer.Option(help="file of real queries to tune with")] = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a build that was interrupted")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace the index, or an unfinished one")] = False,
    json: Json = False,
) -> None:
    """Embed texts and write an index of them; exit 1 if it misses its recall."""
    from textcl.assemble.index_sources import Passages
    from textcl.assemble.indexing import Target, build_index
    from textcl.index.plan import bytes_of

    target = Target(
        recall=recall, at=at, max_memory=None if max_memory is None else bytes_of(max_memory),
        expected_queries=expected_queries, needs=_listed(needs), factory=factory, queries=queries,
    )  # fmt: skip
    searcher = build_index(
        model, source, out=out, column=column, limit=limit, fields=_listed(fields),
        passages=None if passage_tokens is None else Passages(passage_tokens or None, overlap), target=target,
        seed=seed, resume=resume, force=force, progress=bar, say=say,
    )  # fmt: skip
    for note in searcher.notes:
        say(note)
    if json:
        show_json(_facts(out, searcher.index))
    else:
        _show_curve(searcher.index)
        print(f"{searcher.index.documents} documents of {searcher.index.dimension} numbers: {out}")
    _check_promise(searcher.index)


@app.command()
def tune(
    folder: Folder,
    recall: Annotated[float, typer.Option(help="share of the exact answers to find")],
    at: Annotated[int, typer.Option(help="of how many hits")] = 10,
    queries: Annotated[str | None, typer.Option(help="file of real queries")] = None,
    model: Model = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Choose the fastest search that reaches a recall; exit 1 if other queries get less."""
    from textcl.assemble.tuning import tune_index

    with tune_index(
        folder, recall=recall, at=at, queries=queries, model=model, seed=seed, progress=bar, say=say
    ).index as index:
        if json:
            show_json(_facts(folder, index))
        else:
            _show_curve(index)
        _check_promise(index)


@app.command()
def add(
    folder: Folder,
    source: Source,
    column: Column = None,
    limit: Limit = None,
    replace: Annotated[bool, typer.Option("--replace", help="documents whose id is there take its place")] = False,
    model: Model = None,
    json: Json = False,
) -> None:
    """Embed texts and add them to an index."""
    from textcl.assemble.adding import add_texts

    added, replaced = add_texts(folder, source, column=column, limit=limit, replace=replace, model=model, progress=bar)
    if json:
        show_json({"index": str(folder), "added": added, "replaced": replaced})
    else:
        print(f"{added} documents added, {replaced} of them in the place of others: {folder}")


@app.command()
def delete(
    folder: Folder,
    ids: Annotated[list[str] | None, typer.Argument(help="ids of documents")] = None,
    file: Annotated[Path | None, typer.Option("--ids", help="file of ids, one a line")] = None,
    json: Json = False,
) -> None:
    """Delete documents of an index by their ids."""
    from textcl.index.update import delete as delete_ids

    if bool(ids) == (file is not None):
        raise ConfigError("ids", problem="give some ids, or --ids with a file of them")
    named = _ids_in(file) if file is not None else list(ids or ())
    count = delete_ids(folder, named)
    if json:
        show_json({"index": str(folder), "deleted": count})
    else:
        print(f"{count} documents deleted: {folder}")


@app.command()
def compact(folder: Folder, json: Json = False) -> None:
    """Write what an index holds as one shard, without what was deleted."""
    from textcl.index.store import open_index
    from textcl.index.update import compact as compact_index

    compact_index(folder, progress=bar)
    with open_index(folder) as index:
        if json:
            show_json(_facts(folder, index))
        else:
            print(f"{index.documents} documents in one shard: {folder}")


@app.command()
def join(
    folders: Annotated[list[Path], typer.Argument(help="index folders of one encoder, built apart")],
    out: Annotated[Path, typer.Option(help="the index folder")],
    force: Annotated[bool, typer.Option("--force", help="replace the index")] = False,
    json: Json = False,
) -> None:
    """Write one index of the shards of several."""
    from textcl.index.join import join as join_indexes

    with join_indexes(folders, out, force=force) as index:
        if json:
            show_json(_facts(out, index))
        else:
            print(f"{index.documents} documents in {len(index.shards)} shards: {out}")


@app.command()
def verify(folder: Folder, json: Json = False) -> None:
    """Read every byte of an index and compare it with its checksum."""
    from textcl.index.store import open_index

    with open_index(folder, verify=True) as index:
        files = index.manifest["files"]
        size = sum(one["bytes"] for one in files.values())
        if json:
            show_json({"index": str(folder), "generation": index.manifest["generation"], "bytes": size})
        else:
            print(f"whole: {len(files)} files, {size} bytes, generation {index.manifest['generation']}: {folder}")


@app.command()
def info(folder: Folder, json: Json = False) -> None:
    """Say what an index holds, which encoder made it, and what it reaches."""
    from textcl.index.store import open_index

    with open_index(folder) as index:
        manifest = index.manifest
        if json:
            show_json(_facts(folder, index))
            return
        facts = {"documents": index.documents, "rows": index.rows, "shards": len(index.shards)}
        names = ("dimension", "factory", "metric", "normalised", "generation", "fields", "faiss_version")
        for name, value in (facts | {name: manifest[name] for name in names}).items():
            print(f"{name:<16}{', '.join(value) if isinstance(value, list) else value}")
        for section in ("search", "build", "encoder", "promise"):
            for name, value in (manifest[section] or {}).items():
                print(f"{section}.{name:<24}{value}")
        if manifest["promise"] and manifest["promise"]["generation"] != manifest["generation"]:
            print("the index was changed since its recall was measured; textcl index tune measures it again")
        _show_curve(index)


def _facts(folder: Path, index: Index) -> dict[str, Any]:
    promise = index.manifest["promise"]
    is_old = promise is not None and promise["generation"] != index.manifest["generation"]
    counts = {"documents": index.documents, "rows": index.rows, "changed_since_promise": is_old}
    return {"index": str(folder), **counts, **index.manifest}


def _listed(words: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",")) if words else ()


def _ids_in(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("ids", problem=f"{file} cannot be read as text: {error}") from error


def _show_curve(index: Index) -> None:
    if not index.manifest["curve"]:
        return
    promise: dict[str, Any] = index.manifest["promise"]
    print(f"{'search':<34}{'recall@' + str(promise['at']):>10}{'queries/s':>12}{'p50 ms':>9}{'p95 ms':>9}")
    for point in index.manifest["curve"]:
        chosen = "  chosen" if point["settings"] == index.manifest["search"] else ""
        settings = point["settings"]
        named = settings if isinstance(settings, str) else ", ".join(f"{key} {one}" for key, one in settings.items())
        print(
            f"{named:<34}{point['recall']:>10.4f}{point['queries_per_s']:>12,.0f}{point['p50_ms']:>9.2f}"
            f"{point['p95_ms']:>9.2f}{chosen}"
        )


def _check_promise(index: Index) -> None:
    """Raise PromiseError if the recall that was asked for is missed."""
    promise = index.manifest["promise"]
    if promise is not None and not promise["kept"]:
        begins = f"its 95 % interval begins at {promise['low']:.4f}, below the target {promise['recall']}"
        advice = "ask for less, give more queries, or take another --factory"
        raise PromiseError(f"recall at {promise['at']} is {promise['measured']:.4f}, {begins}; {advice}")
