"""Encoder + judged collection or graded pairs → what fewer dimensions and coarser numbers cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from textcl.assemble.labelled import GradedPairs, read_graded_pairs
from textcl.assemble.once import embed_sides
from textcl.assemble.uses import Model, loaded
from textcl.corpus.beir_files import is_collection
from textcl.corpus.collection import Collection, read_collection
from textcl.encoder.load import prompt_of
from textcl.encoder.vector_files import cached_vectors
from textcl.errors import ConfigError, DataError
from textcl.evaluation.exact import top_documents
from textcl.evaluation.grid import BYTES, GridCell, Measure, quality_grid
from textcl.evaluation.measures import depth_of, score_run
from textcl.evaluation.sts import score_sts
from textcl.progress import Progress, Say, quiet, silent


@dataclass(frozen=True)
class GridSettings:
    """What a grid is made of.

    Args:
        dimensions: Kept, each at most the encoder's; None takes all, a half, a quarter and an eighth.
        quantisations: Of "float32", "float16", "int8" and "binary"; of documents alone, as an index stores them.
        measures: Of a judged collection.
    """

    dimensions: tuple[int, ...] | None = None
    quantisations: tuple[str, ...] = tuple(BYTES)
    measures: tuple[str, ...] = ("ndcg@10",)

    def __post_init__(self) -> None:
        depth_of(self.measures)
        if not self.measures:
            raise ConfigError("measures", [], "at least one measure")
        for name in self.quantisations:
            if name not in BYTES:
                raise ConfigError("quantisations", name, f"one of {', '.join(BYTES)}")


def evaluate_grid(
    model: Model,
    data: str | Path,
    *,
    split: str | None = None,
    settings: GridSettings | None = None,
    progress: Progress = quiet,
    say: Say = silent,
) -> list[GridCell]:
    """Return what each kept dimension with each quantisation measures, and the bytes of a vector.

    Args:
        model: A model's folder or name, or a loaded encoder.
        data: A BEIR folder, for measures of retrieval, or a file of graded pairs (columns sentence1, sentence2, score),
            for `spearman`, whose second sentences are the ones stored.
        split: Of the judgements (None: test), or rows of the file (None: all).
        settings: None takes the defaults.
        progress: Told of texts encoded.
        say: Told how many texts were cut at the encoder's limit.

    Raises:
        DataError: For wrong data.
        ConfigError: If a setting is out of range.
    """
    settings = settings or GridSettings()
    if Path(data).is_dir() and not is_collection(data):
        raise DataError("is a folder without corpus.jsonl or corpus.jsonl.gz; name a BEIR folder or a file", data)
    read = read_collection(Path(data), split or "test") if Path(data).is_dir() else read_graded_pairs(data, split=split)
    encoder = loaded(model)
    width = encoder.get_embedding_dimension() or 0
    dimensions = settings.dimensions or tuple(part for part in (width, width // 2, width // 4, width // 8) if part)
    for dimension in dimensions:
        if not 1 <= dimension <= width:
            raise ConfigError("dimensions", dimension, f"a number from 1 to {width}, the encoder's own")
    if isinstance(read, GradedPairs):
        queries, documents = (
            one.vectors for one in embed_sides(encoder, [read.first, read.second], progress=progress, say=say)
        )
        measure = _graded(read.grades)
    else:
        sides = ((prompt_of(encoder, "document"), read.documents), (prompt_of(encoder, "query"), read.queries))
        documents, queries = (
            cached_vectors(encoder, texts, prompt=prompt, progress=progress).vectors for prompt, texts in sides
        )
        measure = _ranked(read, settings.measures)
    return quality_grid(documents, queries, measure, dimensions=dimensions, quantisations=settings.quantisations)


def _graded(grades: NDArray[np.float64]) -> Measure:
    return lambda documents, queries: {"spearman": score_sts(queries, documents, grades).spearman}


def _ranked(collection: Collection, measures: Sequence[str]) -> Measure:
    def measure(documents: NDArray[np.float32], queries: NDArray[np.float32]) -> dict[str, float]:
        run = top_documents(queries, collection.query_ids, documents, collection.doc_ids, depth_of(measures))
        scores = score_run(run, collection.qrels, measures)
        return {name: fmean(values.values()) for name, values in scores.items()}

    return measure
