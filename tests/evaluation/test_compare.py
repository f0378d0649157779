from __future__ import annotations

import json

import numpy as np
import pytest

from textcl.errors import ConfigError, DataError
from textcl.evaluation.compare import compare_results, compare_runs
from textcl.evaluation.retrieval import evaluate_run

QRELS = {f"q{number}": {"right": 1} for number in range(30)}


def run_with_ranks(ranks):
    return {
        f"q{number}": [("right" if place == rank else f"x{place}", -float(place)) for place in range(1, 5)]
        for number, rank in enumerate(ranks)
    }


BEFORE = run_with_ranks([2] * 30)
AFTER = run_with_ranks([1] * 15 + [4] * 5 + [2] * 10)


def test_wins_losses_ties_and_the_mean_difference_are_counted_by_query():
    found = compare_runs(BEFORE, AFTER, QRELS, ["mrr"], resamples=500).measures["mrr"]
    assert (found.wins, found.losses, found.ties, found.queries) == (15, 5, 10, 30)
    assert found.before == pytest.approx(0.5)
    assert found.after == pytest.approx((15 + 5 / 4 + 10 / 2) / 30)
    assert found.difference == pytest.approx(found.after - found.before)


def test_the_interval_is_of_the_paired_differences():
    found = compare_runs(BEFORE, AFTER, QRELS, ["mrr"], resamples=20_000).measures["mrr"]
    differences = np.array([0.5] * 15 + [-0.25] * 5 + [0.0] * 10)
    draws = np.random.default_rng(0).integers(0, 30, size=(20_000, 30))
    low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_exchanging_the_runs_turns_the_signs():
    there = compare_runs(BEFORE, AFTER, QRELS, ["mrr"], resamples=500).measures["mrr"]
    back = compare_runs(AFTER, BEFORE, QRELS, ["mrr"], resamples=500).measures["mrr"]
    assert (back.wins, back.losses) == (there.losses, there.wins)
    assert (back.difference, back.low, back.high) == pytest.approx((-there.difference, -there.high, -there.low))


def test_a_run_against_itself_differs_by_exactly_nothing():
    found = compare_runs(AFTER, AFTER, QRELS, ["ndcg@10", "map"]).measures
    for difference in found.values():
        assert (difference.difference, difference.low, difference.high) == (0.0, 0.0, 0.0)
        assert (difference.wins, difference.losses, difference.ties) == (0, 0, 30)


def test_a_query_that_one_run_does_not_answer_counts_zero_for_it():
    after = {query_id: ranking for query_id, ranking in BEFORE.items() if query_id != "q0"}
    found = compare_runs(BEFORE, after, QRELS, ["mrr"], resamples=100).measures["mrr"]
    assert (found.losses, found.ties) == (1, 29)
    assert found.difference == pytest.approx(-0.5 / 30)


def test_results_compare_as_their_runs_do():
    before, after = (evaluate_run(run, QRELS, ["mrr", "recall@1"], resamples=100) for run in (BEFORE, AFTER))
    expected = compare_runs(BEFORE, AFTER, QRELS, ["mrr", "recall@1"], seed=3, resamples=300)
    assert compare_results(before, after, seed=3, resamples=300) == expected
    assert compare_results(before, after, seed=4, resamples=300) != expected


def test_results_are_paired_by_query_id_and_not_by_place():
    before = evaluate_run(BEFORE, QRELS, ["mrr"], resamples=100)
    turned = evaluate_run(AFTER, dict(reversed(QRELS.items())), ["mrr"], resamples=100)
    assert compare_results(before, turned).measures["mrr"].wins == 15


def test_results_of_other_queries_or_measures_are_refused():
    before = evaluate_run(BEFORE, QRELS, ["mrr", "map"], resamples=10)
    fewer = evaluate_run(AFTER, {"q0": {"right": 1}}, ["mrr", "map"], resamples=10)
    with pytest.raises(DataError, match="query 'q1' is judged in one of the two results only"):
        compare_results(before, fewer)
    with pytest.raises(ConfigError, match="only the first result has map"):
        compare_results(before, evaluate_run(AFTER, QRELS, ["mrr"], resamples=10))


def test_the_json_has_every_number_by_its_name():
    found = json.loads(json.dumps(compare_runs(BEFORE, BEFORE, QRELS, ["recall@1"]).to_json()))
    assert found == {
        "recall@1": {
            "before": 0.0, "after": 0.0, "difference": 0.0, "low": 0.0, "high": 0.0,
            "queries": 30, "wins": 0, "losses": 0, "ties": 30,
        }
    }  # fmt: skip
