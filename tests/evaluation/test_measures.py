from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ConfigError, DataError
from textcl.evaluation.measures import Measure, depth_of, parse_measure, score_run

DEFINITIONS = {
    "hit_rate": oracles.hit_rate,
    "map": oracles.average_precision,
    "mrr": oracles.mrr,
    "ndcg": oracles.ndcg,
    "precision": oracles.precision,
    "recall": oracles.recall,
}
FORMS = ["map", "mrr", "ndcg", *(f"{name}@{k}" for name in DEFINITIONS for k in (1, 2, 5, 100))]

DOCS = st.sampled_from([f"d{number}" for number in range(12)])
TIED_SCORES = st.sampled_from([0.1, 0.2, 0.2 + 1e-12, 0.3, -0.0, 0.0])
RANKED = st.dictionaries(DOCS, TIED_SCORES, max_size=10).map(lambda scored: list(scored.items()))
JUDGED = st.dictionaries(DOCS, st.integers(0, 3), min_size=1, max_size=8)


@settings(deadline=None)
@given(RANKED, JUDGED)
@example([("d1", 0.2), ("d2", 0.2)], {"d1": 1})
def test_every_measure_equals_its_definition_with_ties_and_lies_in_0_to_1(scored, gains):
    values = score_run({"q": scored}, {"q": gains}, FORMS)
    ranking = oracles.canonical(scored)
    for form in FORMS:
        name, _at, k = form.partition("@")
        expected = DEFINITIONS[name](ranking, gains, *([int(k)] if k else []))
        assert values[form] == {"q": pytest.approx(expected, rel=1e-9, abs=1e-12)}, form
        assert 0 <= values[form]["q"] <= 1


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


def test_a_run_without_any_answer_scores_zero():
    assert score_run({}, {"q": {"a": 1}}, ["ndcg@10", "mrr"]) == {"ndcg@10": {"q": 0.0}, "mrr": {"q": 0.0}}


def test_a_query_judged_with_no_document_counts_zero():
    values = score_run({"q": [("a", 1.0)], "r": [("a", 1.0)]}, {"q": {}, "r": {"a": 1}}, ["ndcg@10", "mrr"])
    assert values == {"ndcg@10": {"q": 0.0, "r": 1.0}, "mrr": {"q": 0.0, "r": 1.0}}


def test_measures_are_read_and_written_alike():
    assert parse_measure("ndcg@10") == Measure("ndcg", 10)
    assert parse_measure("map") == Measure("map", None)
    assert [str(parse_measure(form)) for form in FORMS] == FORMS


@pytest.mark.parametrize("text", ["bleu", "ndcg@0", "ndcg@", "ndcg@-1", "recall", "precision", "hit_rate", "NDCG@10"])
def test_an_unknown_measure_says_what_is_known(text):
    with pytest.raises(ConfigError, match=rf"^measures: expected one of hit_rate@k, map, .*, got '{text}'"):
        parse_measure(text)


def test_the_depth_of_measures_is_the_deepest_cutoff():
    assert depth_of(["ndcg@10", "recall@100"]) == 100
    assert depth_of(["ndcg@10", "map"], whole=500) == 500


def test_no_measure_and_no_judged_query_are_refused():
    with pytest.raises(ConfigError, match="at least one measure"):
        score_run({}, {"q": {"a": 1}}, [])
    with pytest.raises(DataError, match="no judged query"):
        score_run({"q": [("a", 1.0)]}, {}, ["map"])
