from __future__ import annotations

import json

import numpy as np
import pytest

from tests import oracles
from textcl.errors import ConfigError, DataError
from textcl.evaluation.compare import QueryChange, compare_results, compare_runs, compare_systems, correct
from textcl.evaluation.retrieval import evaluate_run
from textcl.evaluation.significance import detectable_difference, permutation_p

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
            "queries": 30, "wins": 0, "losses": 0, "ties": 30, "p": 1.0, "adjusted_p": 1.0, "detectable": 0.0,
        }
    }  # fmt: skip


def test_p_values_are_those_of_the_paired_test_and_corrected_for_all_measures():
    found = compare_runs(BEFORE, AFTER, QRELS, ["mrr", "recall@1", "recall@4"]).measures
    changes = {"mrr": [0.5] * 15 + [-0.25] * 5 + [0] * 10, "recall@1": [1.0] * 15 + [0.0] * 15, "recall@4": [0.0] * 30}
    expected = permutation_p(np.array(list(changes.values())).T)
    assert [one.p for one in found.values()] == expected.tolist()
    assert [one.adjusted_p for one in found.values()] == pytest.approx(oracles.holm(expected))
    assert found["recall@1"].p < 0.001 < found["recall@4"].p == 1
    assert found["mrr"].detectable == detectable_difference(np.array(changes["mrr"]))


def test_worse_is_below_by_more_than_chance():
    names = ["mrr", "recall@1"]
    assert compare_runs(AFTER, BEFORE, QRELS, names).worse() == names
    assert compare_runs(BEFORE, AFTER, QRELS, names).worse() == []
    one_less = run_with_ranks([3] + [2] * 29)
    assert compare_runs(BEFORE, one_less, QRELS, names).worse() == []


def test_the_queries_that_gained_and_lost_most_are_named():
    after = run_with_ranks([1, 4, 3, 2, 1, 4, 1, 1, 1, 1, 1] + [2] * 19)
    found = compare_runs(BEFORE, after, QRELS, ["mrr"], resamples=50)
    assert [one.query_id for one in found.gained["mrr"]] == ["q0", "q4", "q6", "q7", "q8"]
    assert found.lost["mrr"] == [
        QueryChange("q1", 0.5, 0.25), QueryChange("q5", 0.5, 0.25), QueryChange("q2", 0.5, pytest.approx(1 / 3)),
    ]  # fmt: skip
    assert json.loads(json.dumps(found.details_json()))["lost"]["mrr"][0] == {
        "query_id": "q1", "before": 0.5, "after": 0.25,
    }  # fmt: skip


def test_runs_of_several_seeds_count_with_their_mean_and_tell_the_spread():
    seeds = [run_with_ranks([1] * 20 + [2] * 10), run_with_ranks([1] * 10 + [2] * 20)]
    found = compare_systems([BEFORE], seeds, QRELS, ["mrr"], resamples=300)
    row, spread = found.measures["mrr"], found.seeds["mrr"]
    assert (row.wins, row.ties) == (20, 10)
    assert row.after == pytest.approx((10 * 1 + 10 * 0.75 + 10 * 0.5) / 30)
    assert spread.after.values == pytest.approx((25 / 30, 20 / 30))
    assert (spread.before.count, spread.after.count) == (1, 2)
    assert spread.low < row.difference < spread.high
    assert compare_runs(BEFORE, AFTER, QRELS, ["mrr"], resamples=50).seeds == {}
    with pytest.raises(ConfigError, match=r"^after: expected at least one run"):
        compare_systems([BEFORE], [], QRELS, ["mrr"])


def test_several_collections_are_corrected_together():
    pairs = {"a": compare_runs(BEFORE, AFTER, QRELS, ["mrr"]), "b": compare_runs(BEFORE, AFTER, QRELS, ["recall@1"])}
    found = correct(pairs)
    p_values = [pairs["a"].measures["mrr"].p, pairs["b"].measures["recall@1"].p]
    adjusted = [found["a"].measures["mrr"].adjusted_p, found["b"].measures["recall@1"].adjusted_p]
    assert adjusted == pytest.approx(oracles.holm(p_values))
    assert adjusted != p_values
