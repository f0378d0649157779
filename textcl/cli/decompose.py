"""`textcl evaluate decompose`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textcl.cli.output import say, show_json
from textcl.progress import bar


def decompose(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="index folder")],
    collection: Annotated[Path, typer.Argument(help="BEIR folder")],
    split: Annotated[str, typer.Option(help="which qrels")] = "test",
    measures: Annotated[str, typer.Option(help="separated by commas")] = "ndcg@10,recall@10",
    model: Annotated[str | None, typer.Option(help="where the encoder is now, if it moved")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="keep it in the index, for the report")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="count judged documents that do not exist, do not refuse")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Say where points are lost: in the search, in the codes of the index, or in the model."""
    from textcl.assemble.decomposing import decompose as decompose_points
    from textcl.assemble.searching import open_searcher
    from textcl.corpus.collection import read_collection
    from textcl.index.generations import commit, writing

    judged = read_collection(collection, split, allow_missing=allow_missing)
    searcher = open_searcher(index, model)
    found = decompose_points(searcher, judged, measures=measures.split(","), progress=bar, say=say)
    searcher.index.close()
    if keep:
        with writing(index) as now:
            commit(now, {"decomposition": {"collection": judged.name, "split": split, "measures": found.to_json()}})
    if json:
        show_json({"index": str(index), "collection": judged.name, "split": split, "measures": found.to_json()})
        return
    print(f"{'measure':<14}{'search':>9}{'codes':>9}{'model':>9}   points of 100 lost, with 95 % intervals")
    for name, parts in found.measures.items():
        shown = (parts.search, parts.quantisation, parts.model)
        intervals = ", ".join(f"{one.low:.1f} to {one.high:.1f}" for one in shown)
        print(f"{name:<14}" + "".join(f"{one.mean:>9.2f}" for one in shown) + f"   ({intervals})")
    for parts in found.measures.values():
        print(parts.sentence)
