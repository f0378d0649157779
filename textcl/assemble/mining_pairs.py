"""Files or BEIR folders → the pairs to mine for, and the documents to mine from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from textcl.artifacts import fingerprint
from textcl.corpus.beir_files import is_collection
from textcl.corpus.collection import read_collection
from textcl.corpus.documents import Texts, read_texts
from textcl.corpus.groups import column_groups
from textcl.corpus.readers import column_texts, read_records
from textcl.errors import ConfigError, DataError
from textcl.index.forbidden import Forbidden, forbidden_documents
from textcl.progress import Progress, quiet


@dataclass(frozen=True)
class MiningPairs:
    """N pairs, and the documents that their negatives come from.

    Args:
        anchors: N texts.
        positives: N texts.
        documents: D texts, all different, none empty.
        groups: N labels, None for a row in a group of its own; None without groups.
        files: What was read, which no output may replace.
        notes: Sentences about the reading, such as how many documents were left out.
    """

    anchors: Sequence[str]
    positives: Sequence[str]
    documents: Texts
    groups: Sequence[str | None] | None = None
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def forbidden(self) -> Forbidden:
        """The documents that are no row's negatives."""
        return forbidden_documents(self.anchors, self.positives, self.documents.texts, self.groups)

    @cached_property
    def made_from(self) -> str:
        """Sixteen hexadecimal digits that other pairs, or other documents, do not have."""
        columns = (self.anchors, self.positives, self.documents.texts)
        return fingerprint([*(str(len(column)) for column in columns), *(text for one in columns for text in one)])[:16]


def read_mining_pairs(
    source: str | Path,
    *,
    anchor: str | None = None,
    positive: str | None = None,
    group: str | None = None,
    split: str | None = None,
    documents: str | Path | None = None,
    progress: Progress = quiet,
) -> MiningPairs:
    """Read the pairs of a file or of a BEIR folder, and the documents to mine from.

    In a BEIR folder each query makes a pair with each document that is judged relevant.

    Args:
        source: What `read_records` reads, or a BEIR folder.
        anchor: Column of a file; None for `anchor`.
        positive: Column of a file; None for `positive`.
        group: Column of labels: documents of a row with an equal one are no negatives. A blank one says nothing.
        split: Judgements of a BEIR folder; None for `train`.
        documents: What `read_texts` reads; None for the folder's corpus, or for the positives of the file.
        progress: Told of rows read.

    Raises:
        ConfigError: If a column is named for a folder, or a split for a file.
        DataError: If a file is at fault, or no pair is left.
    """
    if is_collection(source):
        for field, value in (("anchor", anchor), ("positive", positive), ("group", group)):
            if value is not None:
                raise ConfigError(field, problem=f"names a column, and {source} is a BEIR folder; leave it out")
        return _of_folder(Path(source), split or "train", documents)
    if split is not None:
        raise ConfigError("split", problem=f"names judgements of a BEIR folder, and {source} is none; leave it out")
    records = read_records(source, progress=progress)
    anchors, positives = (column_texts(records, name) for name in (anchor or "anchor", positive or "positive"))
    groups = None if group is None else column_groups(records, group)
    texts = _numbered(positives, str(source)) if documents is None else read_texts(documents)
    return _mining_pairs(anchors, positives, groups, texts, (source, documents))


def pairs_of(
    anchors: Sequence[str],
    positives: Sequence[str],
    groups: Sequence[str | None] | None = None,
    documents: str | Path | None = None,
) -> MiningPairs:
    """Return pairs that are in memory as pairs to mine for, as `read_mining_pairs` returns those of a file.

    Args:
        anchors: N texts.
        positives: N texts.
        groups: N labels, as MiningPairs has them.
        documents: What `read_texts` reads; None for the positives.
    """
    texts = _numbered(positives, "the positives") if documents is None else read_texts(documents)
    return _mining_pairs(anchors, positives, groups, texts, (documents,))


def _of_folder(folder: Path, split: str, documents: str | Path | None) -> MiningPairs:
    collection = read_collection(folder, split)
    text_of = dict(zip(collection.doc_ids, collection.documents, strict=True))
    pairs = [
        (query, text_of[doc_id])
        for query_id, query in zip(collection.query_ids, collection.queries, strict=True)
        for doc_id, relevance in collection.qrels[query_id].items()
        if relevance > 0
    ]
    full = [(query, text) for query, text in pairs if text]
    if not full:
        raise DataError(f"no query of the split {split} has a relevant document with a text", folder)
    notes = (f"{len(pairs) - len(full)} relevant documents without a text make no pair",) * (len(full) < len(pairs))
    own = Texts(collection.doc_ids, collection.documents, str(folder))
    texts = own if documents is None else read_texts(documents)
    anchors, positives = ([pair[side] for pair in full] for side in (0, 1))
    return _mining_pairs(anchors, positives, None, texts, (folder, documents), notes)


def _mining_pairs(
    anchors: Sequence[str],
    positives: Sequence[str],
    groups: Sequence[str | None] | None,
    texts: Texts,
    files: Sequence[str | Path | None],
    notes: tuple[str, ...] = (),
) -> MiningPairs:
    first: dict[str, str] = {}
    for name, text in zip(texts.ids, texts.texts, strict=True):
        if text.strip():
            first.setdefault(text, name)
    if not first:
        raise DataError("no document has a text; there is nothing to mine from", texts.source)
    if len(first) < len(texts.texts):
        notes = (*notes, f"{len(texts.texts) - len(first)} documents that are empty or come twice were left out")
    documents = Texts(list(first.values()), list(first), texts.source)
    return MiningPairs(
        anchors, positives, documents, groups, tuple(str(one) for one in files if one is not None), notes
    )


def _numbered(texts: Sequence[str], source: str) -> Texts:
    distinct = list(dict.fromkeys(texts))
    return Texts([str(number) for number in range(len(distinct))], distinct, source)
