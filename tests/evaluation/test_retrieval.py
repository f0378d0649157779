from __future__ import annotations

import json

import numpy as np
import pytest

from textcl.errors import ConfigError
from textcl.evaluation.retrieval import Interval, evaluate_run, mean_interval


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


def test_the_interval_is_the_percentile_bootstrap_of_the_mean():
    values = np.random.default_rng(0).random(50)
    interval = mean_interval(values, seed=0, resamples=20_000)
    draws = np.random.default_rng(1).integers(0, 50, size=(20_000, 50))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    assert interval.mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == (pytest.approx(low, abs=3e-3), pytest.approx(high, abs=3e-3))


def test_the_interval_covers_the_true_mean_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        interval = mean_interval(rng.random(60), seed=trial, resamples=400)
        covered += interval.low <= 0.5 <= interval.high
    assert 178 <= covered <= 199  # 190 expected, standard deviation 3


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    run, qrels = some_run()
    first, again, other = (evaluate_run(run, qrels, ["mrr"], seed=seed, resamples=500) for seed in (0, 0, 1))
    assert first == again
    assert first.measures["mrr"] != other.measures["mrr"]


def test_resamples_matter():
    values = np.random.default_rng(0).random(30)
    few, many = (mean_interval(values, seed=0, resamples=resamples) for resamples in (50, 5000))
    assert few != many


@pytest.mark.parametrize("values", [[0.1] * 10, [0.3]])
def test_equal_values_have_an_interval_of_no_width(values):
    assert mean_interval(values, seed=0, resamples=100) == Interval(values[0], values[0], values[0], len(values))


def test_no_resamples_are_refused():
    with pytest.raises(ConfigError, match=r"^resamples: .*, got 0"):
        mean_interval([1.0, 2.0], seed=0, resamples=0)


def test_the_json_has_mean_low_high_and_queries():
    result = evaluate_run({"q": [("a", 1.0)]}, {"q": {"a": 1}}, ["ndcg@10"])
    assert json.loads(json.dumps(result.to_json())) == {"ndcg@10": {"mean": 1.0, "low": 1.0, "high": 1.0, "queries": 1}}
