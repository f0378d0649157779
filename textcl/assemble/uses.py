"""Encoder + labelled texts or pairs → what users of encoders judge them by, beside search and graded similarity.

Each way to judge is a `Use`: its file is read and checked once, then any encoder can be judged by it, also on the way
through a training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from sentence_transformers import SentenceTransformer

from textcl.assemble.labelled import drawn, named, read_graded_pairs, read_labelled_pairs, read_labelled_texts
from textcl.assemble.notes import training_note
from textcl.assemble.once import embed_sides
from textcl.corpus.documents import read_texts
from textcl.corpus.readers import Records, check_column, column_texts, read_records
from textcl.encoder.embed import Embedded
from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError, DataError
from textcl.evaluation.anomalies import AnomaliesResult, score_anomalies
from textcl.evaluation.clusters import ClustersResult, ClustersSettings, score_clusters
from textcl.evaluation.geometry import Geometry, measure_geometry
from textcl.evaluation.neighbours import check_neighbours
from textcl.evaluation.pairs import PairsResult, score_labelled_pairs
from textcl.evaluation.probe import ProbeResult, ProbeSettings, check_labels, plan_splits, score_probe
from textcl.evaluation.sts import StsResult, score_sts
from textcl.progress import Progress, Say, quiet, silent

Model = str | Path | SentenceTransformer
"""A model's folder or name, or a loaded encoder."""
R = TypeVar("R")
GEOMETRY_SAMPLE, STS_RESAMPLES = 10_000, 2000
_GEOMETRY_NEIGHBOURS = 10


@dataclass(frozen=True)
class Use(Generic[R]):
    """One way to judge an encoder.

    Args:
        sides: Columns of texts that it must embed.
        score: Makes the result of their embeddings, one a side.
        records: The file that a fault of the data is told of.
        notes: What a user should know of the texts.
    """

    sides: Sequence[Sequence[str]]
    score: Callable[[list[Embedded], Progress], R]
    records: Records | None = None
    notes: tuple[str, ...] = ()

    def of(
        self,
        model: Model,
        *,
        training: Sequence[str | Path] = (),
        progress: Progress = quiet,
        say: Say = silent,
    ) -> R:
        """Return how a model does.

        Args:
            model: A model's folder or name, or a loaded encoder.
            training: Files that it was trained on; what they share with the texts judged by is said.
            progress: Told of texts encoded and of what the scoring does.
            say: Told the notes, and how many texts were cut at the encoder's limit.

        Raises:
            DataError: If the embeddings cannot be scored.
        """
        for note in self.notes:
            say(note)
        for file in training:
            say(training_note(file, [text for side in self.sides for text in side]))
        embedded = embed_sides(loaded(model), self.sides, progress=progress, say=say)
        if self.records is None:
            return self.score(embedded, progress)
        with named(self.records):
            return self.score(embedded, progress)


def loaded(model: Model) -> SentenceTransformer:
    """Return the encoder itself, loaded where it is a folder or a name."""
    return model if isinstance(model, SentenceTransformer) else load_encoder(model)


def sts_use(
    data: str | Path,
    *,
    columns: tuple[str, str, str] = ("sentence1", "sentence2", "score"),
    split: str | None = None,
    resamples: int | None = STS_RESAMPLES,
    most: int | None = None,
) -> Use[StsResult]:
    """Judge how cosine similarity correlates with graded similarity of sentence pairs.

    Args:
        data: A file with a pair a row.
        columns: Names of the two texts and of the grade.
        split: Rows whose column `split` has this value; None takes all rows.
        resamples: Of the intervals' bootstrap; None leaves them out.
        most: Texts at most, two a pair, drawn at random; None takes all.

    Raises:
        DataError: If a column is missing, a grade is no number, or fewer than two rows are in the split.
    """
    pairs = read_graded_pairs(data, columns, split, most)
    return Use(
        (pairs.first, pairs.second),
        lambda sides, _progress: score_sts(sides[0].vectors, sides[1].vectors, pairs.grades, resamples=resamples),
        pairs.records,
    )


def pairs_use(
    data: str | Path,
    *,
    columns: tuple[str, str, str] = ("sentence1", "sentence2", "label"),
    split: str | None = None,
    most: int | None = None,
) -> Use[PairsResult]:
    """Judge how well cosine similarity tells pairs labelled 1 from pairs labelled 0.

    Args:
        data: A file with a pair a row.
        columns: Names of the two texts and of the label.
        split: Rows whose column `split` has this value; None takes all rows.
        most: Texts at most, drawn at random; None takes all.

    Raises:
        DataError: If a column is missing, a text is empty, a label is neither 0 nor 1, or all labels are equal.
    """
    pairs = read_labelled_pairs(data, columns, split, most)
    return Use(
        (pairs.first, pairs.second),
        lambda sides, _progress: score_labelled_pairs(sides[0].vectors, sides[1].vectors, pairs.labels),
        pairs.records,
    )


def probe_use(
    data: str | Path,
    *,
    columns: tuple[str, str] = ("text", "label"),
    test_split: str | None = None,
    settings: ProbeSettings | None = None,
    most: int | None = None,
) -> Use[ProbeResult]:
    """Judge how well a linear classifier on embeddings finds the labels of texts.

    Args:
        data: A file with a text a row.
        columns: Names of the text and of the label.
        test_split: Tests on rows whose column `split` has this value, and trains on all others; None draws random
            splits.
        settings: Of the probe; None takes the defaults.
        most: Texts at most, drawn at random; None takes all.

    Raises:
        DataError: If a column is missing, a text or a label is empty, all labels are equal, or a split cannot be made.
    """
    chosen = settings or ProbeSettings()
    strata = None if test_split is None else "split"
    labelled = read_labelled_texts(data, columns, most=most, strata_column=strata)
    test = None
    if test_split is not None:
        test = np.isin(labelled.rows, read_labelled_texts(data, columns, test_split).rows)
    with named(labelled.records):  # faults of labels before anything is encoded
        plan_splits(check_labels(labelled.labels, len(labelled.texts)), test, chosen)
    return Use(
        (labelled.texts,),
        lambda sides, _progress: score_probe(sides[0].vectors, labelled.labels, test=test, settings=chosen),
        labelled.records,
    )


def clusters_use(
    data: str | Path,
    *,
    columns: tuple[str, str] = ("text", "label"),
    split: str | None = None,
    settings: ClustersSettings | None = None,
    most: int | None = None,
) -> Use[ClustersResult]:
    """Judge how well k-means on embeddings finds the groups that labels name.

    Args:
        data: A file with a text a row.
        columns: Names of the text and of the label.
        split: Rows whose column `split` has this value; None takes all rows.
        settings: Of the clustering; None takes the defaults.
        most: Texts at most, drawn at random; None takes all.

    Raises:
        DataError: If a column is missing, a text or a label is empty, all labels are equal, or there are fewer
            different texts than clusters.
    """
    chosen = settings or ClustersSettings()
    labelled = read_labelled_texts(data, columns, split, most)
    with named(labelled.records):
        chosen.count(check_labels(labelled.labels, len(labelled.texts)))
    return Use(
        (labelled.texts,),
        lambda sides, progress: score_clusters(sides[0].vectors, labelled.labels, settings=chosen, progress=progress),
        labelled.records,
    )


def anomalies_use(
    data: str | Path,
    reference: str | Path,
    *,
    columns: tuple[str, str] = ("text", "label"),
    k: int = 5,
    most: int | None = None,
) -> Use[AnomaliesResult]:
    """Judge how well the distance to a reference set finds texts labelled 1.

    Args:
        data: A file with a text a row.
        reference: A file of texts that belong, in the same column if it has that, or a BEIR folder.
        columns: Names of the text and of the label, 1 for what does not belong.
        k: Neighbours whose distance counts.
        most: Texts at most, half of them of each file, drawn at random; None takes all.

    Raises:
        DataError: If a column is missing, a text is empty, a label is neither 0 nor 1, or all labels are equal.
        ConfigError: If `k` is not from 1 to the number of reference texts.
    """
    half = None if most is None else most // 2
    labelled = read_labelled_texts(data, columns, most=half)
    labels = labelled.yes_or_no(columns[1])
    known = _reference_texts(reference, columns[0])
    known = [known[row] for row in drawn(np.arange(len(known)), half).tolist()]
    check_neighbours(k, len(known))
    shared = len(set(known) & set(labelled.texts))
    note = f"{shared} texts of {data} stand in {reference} too, at a distance of 0 from themselves"
    return Use(
        (labelled.texts, known),
        lambda sides, progress: score_anomalies(sides[0].vectors, labels, sides[1].vectors, k=k, progress=progress),
        labelled.records,
        (note,) if shared else (),
    )


def _reference_texts(reference: str | Path, column: str) -> list[str]:
    if Path(reference).is_dir():
        return read_texts(reference).texts
    records = read_records(reference)
    return read_texts(reference, column=column if column in records.columns else None).texts


def geometry_use(
    data: str | Path,
    *,
    column: str | None = None,
    partner: str | None = None,
    most: int | None = GEOMETRY_SAMPLE,
) -> Use[Geometry]:
    """Look at how embeddings of texts lie on the sphere, from all pairs of them.

    Args:
        data: A file with a text a row, or a BEIR folder.
        column: The column of texts; None for the one that is named text or the only one.
        partner: A column of texts that mean the same, for alignment; None leaves it out.
        most: Texts at most, their partners counted, drawn at random; None takes all. Time grows with their square.

    Raises:
        DataError: If a column is missing, a text is empty, or there are fewer than 12 texts.
        ConfigError: If `most` is below 12.
    """
    k = _GEOMETRY_NEIGHBOURS
    if most is not None and most < k + 2:
        raise ConfigError("sample", most, f"at least {k + 2} texts")
    texts = read_texts(data, column=column).texts
    if len(texts) < k + 2:
        raise DataError(f"has {len(texts)} texts; how they lie can be told of {k + 2} or more", data)
    sides = [texts]
    if partner is not None:
        records = read_records(data)
        check_column(records, partner)
        sides.append(column_texts(records, partner))
    rows = drawn(np.arange(len(texts)), most if most is None else max(k + 2, most // len(sides))).tolist()
    note = f"{len(rows)} of {len(texts)} texts, drawn at random"

    def score(embedded: list[Embedded], progress: Progress) -> Geometry:
        partners = embedded[1].vectors if partner is not None else None
        own = embedded[0]
        return measure_geometry(own.vectors, partners=partners, lengths=own.lengths, k=k, progress=progress)

    return Use([[side[row] for row in rows] for side in sides], score, None, (note,) if len(rows) < len(texts) else ())
