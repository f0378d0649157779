"""Exact search: each query's best documents by inner product, in the canonical order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation.ranking import Ranking, SearchRun
from textcl.progress import Progress, quiet

_QUERY_ROWS = 256  # queries scored at once: with the default chunk 8 MB of scores, or 20 MB of keys
_AGAIN_ROWS = 16  # queries whose candidates are scored again at once
_SPARE = 64  # candidates kept beside the k, so that rounding cannot push one of the k out
_SIGN = np.uint32(0x80000000)


class IdOrder:
    """The places of document ids in ascending order, for keys that hold a score and an id.

    A key is 64 bits: the score's, made sortable, above the place of the id. Greater key, better place: with one number
    for the whole order, a cutoff among ties cannot fall otherwise than by id. No number's key is 0.

    Args:
        doc_ids: N different ids.
    """

    def __init__(self, doc_ids: Sequence[str]) -> None:
        self.doc_ids = doc_ids
        self._by_id = np.array(sorted(range(len(doc_ids)), key=doc_ids.__getitem__), dtype=np.int64)
        self.places = np.empty(len(doc_ids), dtype=np.uint64)
        self.places[self._by_id] = np.arange(len(doc_ids), dtype=np.uint64)

    def keys(self, scores: NDArray[np.float32], rows: NDArray[np.int64] | slice) -> NDArray[np.uint64]:
        """Return the keys of scores (..., n) of the documents at `rows`, which broadcast."""
        bits = (scores + np.float32(0)).view(np.uint32)  # adding 0 makes -0.0 equal to 0.0
        sortable = np.where(bits & _SIGN, ~bits, bits | _SIGN)  # compares as the scores do
        found: NDArray[np.uint64] = (sortable.astype(np.uint64) << np.uint64(32)) | self.places[rows]
        return found

    def ranking(self, keys: NDArray[np.uint64]) -> Ranking:
        """Return the documents and scores of keys in the canonical order."""
        keys = np.sort(keys)[::-1]
        rows, scores = self.rows(keys).tolist(), _scores(keys).tolist()
        return [(self.doc_ids[row], score) for row, score in zip(rows, scores, strict=True)]

    def rows(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the rows of the documents that keys are of."""
        return self._by_id[(keys & np.uint64(0xFFFFFFFF)).astype(np.int64)]


def _scores(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    sortable = (keys >> np.uint64(32)).astype(np.uint32)
    return np.where(sortable & _SIGN, sortable ^ _SIGN, ~sortable).view(np.float32)


def top_documents(
    queries: NDArray[np.float32],
    query_ids: Sequence[str],
    documents: NDArray[np.float32],
    doc_ids: Sequence[str],
    k: int,
    *,
    chunk_rows: int = 8192,
    progress: Progress = quiet,
) -> SearchRun:
    """Return each query's k best documents by inner product, by exact search.

    Inner products are summed in float64 and rounded once to float32: what the size of a chunk changes lies some 2**29
    times below that rounding, so that equal documents tie and chunks leave the order alone. Which documents are worth
    it is found in float32: those that its rounding cannot keep out of the k best (Higham 2002, Accuracy and stability
    of numerical algorithms, equation 3.5). Documents are read in order, the best of them a second time; where more of
    them tie than are kept, all are. Beside the arguments, memory is that of one chunk and of Q * (k + 64) candidates,
    and a dictionary of the ids, which the run keeps.

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
    row_of = _check_rows("documents", "document", documents, doc_ids, queries.shape[-1])
    if not len(doc_ids):
        raise DataError("there is no document to rank; the corpus is empty")
    _check_finite("query", queries, query_ids)
    corpus = _Corpus(documents, IdOrder(doc_ids), chunk_rows)
    with progress("searching exactly", len(doc_ids)) as advance:
        if k + _SPARE < len(doc_ids):
            best, is_proven = _by_candidates(queries, corpus, k, advance)
            if not is_proven.all():
                best[~is_proven] = _by_all(queries[~is_proven], corpus, k, lambda _rows: None)
        else:
            best = _by_all(queries, corpus, k, advance)
    keys = np.sort(best, axis=1)[:, ::-1]
    return SearchRun(query_ids, doc_ids, row_of, corpus.order.rows(keys), _scores(keys))


@dataclass(frozen=True)
class _Corpus:
    """(N, D) documents, their ids, and how many are scored at once."""

    documents: NDArray[np.float32]
    order: IdOrder
    chunk_rows: int

    def chunks(self) -> list[slice]:
        return [slice(at, at + self.chunk_rows) for at in range(0, len(self.documents), self.chunk_rows)]

    def at(self, rows: slice) -> NDArray[np.float32]:
        chunk = np.asarray(self.documents[rows])
        _check_finite("document", chunk, self.order.doc_ids[rows])
        return chunk


def _check_rows(name: str, kind: str, rows: NDArray[np.float32], ids: Sequence[str], width: int) -> dict[str, int]:
    """Return the row of each id."""
    if rows.ndim != 2 or rows.shape != (len(ids), width):
        raise ShapeError(name, rows.shape, f"({len(ids)}, {width}), one row an id")
    row_of = {one: row for row, one in enumerate(ids)}
    if len(row_of) < len(ids):
        twice = next(one for row, one in enumerate(ids) if row_of[one] != row)
        raise DataError(f"{kind} {twice!r} comes twice; ids must differ")
    return row_of


def _check_finite(kind: str, rows: NDArray[np.float32], ids: Sequence[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(f"{kind} {ids[bad[0]]!r}: its embedding is not finite; encode it again")


def _by_all(
    queries: NDArray[np.float32], corpus: _Corpus, k: int, advance: Callable[[int], None]
) -> NDArray[np.uint64]:
    """Return the (Q, k) largest keys, in no order, each of all documents scored in float64."""
    wide = queries.astype(np.float64)
    best = np.zeros((len(queries), min(k, len(corpus.documents))), dtype=np.uint64)
    for rows in corpus.chunks():
        chunk = corpus.at(rows).astype(np.float64)
        for start in range(0, len(queries), _QUERY_ROWS):
            some = slice(start, start + _QUERY_ROWS)
            keys = corpus.order.keys(_narrow(wide[some] @ chunk.T), rows)
            best[some] = _largest(np.concatenate([best[some], keys], axis=1), best.shape[1])
        advance(len(chunk))
    return best


def _narrow(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # beyond float32 is infinite, as in trec_eval
        return scores.astype(np.float32)


def _largest(keys: NDArray[np.uint64], k: int) -> NDArray[np.uint64]:
    return np.partition(keys, keys.shape[1] - k, axis=1)[:, -k:]


def _by_candidates(
    queries: NDArray[np.float32], corpus: _Corpus, k: int, advance: Callable[[int], None]
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return (Q, k) keys, and for which queries (Q,) it is proven that these are the largest."""
    rows, least, longest = _candidates(queries, corpus, k + _SPARE, advance)
    best = np.empty((len(queries), k), dtype=np.uint64)
    for start in range(0, len(queries), _AGAIN_ROWS):
        some = slice(start, start + _AGAIN_ROWS)
        again = np.asarray(corpus.documents[rows[some].ravel()]).reshape(*rows[some].shape, -1).astype(np.float64)
        scores = np.matmul(again, queries[some].astype(np.float64)[:, :, None])[:, :, 0]
        best[some] = _largest(corpus.order.keys(_narrow(scores), rows[some]), k)
    limits = np.finfo(np.float32)
    width, product = queries.shape[1], np.linalg.norm(queries.astype(np.float64), axis=1) * longest
    terms = width * float(limits.eps) / 2
    error = terms / (1 - terms) * product + width * float(limits.tiny)  # the second where products are flushed to 0
    with np.errstate(invalid="ignore"):  # where products overflow, nothing is proven
        is_proven = (product < limits.max / 2) & (_narrow(least + error) < _scores(best).min(axis=1))
    return best, is_proven


def _candidates(
    queries: NDArray[np.float32], corpus: _Corpus, count: int, advance: Callable[[int], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """Return the rows (Q, count) of the best documents by float32 scores, the least of these (Q,), the longest length.

    No other document has a float32 score above the least one.
    """
    best = np.full((len(queries), count), -np.inf, dtype=np.float32)
    rows = np.zeros((len(queries), count), dtype=np.int64)
    longest = 0.0
    for part in corpus.chunks():
        chunk = corpus.at(part)
        longest = max(longest, float(np.linalg.norm(chunk.astype(np.float64), axis=1).max()))
        for start in range(0, len(queries), _QUERY_ROWS):
            with np.errstate(over="ignore", invalid="ignore"):
                scores = queries[start : start + _QUERY_ROWS] @ chunk.T
            least = best[start : start + _QUERY_ROWS].min(axis=1)
            for query, own in enumerate(scores, start):
                new = np.flatnonzero(own > least[query - start])
                if len(new):
                    both = np.concatenate([best[query], own[new]])
                    kept = np.argpartition(both, len(new))[len(new) :]
                    best[query] = both[kept]
                    rows[query] = np.concatenate([rows[query], new + part.start])[kept]
        advance(len(chunk))
    return rows, best.min(axis=1).astype(np.float64), longest
