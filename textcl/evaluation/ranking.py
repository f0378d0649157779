"""The canonical order of scored documents, and exact search that returns it.

The order is float32 score descending, then document id descending, as trec_eval has it. Strings compare by code
point, which is the byte order of UTF-8 and so trec_eval's. NaN has no place in it and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.progress import Progress, quiet

Qrels = dict[str, dict[str, int]]
"""Query id → document id → relevance; 1 and more is relevant."""
Ranking = list[tuple[str, float]]
"""(document id, score) in the canonical order; every score is exactly a float32."""
Run = dict[str, Ranking]
"""Query id → ranking."""

_QUERY_ROWS = 256  # queries scored at once: with the default chunk about 20 MB of keys
_SIGN = np.uint32(0x80000000)


def canonical_ranking(scored: Iterable[tuple[str, float]], query_id: str) -> Ranking:
    """Return scored documents in the canonical order, each score rounded to float32 and -0.0 made 0.0.

    Args:
        scored: (document id, score) in any order.
        query_id: Named in errors.

    Raises:
        DataError: If a score is NaN or no number, or a document comes twice.
    """
    pairs = list(scored)
    doc_ids = [pair[0] for pair in pairs]
    with np.errstate(over="ignore"):  # beyond float32 is infinite, as in trec_eval
        scores = _numbers(pairs, query_id).astype(np.float32) + np.float32(0)
    if len(set(doc_ids)) < len(doc_ids):
        twice = next(one for place, one in enumerate(doc_ids) if one in doc_ids[:place])
        raise DataError(f"query {query_id!r}: document {twice!r} is ranked twice; keep one of them")
    ranking = list(zip(doc_ids, scores.tolist(), strict=True))
    if not (scores[1:] < scores[:-1]).all():  # most runs come in order
        ranking.sort(key=lambda pair: pair[0], reverse=True)
        ranking.sort(key=lambda pair: pair[1], reverse=True)  # stable also in reverse: ids stay descending among ties
    return ranking


def canonical_run(run: Mapping[str, Sequence[tuple[str, float]]], query_ids: Iterable[str]) -> Run:
    """Return the rankings of those of `query_ids` that the run has, each in the canonical order.

    Rankings that are canonical already, as searches and run files give them, are found by looking at all together.

    Raises:
        DataError: As `canonical_ranking`.
    """
    known = [query_id for query_id in query_ids if query_id in run]
    lengths = np.array([len(run[query_id]) for query_id in known], dtype=np.int64)
    try:
        every = chain.from_iterable(map(run.__getitem__, known))
        scores = np.fromiter(map(itemgetter(1), every), np.float64, int(lengths.sum()))
    except (TypeError, ValueError):  # the way by single rankings names the score
        return {query_id: canonical_ranking(run[query_id], query_id) for query_id in known}
    with np.errstate(over="ignore"):
        narrow = scores.astype(np.float32)
    sound = (narrow == scores) & ~((scores == 0) & np.signbit(scores))
    first = np.zeros(len(scores), dtype=np.bool_)
    first[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    sound[1:] &= first[1:] | (narrow[1:] < narrow[:-1])
    faults = np.bincount(np.repeat(np.arange(len(known)), lengths), ~sound, len(known))
    rankings = {}
    for query_id, fault in zip(known, faults.tolist(), strict=True):
        pairs = run[query_id]
        canonical = not fault and len(set(map(itemgetter(0), pairs))) == len(pairs)
        rankings[query_id] = list(pairs) if canonical else canonical_ranking(pairs, query_id)
    return rankings


def _numbers(pairs: Sequence[tuple[str, float]], query_id: str) -> NDArray[np.float64]:
    try:
        numbers = np.array([score for _doc_id, score in pairs], dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([_number(score) for _doc_id, score in pairs])
    for place in np.flatnonzero(np.isnan(numbers)).tolist():
        doc_id, score = pairs[place]
        shown = "NaN" if isinstance(score, float | np.floating) else f"{score!r}, no number"
        raise DataError(f"query {query_id!r}: the score of document {doc_id!r} is {shown}; it has no rank")
    return numbers


def _number(score: object) -> float:
    return float(score) if isinstance(score, int | float | np.number) else np.nan


def top_documents(
    queries: NDArray[np.float32],
    query_ids: Sequence[str],
    documents: NDArray[np.float32],
    doc_ids: Sequence[str],
    k: int,
    *,
    chunk_rows: int = 8192,
    progress: Progress = quiet,
) -> Run:
    """Return each query's k best documents by inner product, by exact search.

    Inner products are summed in float64 and rounded once to float32: what the size of a chunk changes lies some 2**29
    times below that rounding, so that equal documents tie and chunks leave the order alone. Documents are read once,
    in order; beside the arguments, memory is that of one chunk and of Q * k keys of 8 bytes.

    Args:
        queries: (Q, D) finite.
        query_ids: Q different ids.
        documents: (N, D) finite, in memory or memory-mapped.
        doc_ids: N different ids.
        k: Documents a query, at least 1; all N where there are fewer.
        chunk_rows: Documents scored at once, at least 1.
        progress: Told of documents.

    Raises:
        ConfigError: If `k` or `chunk_rows` is below 1.
        ShapeError: If the arrays are not (Q, D) and (N, D), or an id list has another length.
        DataError: If there is no document, an id comes twice, or an embedding is not finite.
    """
    for field, value in (("k", k), ("chunk_rows", chunk_rows)):
        if value < 1:
            raise ConfigError(field, value, "a whole number of at least 1")
    _check_rows("queries", "query", queries, query_ids, queries.shape[-1])
    _check_rows("documents", "document", documents, doc_ids, queries.shape[-1])
    if not len(doc_ids):
        raise DataError("there is no document to rank; the corpus is empty")
    _check_finite("query", queries, query_ids)
    by_id = sorted(range(len(doc_ids)), key=doc_ids.__getitem__)
    id_ranks = np.empty(len(doc_ids), dtype=np.uint64)
    id_ranks[by_id] = np.arange(len(doc_ids), dtype=np.uint64)
    wide = np.asarray(queries, dtype=np.float64)
    best = np.zeros((len(queries), min(k, len(doc_ids))), dtype=np.uint64)  # 0 lies below the key of any number
    with progress("searching exactly", len(doc_ids)) as advance:
        for start in range(0, len(doc_ids), chunk_rows):
            chunk = np.asarray(documents[start : start + chunk_rows])
            _check_finite("document", chunk, doc_ids[start : start + chunk_rows])
            _merge(best, wide, chunk.astype(np.float64), id_ranks[start : start + chunk_rows])
            advance(len(chunk))
    return {query_id: _ranking_of(keys, by_id, doc_ids) for query_id, keys in zip(query_ids, best, strict=True)}


def _check_rows(name: str, kind: str, rows: NDArray[np.float32], ids: Sequence[str], width: int) -> None:
    if rows.ndim != 2 or rows.shape != (len(ids), width):
        raise ShapeError(name, rows.shape, f"({len(ids)}, {width}), one row an id")
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise DataError(f"{kind} {one!r} comes twice; ids must differ")
        seen.add(one)


def _check_finite(kind: str, rows: NDArray[np.float32], ids: Sequence[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(f"{kind} {ids[bad[0]]!r}: its embedding is not finite; encode it again")


def _merge(
    best: NDArray[np.uint64], queries: NDArray[np.float64], documents: NDArray[np.float64], id_ranks: NDArray[np.uint64]
) -> None:
    """Put into `best` (Q, k) the k largest of its keys and of the keys of `documents`, in no order.

    A key is 64 bits: the score's, made sortable, above the place of the id in ascending order. Greater key, better
    place: with one number for the whole order, a cutoff among ties cannot fall otherwise than by id.
    """
    k = best.shape[1]
    for start in range(0, len(queries), _QUERY_ROWS):
        some = slice(start, start + _QUERY_ROWS)
        scores = (queries[some] @ documents.T).astype(np.float32)
        keys = (_sortable(scores).astype(np.uint64) << np.uint64(32)) | id_ranks
        both = np.concatenate([best[some], keys], axis=1)
        best[some] = np.partition(both, both.shape[1] - k, axis=1)[:, -k:]


def _sortable(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return numbers that compare as the scores do: negative ones with all bits turned, others with the sign set."""
    bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _ranking_of(keys: NDArray[np.uint64], by_id: list[int], doc_ids: Sequence[str]) -> Ranking:
    keys = np.sort(keys)[::-1]
    sortable = (keys >> np.uint64(32)).astype(np.uint32)
    scores = np.where(sortable & _SIGN, sortable ^ _SIGN, ~sortable).view(np.float32)
    places = (keys & np.uint64(0xFFFFFFFF)).tolist()
    return [(doc_ids[by_id[place]], score) for place, score in zip(places, scores.tolist(), strict=True)]
