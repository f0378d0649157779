"""BEIR folders and TREC judgements → judged collections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from textcl.corpus.beir_files import corpus_file, existing_file, required_file
from textcl.corpus.documents import check_has_ids, read_texts
from textcl.corpus.formats import TEXT_COLUMN, numbered_lines
from textcl.corpus.readers import check_column, column_texts, ids, read_records
from textcl.errors import DataError
from textcl.randomness import permutation

Qrels = dict[str, dict[str, int]]
"""Query id → document id → judged relevance; at most 0 means not relevant."""

_BEIR_HEADER = ["query-id", "corpus-id", "score"]
_SHOWN_IDS = 5


@dataclass(frozen=True)
class Collection:
    """N documents, Q judged queries and the judgements between them.

    Args:
        doc_ids: N different ids, in the file's order.
        documents: N texts, title and text joined by one space; "" where a document has neither.
        query_ids: Q different ids: the queries with at least one judgement in the split, in the file's order.
        queries: Q texts.
        qrels: All judgements of the split, also those on documents and queries that do not exist.
        name: The folder's name.
        missing_documents: Judged documents that do not exist; they can never be found, and count against recall.
        unjudged_queries: Queries of the file that the split does not judge; they are left out.
    """

    doc_ids: list[str]
    documents: list[str]
    query_ids: list[str]
    queries: list[str]
    qrels: Qrels
    name: str
    missing_documents: int
    unjudged_queries: int

    @property
    def missing_queries(self) -> int:
        """Judged queries that do not exist; nobody can ask them, and they count as 0."""
        return len(self.qrels.keys() - set(self.query_ids))


@dataclass(frozen=True, slots=True)
class _Judgement:
    query_id: str
    doc_id: str
    score: int
    line: int


def read_collection(
    folder: str | Path, split: str = "test", *, allow_missing: bool = False, cache: Path | None = None
) -> Collection:
    """Read a BEIR folder: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, each also with .gz.

    Args:
        folder: Where they are.
        split: Which judgements.
        allow_missing: Keep judgements on documents and queries that do not exist, instead of raising. They stay in
            `qrels`: what cannot be found is not found.
        cache: Folder for the Arrow copies, as in `read_records`.

    Raises:
        DataError: If a file is missing or wrong, ids repeat, judgements disagree or name what does not exist, or no
            query of the folder is judged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError("no such folder; expected one with corpus.jsonl, queries.jsonl and qrels/", folder)
    corpus_file(folder)  # must be there; read below
    queries = required_file(folder / "queries.jsonl")
    qrels_path = _split_file(folder, split)
    judgements = _read_judgements(qrels_path)
    documents = read_texts(folder, cache=cache)
    asked = read_records(queries, cache=cache)
    check_has_ids(asked)
    all_query_ids, all_queries = ids(asked), column_texts(asked, TEXT_COLUMN)
    missing = _check_known(judgements, set(documents.ids), set(all_query_ids), qrels_path, allow_missing=allow_missing)
    qrels = _qrels(judgements)
    judged = [(name, text) for name, text in zip(all_query_ids, all_queries, strict=True) if name in qrels]
    if not judged:
        raise DataError(f"no judged query: none of its query ids is in {queries}", qrels_path)
    return Collection(
        doc_ids=documents.ids,
        documents=documents.texts,
        query_ids=[name for name, _text in judged],
        queries=[text for _name, text in judged],
        qrels=qrels,
        name=folder.resolve().name,
        missing_documents=missing,
        unjudged_queries=len(all_queries) - len(judged),
    )


def reduced(collection: Collection, most: int | None) -> Collection:
    """Return a collection of so many texts at most, always the same; itself where it has no more, or `most` is None.

    Queries are drawn at random as long as they and their judged documents are at most half of the texts, but one query
    with its documents in any case; other documents fill up the rest. Fewer documents are easier to tell apart: measures
    are higher than on the whole.
    """
    if most is None or len(collection.documents) + len(collection.queries) <= most:
        return collection
    places = {doc_id: place for place, doc_id in enumerate(collection.doc_ids)}
    queries: list[int] = []
    judged: set[int] = set()
    for query in permutation(len(collection.queries), 0, "reduced", "queries").tolist():
        own = {places[one] for one in collection.qrels[collection.query_ids[query]] if one in places}
        if queries and len(queries) + 1 + len(judged | own) > most // 2:
            break
        queries.append(query)
        judged |= own
    others = [row for row in permutation(len(places), 0, "reduced", "documents").tolist() if row not in judged]
    rows = sorted([*judged, *others[: max(0, most - len(queries) - len(judged))]])
    queries.sort()
    query_ids = [collection.query_ids[query] for query in queries]
    return replace(
        collection,
        doc_ids=[collection.doc_ids[row] for row in rows],
        documents=[collection.documents[row] for row in rows],
        query_ids=query_ids,
        queries=[collection.queries[query] for query in queries],
        qrels={query_id: collection.qrels[query_id] for query_id in query_ids},
    )


def query_values(folder: str | Path, field: str, *, cache: Path | None = None) -> dict[str, object]:
    """Return a field of the queries of a BEIR folder: query id → value, None where a query has none.

    Args:
        folder: Where queries.jsonl is.
        field: A column, or with a dot a key of one that holds objects, such as "metadata.topic".
        cache: Folder for the Arrow copy, as in `read_records`.

    Raises:
        DataError: If there is no such file or column, or no query has the key.
    """
    asked = read_records(required_file(Path(folder) / "queries.jsonl"), cache=cache)
    check_has_ids(asked)
    column, keys = (field, []) if field in asked.columns else (field.split(".")[0], field.split(".")[1:])
    check_column(asked, column)
    values = [_inside(value, keys) for value in asked.dataset[column]]
    if all(value is None for value in values):
        raise asked.fault(f"no query has a value of {field!r}")
    return dict(zip(ids(asked), values, strict=True))


def read_qrels(path: str | Path) -> Qrels:
    """Read judgements: BEIR's tsv with its header, or TREC's four columns (query, iteration, document, relevance).

    Queries and documents come in the file's order. A judgement that is given twice, alike, counts once.

    Raises:
        DataError: If the file is missing or has no judgement, a line has another form, or two judgements disagree.
    """
    if not Path(path).is_file():
        raise DataError("no such file", path)
    return _qrels(_read_judgements(Path(path)))


def _inside(value: object, keys: Sequence[str]) -> object:
    """Return what is at `keys` of an object, which the readers keep as JSON text; None where it has no such key."""
    for key in keys:
        try:
            value = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            return None
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _split_file(folder: Path, split: str) -> Path:
    path = folder / "qrels" / f"{split}.tsv"
    found = existing_file(path)
    if found is None:
        names = sorted({other.name.split(".tsv")[0] for other in path.parent.glob("*.tsv*")})
        raise DataError(f"no such file, nor with .gz; splits here: {', '.join(names) or 'none'}", path)
    return found


def _read_judgements(path: Path) -> list[_Judgement]:
    """Read the judgements of a file in their order; those given twice stay."""
    judgements: list[_Judgement] = []
    with closing(numbered_lines(path)) as lines:
        content = ((number, line.rstrip("\r\n")) for number, line in lines if line.strip())
        first = next(content, None)
        if first is None:
            raise DataError("has no judgement; expected at least one", path)
        is_beir = [name.strip().lower().replace("_", "-") for name in first[1].split("\t")] == _BEIR_HEADER
        for number, line in content if is_beir else chain([first], content):
            fields = line.split("\t") if is_beir else line.split()
            judgements.append(_judgement(fields, is_beir, path, number))
    if not judgements:
        raise DataError("has no judgement below its header; expected at least one", path)
    _check_agreement(judgements, path)
    return judgements


def _judgement(fields: Sequence[str], is_beir: bool, path: Path, line: int) -> _Judgement:
    if is_beir and len(fields) == 3:
        query_id, doc_id, score = fields
    elif not is_beir and len(fields) == 4:
        query_id, _iteration, doc_id, score = fields
    else:
        form = "3 fields with tabs between" if is_beir else f"the header {' '.join(_BEIR_HEADER)}, or TREC's 4 columns"
        raise DataError(f"expected {form}, got {len(fields)} fields", path, line)
    try:
        return _Judgement(query_id, doc_id, int(score), line)
    except ValueError as error:
        raise DataError(f"invalid score {score!r}; expected a whole number", path, line) from error


def _qrels(judgements: Sequence[_Judgement]) -> Qrels:
    qrels: Qrels = {}
    for one in judgements:
        qrels.setdefault(one.query_id, {})[one.doc_id] = one.score
    return qrels


def _check_agreement(judgements: Sequence[_Judgement], path: Path) -> None:
    first: dict[tuple[str, str], _Judgement] = {}
    for one in judgements:
        before = first.setdefault((one.query_id, one.doc_id), one)
        if before.score != one.score:
            problem = f"query {one.query_id!r} and document {one.doc_id!r} have score {one.score} here"
            raise DataError(f"{problem} and {before.score} on line {before.line}; keep one", path, one.line)


def _check_known(
    judgements: Sequence[_Judgement], doc_ids: set[str], query_ids: set[str], path: Path, *, allow_missing: bool
) -> int:
    """Return how many judged documents are not in `doc_ids`; raise one error for all unknown names unless allowed."""
    documents: dict[str, int] = {}
    queries: dict[str, int] = {}
    for one in judgements:
        if one.doc_id not in doc_ids:
            documents.setdefault(one.doc_id, one.line)
        if one.query_id not in query_ids:
            queries.setdefault(one.query_id, one.line)
    if not allow_missing and (documents or queries):
        parts = [_unknown("documents", documents, "corpus"), _unknown("queries", queries, "query file")]
        problem = " and ".join(part for part in parts if part)
        hint = "mend the files, or add --allow-missing to count what is missing as not found"
        raise DataError(f"{problem}; {hint}", path, min([*documents.values(), *queries.values()]))
    return len(documents)


def _unknown(what: str, lines: dict[str, int], place: str) -> str:
    if not lines:
        return ""
    shown = ", ".join(repr(name) for name in list(lines)[:_SHOWN_IDS])
    return f"{len(lines)} judged {what} not in the {place}: {shown}{', …' if len(lines) > _SHOWN_IDS else ''}"
