"""`textcl mine`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.output import say, show_json
from textcl.progress import bar

if TYPE_CHECKING:
    from textcl.assemble.mining import MiningResult


def mine(
    model: Annotated[str, typer.Argument(help="folder or name of the encoder")],
    pairs: Annotated[str, typer.Argument(metavar="PAIRS", help="file of pairs, or BEIR folder")],
    out: Annotated[Path, typer.Option(help="jsonl file for the pairs with their negatives")],
    anchor: Annotated[str | None, typer.Option(help="column of the anchors; left out, anchor")] = None,
    positive: Annotated[str | None, typer.Option(help="column of the positives; left out, positive")] = None,
    group: Annotated[str | None, typer.Option(help="column of labels; an equal one makes no negative")] = None,
    split: Annotated[str | None, typer.Option(help="judgements of a BEIR folder; left out, train")] = None,
    documents: Annotated[
        str | None, typer.Option(help="mine from these; left out, the positives or the corpus")
    ] = None,
    first_rank: Annotated[int, typer.Option(help="best rank taken, from 1; what is forbidden has no rank")] = 1,
    last_rank: Annotated[int, typer.Option(help="worst rank taken")] = 100,
    margin: Annotated[float | None, typer.Option(help="least distance below the positive's score")] = None,
    relative_margin: Annotated[float | None, typer.Option(help="the same, as a share of that score")] = None,
    max_score: Annotated[float | None, typer.Option(help="highest score of a negative")] = None,
    per_row: Annotated[int, typer.Option(help="negatives a row")] = 1,
    sampling: Annotated[str, typer.Option(help="top takes the best ranks left, random draws among them")] = "top",
    seed: Annotated[int, typer.Option(help="what random draws by")] = 0,
    limit: Annotated[int | None, typer.Option(help="pairs mined at most; the others still count as positives")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the file")] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Find hard negatives: documents near an anchor that are not its positives."""
    from textcl.assemble.mining import mine as write_mined
    from textcl.assemble.mining_pairs import read_mining_pairs
    from textcl.index.mine import MiningSettings

    settings = MiningSettings(
        first_rank, last_rank, margin, relative_margin, max_score, per_row=per_row, sampling=sampling, seed=seed
    )
    read = read_mining_pairs(
        pairs, anchor=anchor, positive=positive, group=group, split=split, documents=documents, progress=bar
    )
    result = write_mined(model, read, out=out, settings=settings, limit=limit, force=force, progress=bar, say=say)
    if json:
        show_json(result.to_json())
    else:
        _show(result)


def _show(result: MiningResult) -> None:
    negatives = "1 negative" if result.per_row == 1 else f"{result.per_row} negatives"
    print(f"{result.rows} rows with {negatives} each, from {result.documents} documents: {result.out}")
    print(f"{result.left_out} rows left out: too few negatives")
    lost = result.dropped
    print(f"candidates dropped: {lost.forbidden} forbidden, {lost.margin} by the margin, {lost.max_score} by max_score")
