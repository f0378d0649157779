"""A judged collection and names → which slice each of its queries is in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textcl.corpus.collection import Collection, query_values
from textcl.evaluation.slices import Labels, by_field, by_length, by_positives


def query_labels(collection: Collection, folder: str | Path, names: Sequence[str]) -> dict[str, Labels]:
    """Return for each name the slices of the judged queries: name → query id → label.

    Args:
        collection: As `read_collection` returns it.
        folder: Where it was read from; fields are read from its queries.jsonl.
        names: `length` (thirds by words), `positives` (by their number), or a field of the queries.

    Raises:
        ConfigError: If a field has too many values.
        DataError: If the queries have no such field.
    """
    return {name: _labels(collection, folder, name) for name in names}


def _labels(collection: Collection, folder: str | Path, name: str) -> Labels:
    texts = dict(zip(collection.query_ids, collection.queries, strict=True))
    if name == "length":
        return by_length(texts)
    if name == "positives":
        return by_positives(collection.qrels)
    values = query_values(folder, name)
    return by_field({query_id: values[query_id] for query_id in texts}, name)
