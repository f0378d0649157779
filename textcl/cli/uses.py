"""`textcl evaluate pairs`, `probe`, `clusters`, `anomalies`, `paraphrases`, `geometry`, `grid` and `mteb`."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textcl.cli.output import say, show_estimates, show_json
from textcl.progress import bar

if TYPE_CHECKING:
    from textcl.evaluation.curves import Best
    from textcl.evaluation.grid import GridCell

Model = Annotated[str, typer.Argument(help="folder or name of the encoder")]
Training = Annotated[
    list[Path] | None,
    typer.Option("--training", help="file the encoder was trained on: say what is shared; repeatable"),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object")]
Split = Annotated[str | None, typer.Option(help="only rows whose column `split` has this value")]
TextColumn = Annotated[str | None, typer.Option(help="column of the texts; left out, text or the only one")]
TextLabel = Annotated[str, typer.Option(help="the text and its label")]


def pairs(
    model: Model,
    data: Annotated[Path, typer.Argument(help="file with a pair of texts and a label of 0 or 1 a row")],
    columns: Annotated[str, typer.Option(help="the two texts and the label")] = "sentence1,sentence2,label",
    split: Split = None,
    training: Training = None,
    json: Json = False,
) -> None:
    """Tell pairs that mean the same from others by their cosine."""
    from textcl.assemble.uses import pairs_use

    first, second, label = names(columns, 3, "sentence1,sentence2,label")
    result = pairs_use(data, columns=(first, second, label), split=split).of(
        model, training=training or (), progress=bar, say=say
    )
    if json:
        show_json({"data": str(data), "split": split, "measures": result.to_json()})
        return
    rows = {"average precision": result.average_precision, "best F1": result.f1, "best accuracy": result.accuracy}
    show_estimates({name: (one.value, one.low, one.high) for name, one in rows.items()})
    print(f"F1 {_threshold(result.best_f1)}; accuracy from a cosine of {result.best_accuracy.threshold:.4f}")
    print(f"{result.pairs} pairs, {result.positives} of them labelled 1; thresholds were chosen on these pairs")


def probe(
    model: Model,
    data: Annotated[Path, typer.Argument(help="file with a text and its label a row")],
    columns: TextLabel = "text,label",
    test_split: Annotated[
        str | None, typer.Option(help="test on rows whose column `split` has this value; left out, random splits")
    ] = None,
    repeats: Annotated[int, typer.Option(help="random splits")] = 10,
    test_fraction: Annotated[float, typer.Option(help="share of texts that each of them tests on")] = 0.2,
    scaling: Annotated[str, typer.Option(help="standard (each dimension) or unit (length)")] = "standard",
    c: Annotated[float, typer.Option("--c", help="inverse of the strength of the penalty")] = 1.0,
    seed: Annotated[int, typer.Option(help="of splits and intervals")] = 0,
    training: Training = None,
    json: Json = False,
) -> None:
    """Find labels by a linear classifier on embeddings."""
    from textcl.assemble.uses import probe_use
    from textcl.evaluation.probe import ProbeSettings

    text, label = names(columns, 2, "text,label")
    settings = ProbeSettings(repeats, test_fraction, scaling, c, seed)
    use = probe_use(data, columns=(text, label), test_split=test_split, settings=settings)
    result = use.of(model, training=training or (), progress=bar, say=say)
    if result.unconverged:
        say(f"the classifier was not done in {result.unconverged} splits; a smaller --c helps")
    if result.unseen:
        say(f"{result.unseen} tested texts have a label that no training text has; they count as wrong")
    if json:
        show_json({"data": str(data), "test_split": test_split, "measures": result.to_json()})
        return
    show_estimates({name: (one.mean, one.low, one.high) for name, one in result.measures.items()})
    splits = len(result.measures["accuracy"].values)
    deviation = f", deviation of accuracy {result.measures['accuracy'].deviation:.4f}" if splits > 1 else ""
    print(
        f"{result.classes} labels, {result.train} texts to train on, {result.test} to test on, {splits} splits", end=""
    )
    print(f"{deviation}; the most frequent label alone has an accuracy of {result.majority:.4f}")


def clusters(
    model: Model,
    data: Annotated[Path, typer.Argument(help="file with a text and its label a row")],
    columns: TextLabel = "text,label",
    split: Split = None,
    count: Annotated[int | None, typer.Option("--clusters", help="left out, as many as there are labels")] = None,
    repeats: Annotated[int, typer.Option(help="random starts")] = 10,
    seed: Annotated[int, typer.Option(help="of the starts")] = 0,
    training: Training = None,
    json: Json = False,
) -> None:
    """Compare k-means clusters of embeddings with labels."""
    from textcl.assemble.uses import clusters_use
    from textcl.evaluation.clusters import ClustersSettings

    text, label = names(columns, 2, "text,label")
    settings = ClustersSettings(count, repeats, seed)
    use = clusters_use(data, columns=(text, label), split=split, settings=settings)
    result = use.of(model, training=training or (), progress=bar, say=say)
    if json:
        show_json({"data": str(data), "split": split, "measures": result.to_json()})
        return
    show_estimates({name: (one.mean, one.low, one.high) for name, one in result.measures.items()})
    print(f"{result.texts} texts with {result.labels} labels in {result.clusters} clusters; over {repeats} starts")


def anomalies(
    model: Model,
    data: Annotated[Path, typer.Argument(help="file with a text and a label a row, 1 for what does not belong")],
    reference: Annotated[Path, typer.Option(help="file of texts that belong, or BEIR folder")],
    columns: TextLabel = "text,label",
    k: Annotated[int, typer.Option("-k", help="neighbours whose distance counts")] = 5,
    training: Training = None,
    json: Json = False,
) -> None:
    """Find texts that do not belong by their distance to a reference set."""
    from textcl.assemble.uses import anomalies_use

    text, label = names(columns, 2, "text,label")
    result = anomalies_use(data, reference, columns=(text, label), k=k).of(
        model, training=training or (), progress=bar, say=say
    )
    if json:
        show_json({"data": str(data), "reference": str(reference), "measures": result.to_json()})
        return
    rows = {"AUROC": result.auroc, "average precision": result.average_precision}
    show_estimates({name: (one.value, one.low, one.high) for name, one in rows.items()})
    print(
        f"{result.texts} texts, {result.anomalies} of them labelled 1; {result.k} nearest of {result.reference} texts"
    )


def paraphrases(
    model: Model,
    data: Annotated[str, typer.Argument(help="file with a text a row, or BEIR folder")],
    column: TextColumn = None,
    duplicates: Annotated[Path | None, typer.Option(help="file of known pairs, columns id1 and id2")] = None,
    limit: Annotated[int, typer.Option(help="the most pairs")] = 10_000,
    out: Annotated[Path | None, typer.Option(help="write all pairs to this jsonl file")] = None,
    show: Annotated[int, typer.Option(help="pairs to print")] = 10,
    training: Training = None,
    json: Json = False,
) -> None:
    """Find the most alike pairs of texts, and compare them with known ones."""
    from textcl.artifacts import check_file_target, write_whole
    from textcl.assemble.paraphrases import paraphrases_use
    from textcl.errors import ConfigError

    if show < 0:
        raise ConfigError("show", show, "a number of pairs")
    if out is not None:
        check_file_target(out, field="out")
    use = paraphrases_use(data, column=column, duplicates=duplicates, limit=limit)
    found = use.of(model, training=training or (), progress=bar, say=say)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, "".join(f"{json_text.dumps(row, ensure_ascii=False)}\n" for row in found.rows()))
    measures = None if found.result is None else found.result.to_json()
    if json:
        shown: dict[str, Any] = {"data": data, "mined": len(found.pairs), "pairs": found.rows(show)}
        show_json(shown if measures is None else {**shown, "measures": measures})
        return
    for row in found.rows(show):
        print(f"{row['score']:.4f}  {row['id1']}  {row['text1']}\n        {row['id2']}  {row['text2']}")
    print(f"{len(found.pairs)} pairs of {len(found.texts.texts)} texts" + ("" if out is None else f": {out}"))
    if found.result is not None:
        print(f"average precision {found.result.average_precision:.4f}, best F1 {_threshold(found.result.best_f1)}")
        print(f"{found.result.found} of {found.result.known} known pairs are among them")


def geometry(
    model: Model,
    data: Annotated[str, typer.Argument(help="file with a text a row, or BEIR folder")],
    column: TextColumn = None,
    partner: Annotated[str | None, typer.Option(help="column of texts that mean the same, for alignment")] = None,
    sample: Annotated[int, typer.Option(help="the most texts, drawn at random")] = 10_000,
    training: Training = None,
    json: Json = False,
) -> None:
    """Look at how embeddings lie: uniformity, rank, hubs, near-duplicates."""
    from textcl.assemble.uses import geometry_use

    found = geometry_use(data, column=column, partner=partner, most=sample).of(
        model, training=training or (), progress=bar, say=say
    )
    if json:
        show_json({"data": data, "measures": found.to_json()})
        return
    for name, value in found.to_json().items():
        shown = "not measured" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
        print(f"{name.replace('_', ' '):<25}{shown:>12}")


def grid(
    model: Model,
    data: Annotated[str, typer.Argument(help="BEIR folder, or file with a graded pair of texts a row")],
    split: Annotated[str | None, typer.Option(help="of the judgements (left out, test) or rows of the file")] = None,
    dimensions: Annotated[
        str | None, typer.Option(help="separated by commas; left out, all, a half, a quarter and an eighth")
    ] = None,
    quantisations: Annotated[str, typer.Option(help="separated by commas")] = "float32,float16,int8,binary",
    measures: Annotated[
        str | None, typer.Option(help="of a BEIR folder, separated by commas; left out, ndcg@10")
    ] = None,
    json: Json = False,
) -> None:
    """Tell what fewer dimensions and coarser numbers cost, and what they save."""
    from textcl.assemble.grid import GridSettings, evaluate_grid
    from textcl.errors import ConfigError

    kept = None if dimensions is None else _whole_numbers(dimensions, "dimensions")
    if measures is not None and not Path(data).is_dir():
        raise ConfigError("measures", problem=f"belong to a BEIR folder, which {data} is not; leave them out")
    settings = GridSettings(kept, tuple(quantisations.split(",")), tuple((measures or "ndcg@10").split(",")))
    cells = evaluate_grid(model, data, split=split, settings=settings, progress=bar, say=say)
    if json:
        show_json({"data": data, "split": split, "cells": [cell.to_json() for cell in cells]})
    else:
        _show_grid(cells)


def mteb(
    model: Model,
    tasks: Annotated[str, typer.Option(help="names, separated by commas, such as STSBenchmark,SciFact")],
    data: Annotated[
        Path | None, typer.Option(help="folder with copies of the hub's datasets; left out, they are downloaded")
    ] = None,
    json: Json = False,
) -> None:
    """Run MTEB tasks by MTEB's own code (pip install 'textcl[mteb]')."""
    from textcl.assemble.mteb_tasks import evaluate_mteb

    scores = evaluate_mteb(model, tasks.split(","), data=data, progress=bar)
    if json:
        show_json({"model": model, "scores": [score.to_json() for score in scores]})
        return
    width = max(len(score.task) for score in scores) + 2
    for score in scores:
        print(f"{score.task:<{width}}{score.split:<8}{score.subset:<12}{score.measure:<20}{score.score:>8.4f}")


def _show_grid(cells: list[GridCell]) -> None:
    names = list(cells[0].measures)
    print(f"{'dimension':>9}  {'numbers':<9}{'bytes':>7}" + "".join(f"{name:>14}" for name in names))
    for cell in cells:
        values = "".join(f"{value:>14.4f}" for value in cell.measures.values())
        print(f"{cell.dimension:>9}  {cell.quantisation:<9}{cell.bytes:>7}{values}")
    print("bytes of a stored vector; queries keep their full numbers")


def _threshold(best: Best) -> str:
    return (
        f"{best.value:.4f} from a cosine of {best.threshold:.4f}: "
        f"precision {best.precision:.4f}, recall {best.recall:.4f}"
    )


def names(columns: str, count: int, example: str) -> list[str]:
    """Return so many names that are separated by commas, such as in `example`."""
    from textcl.errors import ConfigError

    names = columns.split(",")
    if len(names) != count:
        words = {2: "two", 3: "three"}[count]
        raise ConfigError("columns", columns, f"{words} names separated by commas, such as {example}")
    return names


def _whole_numbers(text: str, field: str) -> tuple[int, ...]:
    from textcl.errors import ConfigError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(field, text, "whole numbers separated by commas, such as 384,128") from None
