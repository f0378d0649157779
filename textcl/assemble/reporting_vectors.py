"""A sample of a collection, embedded before and after training → similarities and a map."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from textcl.corpus.beir_files import corpus_file, required_file
from textcl.corpus.collection import Collection
from textcl.corpus.readers import ID_COLUMNS, ids, read_records
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import prompt_of
from textcl.errors import ConfigError
from textcl.progress import Progress, quiet
from textcl.randomness import permutation
from textcl.report.contents import CorpusMap, Similarities

_FREQUENT, _MORE = 5, 12  # values of a field that are shown in any case, and documents of each


@dataclass(frozen=True)
class Sample:
    """What of a collection is embedded.

    Args:
        collection: Where it is from.
        drawn: Places of documents drawn at random.
        more: Places of further documents, so that the field's most frequent values are seen.
        queries: Places of queries with a relevant document.
        positives: For each of these, the place of such a document.
        field: What the map is coloured by, or None.
        values: Document id → value of the field.
    """

    collection: Collection
    drawn: NDArray[np.int64]
    more: NDArray[np.int64]
    queries: NDArray[np.int64]
    positives: NDArray[np.int64]
    field: str | None
    values: Mapping[str, str]


def draw_sample(collection: Collection, folder: Path, count: int, field: str | None, seed: int) -> Sample:
    """Draw documents and half as many queries, each with one relevant document.

    Args:
        collection: As read from `folder`.
        folder: BEIR folder.
        count: Documents, at least 3.
        field: Column of the documents or of the queries; None takes the first one that groups them, if any.
        seed: Of the draw.

    Raises:
        ConfigError: If no column is called `field`.
    """
    name, values = _values(collection, folder, field)
    places = {doc_id: place for place, doc_id in enumerate(collection.doc_ids)}
    drawn = np.sort(permutation(len(places), seed, "report", "documents")[:count])
    queries: list[int] = []
    positives: list[int] = []
    for query in permutation(len(collection.query_ids), seed, "report", "queries"):
        judged = collection.qrels[collection.query_ids[query]]
        relevant = sorted(doc_id for doc_id, gain in judged.items() if gain > 0 and doc_id in places)
        if relevant and len(queries) < max(1, count // 2):
            queries.append(int(query))
            positives.append(places[relevant[0]])
    most = sorted(Counter(values.values()).items(), key=lambda one: (-one[1], one[0]))[:_FREQUENT]
    wanted = {value for value, _times in most}
    more: list[int] = []
    for value in sorted(wanted):
        known = [places[doc_id] for doc_id, one in values.items() if one == value and doc_id in places]
        more += [place for place in known[:_MORE] if place not in set(drawn.tolist())]
    further, asked, answers = (np.array(one, dtype=np.int64) for one in (more, queries, positives))
    return Sample(collection, drawn, further, asked, answers, name, values)


def _values(collection: Collection, folder: Path, wanted: str | None) -> tuple[str | None, dict[str, str]]:
    """Return the field's name in words, and its value for each document that has one."""
    documents = read_records(corpus_file(folder))
    queries = read_records(required_file(folder / "queries.jsonl"))
    relevant = {
        query_id: [doc_id for doc_id, gain in judged.items() if gain > 0]
        for query_id, judged in collection.qrels.items()
    }
    tried: list[str] = []
    for records, of_queries in ((documents, False), (queries, True)):
        for column in records.columns:
            if column in (*ID_COLUMNS, "title", "text") or (wanted is not None and column != wanted):
                continue
            tried.append(column)
            found: dict[str, str] = {}
            for one, value in zip(ids(records), records.dataset[column], strict=True):
                if value not in (None, "", "{}", "[]"):
                    found |= dict.fromkeys(relevant.get(one, []) if of_queries else [one], str(value))
            if wanted is not None or 1 < len(set(found.values())) <= len(found) / 2:
                return (f"{column} of the query that a document answers" if of_queries else column), found
    if wanted is not None:
        raise ConfigError("field", wanted, f"a column of the documents or the queries of {folder}")
    return None, {}


def embed_sample(encoder: SentenceTransformer, sample: Sample, progress: Progress = quiet) -> Vectors:
    """Return the vectors of a sample's documents and queries, with the encoder's prompts."""
    whole = sample.collection
    places = np.unique(np.concatenate([sample.drawn, sample.more, sample.positives]))
    documents = embed_texts(
        encoder,
        [whole.documents[place] for place in places],
        prompt=prompt_of(encoder, "document"),
        progress=progress,
        description="encode a sample of documents",
    )
    queries = embed_texts(
        encoder,
        [whole.queries[place] for place in sample.queries],
        prompt=prompt_of(encoder, "query"),
        progress=progress,
        description="encode a sample of queries",
    )
    return Vectors(places, documents.vectors.astype(np.float64), queries.vectors.astype(np.float64))


@dataclass(frozen=True)
class Vectors:
    """Embedded documents with their places in the collection, (n,) and (n, D), and queries (Q, D)."""

    places: NDArray[np.int64]
    documents: NDArray[np.float64]
    queries: NDArray[np.float64]

    def of(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the documents at some places of the collection, each of which was embedded."""
        return self.documents[np.searchsorted(self.places, places)]


def similarities_of(sample: Sample, vectors: Vectors) -> Similarities | None:
    """Return the cosines of queries with relevant documents and with those drawn that are not; None without both."""
    whole = sample.collection
    positives = (vectors.queries * vectors.of(sample.positives)).sum(axis=1)
    cosines = vectors.queries @ vectors.of(sample.drawn).T  # (Q, drawn)
    other = np.ones(cosines.shape, dtype=bool)
    for row, query in enumerate(sample.queries):
        judged = whole.qrels[whole.query_ids[query]]
        other[row] = [judged.get(whole.doc_ids[place], 0) <= 0 for place in sample.drawn]
    if not len(positives) or not other.any():
        return None
    return Similarities(positives, cosines[other])


def draw_map(sample: Sample, found: Mapping[str, Vectors], by: str) -> CorpusMap:
    """Return the sample on two dimensions of each encoder.

    Args:
        sample: What was drawn.
        found: Its vectors, by ranking.
        by: "umap", or "pca" for principal components.
    """
    whole, places = sample.collection, np.concatenate([sample.drawn, sample.more])
    points, shares = {}, {}
    for name, vectors in found.items():
        if by == "umap":
            points[name] = neighbourly(vectors.of(places))
        else:
            points[name], shares[name] = principal(vectors.of(sample.drawn), vectors.of(places))
    doc_ids = [whole.doc_ids[place] for place in places]
    return CorpusMap(
        doc_ids,
        [whole.documents[place] for place in places],
        sample.field,
        [sample.values.get(doc_id) for doc_id in doc_ids] if sample.field is not None else [],
        points,
        shares,
        len(sample.drawn),
        len(whole.doc_ids),
    )


def neighbourly(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows (n, D) on two dimensions that keep neighbours together, (n, 2), always the same.

    References:
        McInnes, Healy and Melville (2018), UMAP: uniform manifold approximation and projection, arXiv 1802.03426.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what else it could do with other packages, and that a seed costs threads
        from umap import UMAP  # slow to import

        threads = torch.get_num_threads()
        made = UMAP(n_neighbors=min(15, len(rows) - 1), metric="cosine", random_state=0, init=_start(rows))
        try:
            points: NDArray[np.float64] = made.fit_transform(rows)
        finally:
            torch.set_num_threads(threads)  # its libraries set OpenMP's threads for the whole process
    return points.astype(np.float64)


def _start(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return where the points start: principal components, of a spread that UMAP wants (about 10)."""
    points, _shares = principal(rows, rows)
    return (10 * points / (np.abs(points).max() or 1.0)).astype(np.float32)


def principal(rows: NDArray[np.float64], shown: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Return `shown` (n, D) on the two first principal components of `rows` (m, D): (n, 2), and their shares.

    A component's sign, which nothing decides, is that which makes its largest entry positive.

    References:
        Jolliffe (2002), Principal component analysis, section 3.5, by the singular values of the centred rows.
    """
    middle = rows.mean(axis=0)
    _left, values, components = np.linalg.svd(rows - middle, full_matrices=False)
    axes = components[:2] * np.sign(components[:2][np.arange(2), np.abs(components[:2]).argmax(axis=1)])[:, None]
    total = float((values**2).sum()) or 1.0
    return (shown - middle) @ axes.T, (float(values[0] ** 2) / total, float(values[1] ** 2) / total)
