"""`textcl evaluate`: retrieval and sts here, the others in `uses.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textcl.cli import uses
from textcl.cli.output import say, show_json, show_measures
from textcl.progress import bar

app = typer.Typer(help="Measure encoders and indexes.", no_args_is_help=True)
app.command("pairs")(uses.pairs)
app.command("probe")(uses.probe)
app.command("clusters")(uses.clusters)
app.command("anomalies")(uses.anomalies)
app.command("paraphrases")(uses.paraphrases)
app.command("geometry")(uses.geometry)
app.command("grid")(uses.grid)


@app.command()
def retrieval(
    model: Annotated[str, typer.Argument(metavar="MODEL|INDEX", help="encoder folder or name, or an index folder")],
    collection: Annotated[Path, typer.Argument(help="BEIR folder")],
    split: Annotated[str, typer.Option(help="which qrels")] = "test",
    measures: Annotated[str, typer.Option(help="separated by commas")] = "ndcg@10,mrr@10,recall@10,recall@100",
    max_tokens: Annotated[int | None, typer.Option(help="longest input in tokens, for a model")] = None,
    run: Annotated[Path | None, typer.Option(help="write the rankings to this TREC run file")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="count judged documents that do not exist, do not refuse")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Rank a judged collection and score the ranking."""
    from textcl.artifacts import check_file_target
    from textcl.assemble.evaluating import evaluate_retrieval, model_or_index
    from textcl.corpus.collection import read_collection
    from textcl.evaluation.runs import write_run

    if run is not None:
        check_file_target(run, field="run")
    judged = read_collection(collection, split, allow_missing=allow_missing)
    result = evaluate_retrieval(
        model_or_index(model, max_tokens), judged, measures=measures.split(","), progress=bar, say=say
    )
    if run is not None:
        write_run(run, result.run)
    if json:
        show_json(
            {
                "collection": judged.name,
                "split": split,
                "measures": result.to_json(),
                "unanswered": result.unanswered,
                "missing_documents": judged.missing_documents,
            }
        )
    else:
        show_measures(result)


@app.command()
def sts(
    model: Annotated[str, typer.Argument(help="folder or name of the encoder")],
    data: Annotated[Path, typer.Argument(help="file with a graded pair of texts a row")],
    columns: Annotated[str, typer.Option(help="the two texts and the grade")] = "sentence1,sentence2,score",
    split: Annotated[str | None, typer.Option(help="only rows whose column `split` has this value")] = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Correlate cosine similarities with graded ones."""
    from textcl.assemble.evaluating import evaluate_sts
    from textcl.errors import ConfigError

    names = columns.split(",")
    if len(names) != 3:
        raise ConfigError("columns", columns, "three names separated by commas, such as sentence1,sentence2,score")
    result = evaluate_sts(model, data, columns=(names[0], names[1], names[2]), split=split, progress=bar, say=say)
    if json:
        show_json({"data": str(data), "split": split, "measures": result.to_json()})
    else:
        shown = [
            f"{name} {getattr(result, name):.4f} ({low:.4f} to {high:.4f})"
            for name, (low, high) in (result.intervals or {}).items()
        ]
        print("  ".join([*shown, f"{result.pairs} pairs"]))
