"""What a report is made from: the facts of each run, as numbers and texts that somebody else has read or computed.

Whatever a run does not have is empty here, and a sentence in `RunFacts.missing` says why; the page repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Measures = Mapping[str, Mapping[str, float]]
"""Measure → {"mean", "low", "high", "queries"}, or for a change {"difference", "low", "high", "queries"}."""
Curve = tuple[Sequence[int], Sequence[float]]
"""Optimizer steps in ascending order, and a value for each."""

BASE, TRAINED, BM25 = "before", "after", "bm25"
"""What the rankings of the encoder as it came, of the trained one and of BM25 are called, as in runs/before.trec."""
SYSTEM_NAMES = {BASE: "base model", TRAINED: "trained model", BM25: "BM25"}
"""The same in a reader's words; other rankings keep their names."""


def system_name(system: str) -> str:
    """Return what a reader calls the ranking that lies in runs/SYSTEM.trec."""
    return SYSTEM_NAMES.get(system, system)


@dataclass(frozen=True)
class Similarities:
    """Cosines of queries with documents, as one encoder has them.

    Args:
        positives: (P,) of queries with a document that is relevant to them.
        negatives: (M,) of queries with documents drawn at random that are not.
    """

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]


@dataclass(frozen=True)
class CorpusMap:
    """A sample of the corpus, drawn on two dimensions made of each encoder's embeddings.

    Args:
        doc_ids: n ids.
        texts: n texts.
        field: What the documents are coloured by, in words; None where there is no field.
        values: n values of it, None for a document without one; empty without a field.
        points: `before` and `after`, or one of them → (n, 2) coordinates.
        explained: The same names → the share of the variance that each of two principal components holds; empty where
            UMAP made the dimensions.
        drawn: How many documents were drawn at random; those behind them were added for their value of the field.
        corpus: How many documents there are.
    """

    doc_ids: Sequence[str]
    texts: Sequence[str]
    field: str | None
    values: Sequence[str | None]
    points: Mapping[str, NDArray[np.float64]]
    explained: Mapping[str, tuple[float, float]]
    drawn: int
    corpus: int


@dataclass(frozen=True)
class Document:
    """A document beside a query.

    Args:
        doc_id: Its id.
        text: Its text, cut if it is long; None where the corpus does not have it.
        rank: Its rank, counted from 1; None if the ranking does not hold it.
        relevant: Whether it is judged relevant to the query.
    """

    doc_id: str
    text: str | None
    rank: int | None
    relevant: bool


@dataclass(frozen=True)
class WorstQuery:
    """A query that the trained model answers badly.

    Args:
        query_id: Its id.
        text: Its text; None where the collection does not have it.
        value: The measure's value with the trained model.
        before: The same with the base model, or None.
        found: What stands first in the ranking.
        wanted: What is judged relevant, wherever it stands.
    """

    query_id: str
    text: str | None
    value: float
    before: float | None
    found: Sequence[Document]
    wanted: Sequence[Document]


@dataclass(frozen=True)
class Slice:
    """The queries that share something.

    Args:
        by: What they share, such as "query length".
        name: Its value, such as "at most 6 words".
        queries: How many there are.
        systems: Ranking → measures.
        change: Measures of the trained model less those of the base model; empty where there is one of them only.
    """

    by: str
    name: str
    queries: int
    systems: Mapping[str, Measures]
    change: Measures


@dataclass(frozen=True)
class CurvePoint:
    """An index searched with certain settings.

    Args:
        settings: In FAISS's words, such as "nprobe=8".
        recall: Share of the exact neighbours that are found.
        p50_ms: Median time of one query.
        p95_ms: 95th percentile of it.
        queries_per_s: In batches; None where nobody measured.
    """

    settings: str
    recall: float
    p50_ms: float
    p95_ms: float
    queries_per_s: float | None


@dataclass(frozen=True)
class IndexFacts:
    """What the manifest of an index says about its search.

    Args:
        name: The folder.
        curve: Recall against latency; empty where nobody measured.
        decomposition: Measure → {"exact", "decoded", "index"}: its value with exact search, with exact search over what
            the codes decode to, and with the index as it is; empty where nobody measured.
    """

    name: str
    curve: Sequence[CurvePoint]
    decomposition: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Args:
        name: Told apart from the other runs' names.
        folder: Where it lies.
        collection: What it was evaluated on, in words, or None.
        systems: Ranking (`before`, `after`, `bm25`, others) → measures.
        changes: (ranking, ranking it is compared with) → measures of their difference.
        curves: Name in the journal → values.
        similarities: `before` and `after` → cosines.
        corpus_map: The sample of the corpus, or None.
        slices: Of the queries.
        worst: The queries that the trained model answers worst, the worst first.
        worst_by: The measure that decides which these are.
        indexes: Of indexes that belong to the run.
        recipe: The resolved recipe as YAML.
        settings: The same by dotted field.
        facts: What the manifest says: fingerprints, versions, steps.
        files: Name → SHA-256.
        missing: Sentences about what is not here and why.
    """

    name: str
    folder: str
    collection: str | None = None
    systems: Mapping[str, Measures] = field(default_factory=dict)
    changes: Mapping[tuple[str, str], Measures] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    similarities: Mapping[str, Similarities] = field(default_factory=dict)
    corpus_map: CorpusMap | None = None
    slices: Sequence[Slice] = ()
    worst: Sequence[WorstQuery] = ()
    worst_by: str | None = None
    indexes: Sequence[IndexFacts] = ()
    recipe: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()
