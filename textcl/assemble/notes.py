"""What a user should know about data before trusting a number made from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sentence_transformers import SentenceTransformer

from textcl.assemble.texts import AnyTexts, TrainingTexts
from textcl.corpus.collection import Collection
from textcl.corpus.leaks import leaking_rows, text_blocks
from textcl.corpus.readers import read_records
from textcl.encoder.layers import transformer_of
from textcl.encoder.packing import FAMILIES, is_packable
from textcl.progress import Say
from textcl.recipe.models import Recipe


def missing_note(collection: Collection) -> str | None:
    """Return the sentence about judged documents and queries that the collection lacks, or None."""
    if not collection.missing_documents and not collection.missing_queries:
        return None
    return (
        f"{collection.name}: {collection.missing_documents} judged documents and {collection.missing_queries} judged "
        "queries do not exist; they count as not found"
    )


def padding_note(encoder: SentenceTransformer) -> str | None:
    """Return the sentence about an encoder that cannot run without padding, or None."""
    if is_packable(encoder):
        return None
    kind = transformer_of(encoder).config.model_type
    return f"{kind} runs padded, which is slower; {', '.join(FAMILIES)} run without padding"


def evaluated_texts(collection: Collection) -> list[str]:
    """Return the queries of a collection and the documents relevant to them."""
    relevant = {doc for judged in collection.qrels.values() for doc, gain in judged.items() if gain > 0}
    documents = dict(zip(collection.doc_ids, collection.documents, strict=True))
    return [*collection.queries, *(documents[doc] for doc in relevant if doc in documents)]


def leak_note(texts: Sequence[AnyTexts], collection: Collection) -> str:
    """Return the sentence about training rows whose texts are evaluated on."""
    leaks = leaking_rows((block.columns for one in texts for block in one.blocks()), evaluated_texts(collection))
    return (
        f"{len(leaks)} of {sum(map(len, texts))} training rows hold a text that is evaluated on "
        "(queries and their relevant documents)"
    )


def training_note(training: str | Path, evaluated: Iterable[str]) -> str:
    """Return the sentence about the rows of a file of training data that hold a text that is evaluated on.

    Args:
        training: A file with a text or a pair a row, as `read_records` takes it; all its columns of texts count.
        evaluated: What is evaluated on.
    """
    records = read_records(training)
    rows = leaking_rows(text_blocks(records), evaluated)
    first = f", the first one on line {records.lines[rows[0]]}" if rows else ""
    return f"{len(rows)} of {len(records)} rows of {training} hold a text that is evaluated on{first}"


def tell(
    recipe: Recipe,
    texts: Sequence[AnyTexts],
    max_tokens: int | None,
    collection: Collection | None,
    longer: int,
    say: Say,
) -> None:
    """Say what was found in the data before the first step."""
    for part, one in zip(recipe.data.parts, texts, strict=True):
        limited = ", the first ones there (data.limit)" if len(one) == part.limit else ""
        say(f"{len(one)} training {'texts' if one.single else 'pairs'} from {part.train}{limited}")
        for note in one.notes:
            say(note)
    count = sum(map(len, texts))
    queue = getattr(recipe.method, "queue_size", 0)
    if queue > count:
        say(f"method.queue_size is {queue}, so that each of the {count} pairs stands in the queue several times")
    if longer:
        total = sum(len(column) for one in texts if isinstance(one, TrainingTexts) for column in one.columns)
        say(
            f"{longer} of {total} training texts are longer than {max_tokens} tokens; "
            "what their views leave beyond that is cut"
        )
    if collection is not None:
        say(leak_note(texts, collection))
        if missing := missing_note(collection):
            say(missing)
