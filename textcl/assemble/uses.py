"""Encoder + labelled texts or pairs → what users of encoders judge them by, beside search and graded similarity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from textcl.assemble.labelled import named, read_labelled_pairs, read_labelled_texts
from textcl.assemble.once import embed_sides
from textcl.corpus.documents import read_texts
from textcl.corpus.readers import check_column, column_texts, read_records
from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError, DataError
from textcl.evaluation.anomalies import AnomaliesResult, score_anomalies
from textcl.evaluation.clusters import ClustersResult, ClustersSettings, score_clusters
from textcl.evaluation.geometry import Geometry, measure_geometry
from textcl.evaluation.neighbours import check_neighbours
from textcl.evaluation.pairs import PairsResult, score_labelled_pairs
from textcl.evaluation.probe import ProbeResult, ProbeSettings, check_labels, plan_splits, score_probe
from textcl.progress import Progress, Say, quiet, silent
from textcl.randomness import permutation

Model = str | Path | SentenceTransformer
GEOMETRY_SAMPLE = 10_000


def evaluate_pairs(
    model: Model,
    data: str | Path,
    *,
    columns: tuple[str, str, str] = ("sentence1", "sentence2", "label"),
    split: str | None = None,
    progress: Progress = quiet,
    say: Say = silent,
) -> PairsResult:
    """Return how well cosine similarity tells pairs labelled 1 from pairs labelled 0.

    Args:
        model: A model's folder or name, or a loaded encoder.
        data: A file with a pair a row.
        columns: Names of the two texts and of the label.
        split: Rows whose column `split` has this value; None takes all rows.
        progress: Told of texts encoded.
        say: Told how many texts were cut at the encoder's limit.

    Raises:
        DataError: If a column is missing, a text is empty, a label is neither 0 nor 1, or all labels are equal.
    """
    pairs = read_labelled_pairs(data, columns, split)
    first, second = embed_sides(loaded(model), [pairs.first, pairs.second], progress=progress, say=say)
    with named(pairs.records):
        return score_labelled_pairs(first.vectors, second.vectors, pairs.labels)


def evaluate_probe(
    model: Model,
    data: str | Path,
    *,
    columns: tuple[str, str] = ("text", "label"),
    test_split: str | None = None,
    settings: ProbeSettings | None = None,
    progress: Progress = quiet,
    say: Say = silent,
) -> ProbeResult:
    """Return how well a linear classifier on embeddings finds the labels of texts.

    Args:
        model: A model's folder or name, or a loaded encoder.
        data: A file with a text a row.
        columns: Names of the text and of the label.
        test_split: Tests on rows whose column `split` has this value, and trains on all others; None draws random
            splits.
        settings: Of the probe; None takes the defaults.
        progress: Told of texts encoded.
        say: Told how many texts were cut at the encoder's limit.

    Raises:
        DataError: If a column is missing, a text or a label is empty, all labels are equal, or a split cannot be made.
    """
    settings = settings or ProbeSettings()
    labelled = read_labelled_texts(data, columns)
    test = None
    if test_split is not None:
        test = np.isin(labelled.rows, read_labelled_texts(data, columns, test_split).rows)
    with named(labelled.records):  # faults of labels before anything is encoded
        plan_splits(check_labels(labelled.labels, len(labelled.texts)), test, settings)
    (embedded,) = embed_sides(loaded(model), [labelled.texts], progress=progress, say=say)
    with named(labelled.records):
        return score_probe(embedded.vectors, labelled.labels, test=test, settings=settings)


def evaluate_clusters(
    model: Model,
    data: str | Path,
    *,
    columns: tuple[str, str] = ("text", "label"),
    split: str | None = None,
    settings: ClustersSettings | None = None,
    progress: Progress = quiet,
    say: Say = silent,
) -> ClustersResult:
    """Return how well k-means on embeddings finds the groups that labels name.

    Args:
        model: A model's folder or name, or a loaded encoder.
        data: A file with a text a row.
        columns: Names of the text and of the label.
        split: Rows whose column `split` has this value; None takes all rows.
        settings: Of the clustering; None takes the defaults.
        progress: Told of texts encoded and of starts.
        say: Told how many texts were cut at the encoder's limit.

    Raises:
        DataError: If a column is missing, a text or a label is empty, all labels are equal, or there are fewer
            different texts than clusters.
    """
    settings = settings or ClustersSettings()
    labelled = read_labelled_texts(data, columns, split)
    with named(labelled.records):
        settings.count(check_labels(labelled.labels, len(labelled.texts)))
    (embedded,) = embed_sides(loaded(model), [labelled.texts], progress=progress, say=say)
    with named(labelled.records):
        return score_clusters(embedded.vectors, labelled.labels, settings=settings, progress=progress)


def evaluate_anomalies(
    model: Model,
    data: str | Path,
    reference: str | Path,
    *,
    columns: tuple[str, str] = ("text", "label"),
    k: int = 5,
    progress: Progress = quiet,
    say: Say = silent,
) -> AnomaliesResult:
    """Return how well the distance to a reference set finds texts labelled 1.

    Args:
        model: A model's folder or name, or a loaded encoder.
        data: A file with a text a row.
        reference: A file of texts that belong, in the same column if it has that, or a BEIR folder.
        columns: Names of the text and of the label, 1 for what does not belong.
        k: Neighbours whose distance counts.
        progress: Told of texts encoded and compared.
        say: Told of texts that stand in both, and of texts cut at the encoder's limit.

    Raises:
        DataError: If a column is missing, a text is empty, a label is neither 0 nor 1, or all labels are equal.
        ConfigError: If `k` is not from 1 to the number of reference texts.
    """
    labelled = read_labelled_texts(data, columns)
    labels = labelled.yes_or_no(columns[1])
    known = _reference_texts(reference, columns[0])
    check_neighbours(k, len(known))
    if shared := len(set(known) & set(labelled.texts)):
        say(f"{shared} texts of {data} stand in {reference} too, at a distance of 0 from themselves")
    tested, normal = embed_sides(loaded(model), [labelled.texts, known], progress=progress, say=say)
    with named(labelled.records):
        return score_anomalies(tested.vectors, labels, normal.vectors, k=k, progress=progress)


def _reference_texts(reference: str | Path, column: str) -> list[str]:
    if Path(reference).is_dir():
        return read_texts(reference).texts
    records = read_records(reference)
    return read_texts(reference, column=column if column in records.columns else None).texts


def evaluate_geometry(
    model: Model,
    data: str | Path,
    *,
    column: str | None = None,
    partner: str | None = None,
    sample: int | None = GEOMETRY_SAMPLE,
    progress: Progress = quiet,
    say: Say = silent,
) -> Geometry:
    """Return how embeddings of texts lie on the sphere, from all pairs of them.

    Args:
        model: A model's folder or name, or a loaded encoder.
        data: A file with a text a row, or a BEIR folder.
        column: The column of texts; None for the one that is named text or the only one.
        partner: A column of texts that mean the same, for alignment; None leaves it out.
        sample: The most texts, drawn at random, always the same; None takes all. Time grows with their square.
        progress: Told of texts encoded and compared.
        say: Told how many texts were drawn, and how many were cut at the encoder's limit.

    Raises:
        DataError: If a column is missing, a text is empty, or there are fewer than 12 texts.
        ConfigError: If `sample` is below 12.
    """
    k = 10
    if sample is not None and sample < k + 2:
        raise ConfigError("sample", sample, f"at least {k + 2} texts")
    texts = read_texts(data, column=column).texts
    if len(texts) < k + 2:
        raise DataError(f"has {len(texts)} texts; how they lie can be told of {k + 2} or more", data)
    sides = [texts]
    if partner is not None:
        records = read_records(data)
        check_column(records, partner)
        sides.append(column_texts(records, partner))
    if sample is not None and len(texts) > sample:
        say(f"{sample} of {len(texts)} texts, drawn at random")
        rows = np.sort(permutation(len(texts), 0, "geometry")[:sample])
        sides = [[side[row] for row in rows] for side in sides]
    embedded, *others = embed_sides(loaded(model), sides, progress=progress, say=say)
    partners = others[0].vectors if others else None
    return measure_geometry(embedded.vectors, partners=partners, lengths=embedded.lengths, k=k, progress=progress)


def loaded(model: Model) -> SentenceTransformer:
    """Return the encoder itself, loaded where it is a folder or a name."""
    return model if isinstance(model, SentenceTransformer) else load_encoder(model)
