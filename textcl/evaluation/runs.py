"""TREC run files: `query_id Q0 doc_id rank score tag`, one ranked document a line."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from textcl.artifacts import write_whole
from textcl.errors import ConfigError, DataError
from textcl.evaluation.ranking import Run, canonical_ranking


def write_run(path: Path, run: Mapping[str, Sequence[tuple[str, float]]], tag: str = "textcl") -> None:
    """Write `run` to `path`, whole or not at all, in the canonical order; its parents are made.

    Scores have nine significant digits, which is what any float32 needs to be read back to the same bits.

    Raises:
        ConfigError: If `tag` is empty or has white space.
        DataError: If an id is empty or has white space (the format has no quotes), a document comes twice, or a score
            is NaN. A query without documents is not written: the format has no line for it.
    """
    if not _is_word(tag):
        raise ConfigError("tag", tag, "a word without white space")
    lines = []
    for query_id, scored in run.items():
        if scored:
            check_ids(path, [query_id], (doc_id for doc_id, _score in scored))
        for rank, (doc_id, score) in enumerate(canonical_ranking(scored, query_id), start=1):
            lines.append(f"{query_id} Q0 {doc_id} {rank} {score:.9g} {tag}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "".join(lines))


def check_ids(path: Path, query_ids: Iterable[str], doc_ids: Iterable[str]) -> None:
    """Raise DataError if a run file at `path` could not hold an id; call it before long work starts."""
    for kind, ids in (("query", query_ids), ("document", doc_ids)):
        for one in ids:
            if not _is_word(one):
                raise DataError(f"{kind} id {one!r} is empty or has white space; a run file cannot hold it", path)


def read_run(path: Path) -> Run:
    """Return the run in `path`, each ranking in the canonical order; as in trec_eval the rank column decides nothing.

    Raises:
        DataError: If the file is missing, holds no ranking, or a line is not UTF-8, has not six fields, has no number
            as its score, or ranks a document again.
    """
    if not path.is_file():
        raise DataError("no such run file; name an existing one", path)
    scored: dict[str, dict[str, float]] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if line.strip():
                query_id, doc_id, score = _parse(line, path, number)
                if doc_id in scored.setdefault(query_id, {}):
                    raise DataError(f"query {query_id!r} ranks document {doc_id!r} again; keep one", path, number)
                scored[query_id][doc_id] = score
    if not scored:
        raise DataError("holds no ranking; a run file has lines of `query_id Q0 doc_id rank score tag`", path)
    return {query_id: canonical_ranking(of_query.items(), query_id) for query_id, of_query in scored.items()}


def _is_word(text: str) -> bool:
    return text.split() == [text]


def _parse(line: bytes, path: Path, number: int) -> tuple[str, str, float]:
    try:
        fields = line.decode("utf-8").split()
    except UnicodeDecodeError as error:
        raise DataError(f"byte {error.start + 1} is not UTF-8; save the file as UTF-8", path, number) from error
    if len(fields) != 6:
        problem = f"expected six fields (query_id Q0 doc_id rank score tag), got {len(fields)}"
        raise DataError(problem, path, number)
    try:
        if "_" in fields[4]:  # Python's own way to write numbers
            raise ValueError
        score = float(fields[4])
    except ValueError as error:
        raise DataError(f"score: expected a number, got {fields[4]!r}", path, number) from error
    if score != score:
        raise DataError("score: expected a number, got NaN; it has no rank", path, number)
    return fields[0], fields[2], score
