"""`textcl evaluate`: retrieval and sts here, the others in `uses.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli import uses
from textcl.cli.decompose import decompose
from textcl.cli.output import (
    comparison_json,
    say,
    show_changes,
    show_comparison,
    show_json,
    show_measures,
    show_slices,
)
from textcl.progress import bar

if TYPE_CHECKING:
    from textcl.corpus.collection import Collection
    from textcl.evaluation.compare import Comparison
    from textcl.evaluation.retrieval import RetrievalResult
    from textcl.evaluation.slices import Slice

app = typer.Typer(help="Measure encoders and indexes.", no_args_is_help=True)
app.command("decompose")(decompose)
app.command("pairs")(uses.pairs)
app.command("probe")(uses.probe)
app.command("clusters")(uses.clusters)
app.command("anomalies")(uses.anomalies)
app.command("paraphrases")(uses.paraphrases)
app.command("geometry")(uses.geometry)
app.command("grid")(uses.grid)
app.command("mteb")(uses.mteb)


@app.command()
def retrieval(
    model: Annotated[str, typer.Argument(metavar="MODEL|INDEX", help="encoder folder or name, or an index folder")],
    collection: Annotated[Path, typer.Argument(help="BEIR folder")],
    split: Annotated[str, typer.Option(help="which qrels")] = "test",
    measures: Annotated[str, typer.Option(help="separated by commas")] = "ndcg@10,mrr@10,recall@10,recall@100",
    max_tokens: Annotated[int | None, typer.Option(help="longest input in tokens, for a model")] = None,
    run: Annotated[Path | None, typer.Option(help="write the rankings to this TREC run file")] = None,
    per_query: Annotated[
        Path | None, typer.Option(help="write each query's values to this .jsonl, .csv or .parquet file")
    ] = None,
    slices: Annotated[
        str, typer.Option(help="parts of the queries to score: length, positives, fields of queries.jsonl; with commas")
    ] = "",
    baseline: Annotated[Path | None, typer.Option(help="compare with this TREC run file")] = None,
    fail_if_worse: Annotated[
        str, typer.Option(help="measures, with commas: exit 1 if one is below --baseline by more than chance")
    ] = "",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="count judged documents that do not exist, do not refuse")
    ] = False,
    words: Annotated[bool, typer.Option("--bm25/--no-bm25", help="search by words too, alone and fused")] = True,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="keep embeddings, so that a model encodes a collection once")
    ] = True,
    training: uses.Training = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Rank a judged collection and score the ranking."""
    from textcl.assemble.baselines import evaluate_words
    from textcl.assemble.comparing import check_not_worse, compare_with_baseline, read_baseline
    from textcl.assemble.evaluating import evaluate_retrieval, model_or_index
    from textcl.assemble.notes import evaluated_texts, training_note
    from textcl.assemble.slicing import query_labels
    from textcl.corpus.collection import read_collection
    from textcl.evaluation.runs import check_ids
    from textcl.evaluation.slices import slice_result

    _check_targets(run, per_query)
    gate = _gate(fail_if_worse, baseline)
    judged = read_collection(collection, split, allow_missing=allow_missing)
    if run is not None:
        check_ids(run, judged.query_ids, judged.doc_ids)
    labels = query_labels(judged, collection, _names(slices))
    before = None if baseline is None else read_baseline(baseline, judged.qrels, say)
    asked = list(dict.fromkeys([*measures.split(","), *gate]))
    for file in training or ():
        say(training_note(file, evaluated_texts(judged)))
    opened = model_or_index(model, max_tokens)
    result = evaluate_retrieval(opened, judged, measures=asked, keep=keep, progress=bar, say=say)
    beside = evaluate_words(result.run, judged, asked, progress=bar) if words else {}
    _write(run, per_query, result, judged)
    parts = [one for by, own in labels.items() for one in slice_result(result, by, own)]
    comparison = None if before is None else compare_with_baseline(result, before, judged.qrels, measures=gate)
    if json:
        _show_json(judged, split, result, beside, parts, comparison)
    else:
        show_measures(result, beside)
        show_slices(parts)
        if comparison is not None:
            print()
            show_comparison(comparison)
            show_changes(comparison)
    if gate and comparison is not None:
        check_not_worse({judged.name: comparison})


def _names(text: str) -> list[str]:
    return text.split(",") if text else []


def _check_targets(run: Path | None, per_query: Path | None) -> None:
    from textcl.artifacts import check_file_target
    from textcl.evaluation.per_query import check_per_query_file

    if run is not None:
        check_file_target(run, field="run")
    if per_query is not None:
        check_file_target(per_query, field="per_query")
        check_per_query_file(per_query)


def _gate(fail_if_worse: str, baseline: Path | None) -> list[str]:
    from textcl.errors import ConfigError
    from textcl.evaluation.measures import parse_measure

    gate = [str(parse_measure(text)) for text in _names(fail_if_worse)]
    if gate and baseline is None:
        raise ConfigError("fail_if_worse", problem="worse than what? Add --baseline RUN")
    return gate


def _write(run: Path | None, per_query: Path | None, result: RetrievalResult, judged: Collection) -> None:
    from textcl.evaluation.per_query import write_per_query
    from textcl.evaluation.runs import write_run

    if run is not None:
        write_run(run, result.run)
    if per_query is not None:
        write_per_query(per_query, result, judged.qrels)


def _show_json(
    judged: Collection,
    split: str,
    result: RetrievalResult,
    beside: Mapping[str, RetrievalResult],
    parts: list[Slice],
    comparison: Comparison | None,
) -> None:
    show_json(
        {
            "collection": judged.name,
            "split": split,
            "measures": result.to_json(),
            "baselines": {name: one.to_json() for name, one in beside.items()},
            **result.notes_json(),
            "missing_documents": judged.missing_documents,
            "slices": [one.to_json() for one in parts],
            "comparison": None if comparison is None else comparison_json(comparison),
        }
    )


@app.command()
def sts(
    model: Annotated[str, typer.Argument(help="folder or name of the encoder")],
    data: Annotated[Path, typer.Argument(help="file with a graded pair of texts a row")],
    columns: Annotated[str, typer.Option(help="the two texts and the grade")] = "sentence1,sentence2,score",
    split: Annotated[str | None, typer.Option(help="only rows whose column `split` has this value")] = None,
    training: uses.Training = None,
    json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Correlate cosine similarities with graded ones."""
    from textcl.assemble.uses import sts_use

    first, second, grade = uses.names(columns, 3, "sentence1,sentence2,score")
    use = sts_use(data, columns=(first, second, grade), split=split)
    result = use.of(model, training=training or (), progress=bar, say=say)
    if json:
        show_json({"data": str(data), "split": split, "measures": result.to_json()})
    else:
        shown = [
            f"{name} {getattr(result, name):.4f} ({low:.4f} to {high:.4f})"
            for name, (low, high) in (result.intervals or {}).items()
        ]
        print("  ".join([*shown, f"{result.pairs} pairs"]))
