from __future__ import annotations

import numpy as np
import pytest
import pytrec_eval
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ConfigError, DataError
from textcl.evaluation.measures import Measure, depth_of, parse_measure, score_rankings, score_run
from textcl.evaluation.ranking import canonical_ranking
from textcl.evaluation.runs import write_run

DEFINITIONS = {
    "hit_rate": oracles.hit_rate,
    "judged": oracles.judged,
    "map": oracles.average_precision,
    "mrr": oracles.mrr,
    "ndcg": oracles.ndcg,
    "precision": oracles.precision,
    "r_precision": oracles.r_precision,
    "recall": oracles.recall,
}
CUT = sorted(DEFINITIONS.keys() - {"r_precision"})
FORMS = ["map", "mrr", "ndcg", "r_precision", *(f"{name}@{k}" for name in CUT for k in (1, 2, 5, 100))]
# trec_eval's names, and what pytrec_eval calls them in its answer.
IN_TREC_EVAL = {
    "map": "map", "mrr": "recip_rank", "ndcg": "ndcg", "r_precision": "Rprec",
    **{f"{name}@{k}": f"{trec}.{k}" for k in (1, 2, 5, 100)
       for name, trec in (("hit_rate", "success"), ("map", "map_cut"), ("ndcg", "ndcg_cut"),
                          ("precision", "P"), ("recall", "recall"))},
}  # fmt: skip

DOCS = st.sampled_from([f"d{number}" for number in range(12)])
TIED_SCORES = st.sampled_from([0.1, 0.2, 0.2 + 1e-12, 0.3, -0.0, 0.0])
RANKED = st.dictionaries(DOCS, TIED_SCORES, max_size=10).map(lambda scored: list(scored.items()))
JUDGED = st.dictionaries(DOCS, st.integers(0, 3), min_size=1, max_size=8)


QUERIES = st.sampled_from([f"q{number}" for number in range(6)])
RUNS = st.dictionaries(QUERIES, RANKED, max_size=6)
QRELS = st.dictionaries(QUERIES, JUDGED, min_size=1, max_size=6)


def by_definition(form, ranking, gains):
    name, _at, k = form.partition("@")
    return DEFINITIONS[name](ranking, gains, *([int(k)] if k else []))


@settings(deadline=None)
@given(RUNS, QRELS)
@example({"q1": [("d1", 0.2), ("d2", 0.2)]}, {"q1": {"d1": 1}})
@example({"q1": [("d1", 0.2)]}, {"q0": {"d1": 1}, "q1": {"d1": -2, "d2": 0}})
def test_every_measure_equals_its_definition_with_ties_and_missing_queries_and_lies_in_0_to_1(run, qrels):
    values = score_run(run, qrels, FORMS)
    for form in FORMS:
        assert list(values[form]) == list(qrels)
        for query_id, gains in qrels.items():
            ranking = oracles.canonical(run.get(query_id, []))
            expected = by_definition(form, ranking, gains)
            assert values[form][query_id] == pytest.approx(expected, rel=1e-9, abs=1e-9), form
            assert 0 <= values[form][query_id] <= 1


@settings(deadline=None, max_examples=60)
@given(RUNS.filter(lambda run: any(run.values())), QRELS)
def test_every_measure_of_trec_eval_has_its_value_on_the_written_run_file(tmp_path_factory, run, qrels):
    path = tmp_path_factory.mktemp("runs") / "some.trec"
    write_run(path, run)
    with path.open() as file:
        read = pytrec_eval.parse_run(file)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(IN_TREC_EVAL.values())).evaluate(read)
    ours = score_run(run, qrels, list(IN_TREC_EVAL))
    for form, trec in IN_TREC_EVAL.items():
        for query_id in qrels:
            expected = theirs.get(query_id, {}).get(trec.replace(".", "_"), 0.0)
            assert ours[form][query_id] == pytest.approx(expected, rel=1e-9, abs=1e-9), form


def test_long_runs_of_many_queries_equal_the_definitions():
    rng = np.random.default_rng(0)
    qrels, run = {}, {}
    for number in range(1500):  # more than are computed at once
        judged = rng.choice(300, size=int(rng.integers(1, 30)), replace=False).tolist()
        qrels[f"q{number}"] = {f"d{one}": int(rng.integers(0, 4)) for one in judged}
        if number % 50:
            docs = rng.permutation(300)[: int(rng.integers(1, 150))].tolist()
            run[f"q{number}"] = [(f"d{one}", float(rng.integers(0, 40))) for one in docs]
    forms = ["ndcg@10", "ndcg", "map@100", "mrr", "r_precision", "recall@100"]
    values = score_run(run, qrels, forms)
    for query_id in list(qrels)[::37]:
        ranking = oracles.canonical(run.get(query_id, []))
        for form in forms:
            expected = by_definition(form, ranking, qrels[query_id])
            assert values[form][query_id] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(DOCS, st.sampled_from([0.1, 0.2, 0.3]), max_size=7), JUDGED)
@example({f"d{number}": 0.1 for number in range(6)}, {"d0": 2, "d1": -1, "d2": 0, "d3": 1})
def test_the_bounds_are_the_worst_and_the_best_over_all_orders_of_ties(scored, gains):
    scores = score_rankings({"q": canonical_ranking(scored.items(), "q")}, {"q": gains}, FORMS)
    orders = oracles.orders_of_ties(scored.items())
    for form in FORMS:
        values = [by_definition(form, order, gains) for order in orders]
        assert scores.worst[form][0] == pytest.approx(min(values), abs=1e-9), form
        assert scores.best[form][0] == pytest.approx(max(values), abs=1e-9), form


def test_ties_across_a_cutoff_are_seen():
    ranking = canonical_ranking([("d3", 0.9), ("d2", 0.5), ("d1", 0.5), ("d0", 0.5)], "q")
    scores = score_rankings({"q": ranking}, {"q": {"d0": 1}}, ["recall@2", "mrr@1"])
    assert (scores.worst["recall@2"], scores.values["recall@2"], scores.best["recall@2"]) == (0, 0, 1)
    assert (scores.worst["mrr@1"], scores.best["mrr@1"]) == (0, 0)


@settings(deadline=None)
@given(JUDGED.filter(lambda gains: max(gains.values()) > 0))
def test_the_ideal_ranking_scores_one(gains):
    ideal = sorted(gains, key=gains.__getitem__, reverse=True)
    scored = [(doc_id, float(-place)) for place, doc_id in enumerate(ideal)]
    forms = ["ndcg", "ndcg@3", "mrr", "mrr@1", "map", "map@100", "hit_rate@1", "recall@100", "precision@1"]
    values = score_run({"q": scored}, {"q": gains}, forms)
    assert values == {form: {"q": pytest.approx(1.0)} for form in forms}


def test_graded_gains_count_linearly():
    values = score_run({"q": [("a", 2.0), ("b", 1.0)]}, {"q": {"a": 1, "b": 3}}, ["ndcg@2"])
    assert values["ndcg@2"]["q"] == pytest.approx((1 + 3 / 1.5849625007) / (3 + 1 / 1.5849625007))


def test_every_judged_query_counts_and_no_other():
    qrels = {"answered": {"a": 1}, "unanswered": {"a": 1}, "empty": {"a": 1}, "all zero": {"a": 0}}
    run = {"answered": [("a", 1.0)], "empty": [], "all zero": [("a", 1.0)], "not judged": [("a", 1.0)]}
    expected = {"answered": 1.0, "unanswered": 0.0, "empty": 0.0, "all zero": 0.0}
    forms = ["ndcg@10", "map", "mrr@10", "recall@10", "hit_rate@1"]
    assert score_run(run, qrels, forms) == {form: expected for form in forms}


def test_a_measure_asked_for_twice_is_there_once():
    assert score_run({"q": [("a", 1.0)]}, {"q": {"a": 1}}, ["mrr", "mrr"]) == {"mrr": {"q": 1.0}}


def test_a_run_without_any_answer_scores_zero():
    assert score_run({}, {"q": {"a": 1}}, ["ndcg@10", "mrr"]) == {"ndcg@10": {"q": 0.0}, "mrr": {"q": 0.0}}


def test_a_query_judged_with_no_document_counts_zero():
    values = score_run({"q": [("a", 1.0)], "r": [("a", 1.0)]}, {"q": {}, "r": {"a": 1}}, ["ndcg@10", "mrr"])
    assert values == {"ndcg@10": {"q": 0.0, "r": 1.0}, "mrr": {"q": 0.0, "r": 1.0}}


def test_measures_are_read_and_written_alike():
    assert parse_measure("ndcg@10") == Measure("ndcg", 10)
    assert parse_measure("map") == Measure("map", None)
    assert [str(parse_measure(form)) for form in FORMS] == FORMS


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("ndgc@10", "ndcg@10"),
        ("NDCG@10", "ndcg@10"),
        ("ndcg_cut_5", "ndcg@5"),
        ("ndcg@0", "ndcg"),
        ("recall", "recall@10"),
        ("recal@100", "recall@100"),
        ("P@5", "precision@5"),
        ("precision", "precision@10"),
        ("success@3", "hit_rate@3"),
        ("hit rate@3", "hit_rate@3"),
        ("r-precision", "r_precision"),
        ("r_precision@10", "r_precision"),
        ("recip_rank", "mrr"),
    ],
)
def test_a_measure_that_does_not_exist_names_the_nearest_and_all(text, nearest):
    with pytest.raises(ConfigError) as caught:
        parse_measure(text)
    said = str(caught.value)
    assert said.startswith(f"measures: {text!r} is no measure; did you mean {nearest}? there are: hit_rate@k, judged@k")
    assert str(parse_measure(nearest)) == nearest


@pytest.mark.parametrize("text", ["zzz", "@10", "", "10"])
def test_a_measure_that_is_near_none_names_all(text):
    with pytest.raises(ConfigError, match=rf"^measures: '{text}' is no measure; there are: hit_rate@k, .*"):
        parse_measure(text)


def test_the_depth_of_measures_is_the_deepest_cutoff():
    assert depth_of(["ndcg@10", "recall@100"]) == 100
    assert depth_of(["ndcg@10", "map"], whole=500) == 500


def test_no_measure_and_no_judged_query_are_refused():
    with pytest.raises(ConfigError, match="at least one measure"):
        score_run({}, {"q": {"a": 1}}, [])
    with pytest.raises(DataError, match="no judged query"):
        score_run({"q": [("a", 1.0)]}, {}, ["map"])
