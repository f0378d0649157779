from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textcl.errors import DataError
from textcl.evaluation.exact import top_documents
from textcl.evaluation.retrieval import TieBounds, evaluate_run


def some_run(queries=40):
    """Each query has one relevant document, at rank 1, 2, 3 or nowhere."""
    qrels = {f"q{number}": {"right": 1} for number in range(queries)}
    rankings = [["right", "x", "y"], ["x", "right", "y"], ["x", "y", "right"], ["x", "y", "z"]]
    run = {
        f"q{number}": [(doc_id, 1.0 - 0.1 * place) for place, doc_id in enumerate(rankings[number % 4])]
        for number in range(queries)
    }
    return run, qrels


def test_means_and_counts_are_over_all_judged_queries():
    run, qrels = some_run()
    run["not judged"] = [("right", 1.0)]
    del run["q0"], run["q1"]
    run["q4"] = []
    result = evaluate_run(run, qrels, ["mrr@10", "recall@1"], resamples=200)
    assert result.measures["recall@1"].mean == pytest.approx(8 / 40)
    assert result.measures["mrr@10"].mean == pytest.approx((8 + 9 / 2 + 10 / 3) / 40)
    assert (result.unanswered, result.unjudged, result.measures["mrr@10"].queries) == (3, 1, 40)
    assert "not judged" not in result.run
    assert result.per_query["recall@1"]["q0"] == 0.0


def test_ties_and_judged_shares_are_told():
    qrels = {"q": {"right": 1}, "r": {"right": 1, "x": 0}}
    run = {"q": [("right", 0.5), ("x", 0.5)], "r": [("right", 0.9), ("x", 0.5), ("y", 0.5)]}
    result = evaluate_run(run, qrels, ["mrr", "recall@2", "hit_rate@3"], resamples=10)
    assert result.measures["mrr"].mean == 0.75
    assert result.ties["mrr"] == TieBounds(0.75, 1.0, 0.5)
    assert result.ties["recall@2"] == TieBounds(1.0, 1.0, 0.0)
    assert result.judged_fraction == {2: 1 / 2, 3: pytest.approx((1 / 2 + 2 / 3) / 2)}
    assert json.loads(json.dumps(result.notes_json())) == {
        "unanswered": 0,
        "unjudged": 0,
        "judged_fraction": {"2": 0.5, "3": pytest.approx(7 / 12)},
        "ties": {"mrr": {"low": 0.75, "high": 1.0, "touched_fraction": 0.5}},
    }


def test_a_score_that_is_no_number_names_its_query_and_document():
    with pytest.raises(DataError, match=r"^query 'q': the score of document 'd' is 'high', no number; it has no rank$"):
        evaluate_run({"q": [("c", 0.5), ("d", "high")]}, {"q": {"d": 1}}, ["mrr"])
    with pytest.raises(DataError, match=r"^query 'q': the score of document 'd' is None, no number"):
        evaluate_run({"q": [("d", None)]}, {"q": {"d": 1}}, ["mrr"])


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    run, qrels = some_run()
    first, again, other = (evaluate_run(run, qrels, ["mrr"], seed=seed, resamples=500) for seed in (0, 0, 1))
    assert first == again
    assert first.measures["mrr"] != other.measures["mrr"]


def test_the_json_has_mean_low_high_and_queries():
    result = evaluate_run({"q": [("a", 1.0)]}, {"q": {"a": 1}}, ["ndcg@10"])
    assert json.loads(json.dumps(result.to_json())) == {"ndcg@10": {"mean": 1.0, "low": 1.0, "high": 1.0, "queries": 1}}


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 12),
    measures=st.lists(
        st.sampled_from(["ndcg@3", "mrr@2", "map", "recall@5", "judged@4", "r_precision", "hit_rate@1"]),
        min_size=1,
        unique=True,
    ),
)
def test_a_run_in_arrays_scores_as_its_rankings_do(seed, k, measures):
    rng = np.random.default_rng(seed)
    documents, queries = (rng.integers(-1, 2, size=(rows, 3)).astype(np.float32) for rows in (12, 5))
    doc_ids, query_ids = [f"d{i}" for i in rng.permutation(12)], list("abcde")
    run = top_documents(queries, query_ids, documents, doc_ids, k)
    qrels = {
        one: {f"d{i}": int(rng.integers(-1, 4)) for i in rng.choice(15, size=rng.integers(1, 8), replace=False)}
        for one in ["c", "z", "a", "b"][: rng.integers(1, 5)]
    }
    found, listed = (evaluate_run(one, qrels, measures, resamples=9) for one in (run, dict(run)))
    assert found.to_json() == listed.to_json()
    assert found.per_query == listed.per_query
    assert found.notes_json() == listed.notes_json()
    assert found.run == listed.run == {one: run[one] for one in qrels if one != "z"}
    assert "z" not in found.run
