from __future__ import annotations

import math
import re

import numpy as np
import pytest

from textcl.evaluation.bm25 import K1, B, bm25_run

DOCUMENTS = [
    "The cat sat on the mat",
    "A dog and a cat",
    "Dogs bark at night; the dog barks most",
    "",
    "night night cat",
    "nothing in common",
]
IDS = ["c", "b", "a", "f", "e", "d"]


def words_of(text):
    return [word for word in re.findall(r"\w+", text.lower()) if len(word) > 1]


def by_formula(query):
    """Lucene's BM25 in plain loops: score and id of every document that shares a word, best first."""
    parts = [words_of(text) for text in DOCUMENTS]
    mean = sum(map(len, parts)) / len(parts)
    scored = []
    for doc_id, own in zip(IDS, parts, strict=True):
        score = 0.0
        for word in words_of(query):
            having = sum(word in other for other in parts)
            rarity = math.log(1 + (len(parts) - having + 0.5) / (having + 0.5))
            count = own.count(word)
            score += rarity * count / (count + K1 * (1 - B + B * len(own) / mean))
        if score > 0:
            scored.append((score, doc_id))
    return sorted(scored, reverse=True)


@pytest.mark.parametrize("query", ["cat", "dog cat", "the night", "Cat cat, DOG!", "barks most the mat", "unheard of"])
def test_scores_are_those_of_the_formula(query):
    found = bm25_run([query], ["q"], DOCUMENTS, IDS, 10)["q"]
    expected = by_formula(query)
    assert [doc_id for doc_id, _score in found] == [doc_id for _score, doc_id in expected]
    np.testing.assert_allclose([score for _id, score in found], [score for score, _id in expected], rtol=1e-6)


def test_the_k_best_are_returned_and_ties_go_by_id():
    documents = ["same words here"] * 5 + ["other"]
    run = bm25_run(["words", "other words"], ["q", "r"], documents, ["b", "d", "a", "e", "c", "x"], 3)
    assert [doc_id for doc_id, _score in run["q"]] == ["e", "d", "c"]
    assert [doc_id for doc_id, _score in run["r"]] == ["x", "e", "d"]


@pytest.mark.parametrize("documents", [["", "!"], ["a b", "c"]])
def test_documents_and_queries_without_words_find_nothing(documents):
    assert bm25_run(["cat", ""], ["q", "r"], documents, ["x", "y"], 3) == {"q": [], "r": []}
    assert bm25_run([""], ["r"], ["some words"], ["x"], 3) == {"r": []}
