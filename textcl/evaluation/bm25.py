"""BM25: what search by words alone finds, the baseline that an encoder must beat."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s
import numpy as np

from textcl.evaluation.exact import IdOrder
from textcl.evaluation.ranking import Ranking, Run
from textcl.progress import Progress, quiet

K1, B = 0.9, 0.4


def bm25_run(
    queries: Sequence[str],
    query_ids: Sequence[str],
    documents: Sequence[str],
    doc_ids: Sequence[str],
    k: int,
    *,
    progress: Progress = quiet,
) -> Run:
    """Return each query's k best documents by BM25, in the canonical order; those that share no word are left out.

    Words are runs of two and more letters or digits, in lower case; none is left out and none is stemmed, so that no
    language is taken for granted. Of scripts without spaces between words little is found.

    Args:
        queries: Q texts.
        query_ids: Q different ids.
        documents: N texts.
        doc_ids: N different ids.
        k: Documents a query at most, at least 1.
        progress: Told of queries.

    References:
        Robertson and Zaragoza (2009), The probabilistic relevance framework: BM25 and beyond, formula 3.15, with
        Lucene's inverse document frequency, which is never negative; k1 and b as Thakur et al. (2021), BEIR.
    """
    words = bm25s.tokenize(list(documents), stopwords=None, show_progress=False)
    asked = bm25s.tokenize(list(queries), stopwords=None, return_ids=False, show_progress=False)
    run: dict[str, Ranking] = {query_id: [] for query_id in query_ids}
    if not any(len(ids) for ids in words.ids):
        return run
    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    index.index(words, show_progress=False)
    order = IdOrder(doc_ids)
    with progress("searching by words", len(queries)) as advance:
        for query_id, tokens in zip(query_ids, asked, strict=True):
            scores = index.get_scores_from_ids(index.get_tokens_ids(tokens))
            rows = np.flatnonzero(scores > 0)
            keys = order.keys(scores[rows].astype(np.float32), rows)
            run[query_id] = order.ranking(np.partition(keys, len(keys) - k)[-k:] if len(keys) > k else keys)
            advance(1)
    return run
