"""What a user should know about data before trusting a number made from it."""

from __future__ import annotations

from textcl.corpus.collection import Collection
from textcl.corpus.leaks import count_leaks


def missing_note(collection: Collection) -> str | None:
    """Return the sentence about judged documents and queries that the collection lacks, or None."""
    if not collection.missing_documents and not collection.missing_queries:
        return None
    return (
        f"{collection.name}: {collection.missing_documents} judged documents and {collection.missing_queries} judged "
        "queries do not exist; they count as not found"
    )


def leak_note(sides: list[list[str]], collection: Collection) -> str:
    """Return the sentence about training rows (by side) whose texts are evaluated on."""
    relevant = {doc for judged in collection.qrels.values() for doc, gain in judged.items() if gain > 0}
    documents = dict(zip(collection.doc_ids, collection.documents, strict=True))
    evaluated = [*collection.queries, *(documents[doc] for doc in relevant if doc in documents)]
    leaks = count_leaks(sides, evaluated)
    return (
        f"{leaks} of {len(sides[0])} training rows hold a text that is evaluated on "
        "(queries and their relevant documents)"
    )
