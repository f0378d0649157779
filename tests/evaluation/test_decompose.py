from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcl.errors import ConfigError, DataError
from textcl.evaluation.compare import compare_runs
from textcl.evaluation.decompose import Decomposition, LossParts, LostPoints, decompose_loss
from textcl.evaluation.intervals import Interval
from textcl.evaluation.retrieval import evaluate_run

QRELS = {"q1": {"a": 1}, "q2": {"a": 1, "b": 1}, "q3": {"c": 1}, "q4": {"d": 1}}


def ranked(**rankings):
    """A run of rankings as strings, a letter a document."""
    return {name: [(doc_id, -float(place)) for place, doc_id in enumerate(docs)] for name, docs in rankings.items()}


# q1: found first, second once coded, and no more when searched. q2: half, all, half. q3: never. q4: asked by no run.
EXACT = ranked(q1="ax", q2="ax", q3="xy")
DECODED = ranked(q1="xa", q2="ab", q3="yx")
TUNED = ranked(q1="xy", q2="xb", q3="")


def decompose(decoded=DECODED, measures=("mrr", "recall@2"), **options):
    return decompose_loss(EXACT, decoded, TUNED, QRELS, measures, resamples=200, **options)


def test_each_query_s_points_are_lost_where_a_hand_finds_them():
    found = decompose().per_query
    assert list(found["mrr"].items()) == [
        ("q1", LostPoints(model=0, quantisation=50, search=50)),
        ("q2", LostPoints(model=0, quantisation=0, search=50)),
        ("q3", LostPoints(model=100, quantisation=0, search=0)),
        ("q4", LostPoints(model=100, quantisation=0, search=0)),
    ]
    assert found["recall@2"] == {
        "q1": LostPoints(model=0, quantisation=0, search=100),
        "q2": LostPoints(model=50, quantisation=-50, search=50),
        "q3": LostPoints(model=100, quantisation=0, search=0),
        "q4": LostPoints(model=100, quantisation=0, search=0),
    }
    assert [lost.total for lost in found["mrr"].values()] == [100, 50, 100, 100]


def test_the_means_are_over_every_judged_query_and_those_that_no_run_has_are_counted():
    found = decompose()
    parts = found.measures["recall@2"]
    assert (parts.model.mean, parts.quantisation.mean, parts.search.mean) == (62.5, -12.5, 37.5)
    assert (parts.total.mean, parts.total.queries) == (87.5, 4)
    assert found.unanswered == 1


def test_the_sentence_says_it_in_words():
    assert decompose().measures["recall@2"].sentence == (
        "of 87.5 points of recall@2 lost, 37.5 are search, -12.5 quantisation, 62.5 the model"
    )


def test_an_index_of_whole_vectors_loses_nothing_to_quantisation_and_says_so():
    found = decompose(None)
    parts = found.measures["mrr"]
    assert parts.sentence == (
        "of 87.5 points of mrr lost, 37.5 are search, none quantisation (the index keeps whole vectors), 50.0 the model"
    )
    assert parts.quantisation == Interval(0.0, 0.0, 0.0, 4)
    assert {lost.quantisation for of in found.per_query.values() for lost in of.values()} == {0.0}
    assert (parts.lossless, decompose().measures["mrr"].lossless) == (True, False)


def test_the_intervals_are_those_of_the_runs_and_of_their_paired_differences():
    parts = decompose_loss(EXACT, DECODED, TUNED, QRELS, ["mrr"], seed=3, resamples=300).measures["mrr"]
    options = {"seed": 3, "resamples": 300}
    exact, tuned = (evaluate_run(run, QRELS, ["mrr"], **options).measures["mrr"] for run in (EXACT, TUNED))
    coded = compare_runs(EXACT, DECODED, QRELS, ["mrr"], **options).measures["mrr"]
    searched = compare_runs(DECODED, TUNED, QRELS, ["mrr"], **options).measures["mrr"]
    assert (parts.model.low, parts.model.high) == pytest.approx((100 - 100 * exact.high, 100 - 100 * exact.low))
    assert (parts.total.low, parts.total.high) == pytest.approx((100 - 100 * tuned.high, 100 - 100 * tuned.low))
    assert (parts.quantisation.low, parts.quantisation.high) == pytest.approx((-100 * coded.high, -100 * coded.low))
    assert (parts.search.low, parts.search.high) == pytest.approx((-100 * searched.high, -100 * searched.low))


RANKINGS = st.lists(st.permutations("abcdef"), min_size=3, max_size=3)
JUDGED = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2), min_size=1)


@given(st.lists(st.tuples(JUDGED, RANKINGS), min_size=1, max_size=6), st.booleans())
def test_parts_are_those_of_plain_loops_and_add_up_exactly(queries, lossless):
    qrels = {f"q{number}": judged for number, (judged, _rankings) in enumerate(queries)}
    runs = [ranked(**{f"q{n}": ranks[one] for n, (_judged, ranks) in enumerate(queries)}) for one in range(3)]
    runs[1] = None if lossless else runs[1]
    measures = ["mrr", "recall@2", "ndcg@3"]
    found = decompose_loss(*runs, qrels, measures, resamples=10)
    runs[1] = runs[0] if lossless else runs[1]
    for measure in measures:
        totals = [0.0, 0.0, 0.0]
        for query_id, judged in qrels.items():
            exact, decoded, tuned = (value(measure, [doc_id for doc_id, _ in run[query_id]], judged) for run in runs)
            lost = found.per_query[measure][query_id]
            assert lost.model == pytest.approx(100 - 100 * exact, abs=1e-9)
            assert lost.quantisation == pytest.approx(100 * exact - 100 * decoded, abs=1e-9)
            assert lost.search == pytest.approx(100 * decoded - 100 * tuned, abs=1e-9)
            assert lost.total == lost.model + lost.quantisation + lost.search
            totals = [sum(two) for two in zip(totals, (lost.model, lost.quantisation, lost.search), strict=True)]
        parts = found.measures[measure]
        means = parts.model.mean, parts.quantisation.mean, parts.search.mean
        assert means == pytest.approx([total / len(qrels) for total in totals], abs=1e-9)
        assert parts.total.mean == means[0] + means[1] + means[2]


def value(measure, ranking, judged):
    """What a ranking of one query is worth, from the definitions."""
    relevant = {doc_id for doc_id, gain in judged.items() if gain >= 1}
    if measure == "mrr":
        return next((1 / rank for rank, doc_id in enumerate(ranking, start=1) if doc_id in relevant), 0.0)
    if measure == "recall@2":
        return len(relevant.intersection(ranking[:2])) / len(relevant) if relevant else 0.0
    gains = [judged.get(doc_id, 0) for doc_id in ranking]
    best = discounted(sorted(judged.values(), reverse=True))
    return discounted(gains) / best if best else 0.0


def discounted(gains):
    return sum(gain / math.log2(place + 1) for place, gain in enumerate(gains[:3], start=1))


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=3), st.booleans())
def test_the_numbers_of_the_sentence_add_up_as_they_are_shown(means, lossless):
    if lossless:
        means[1] = 0.0
    total, *parts = (Interval(mean, 0, 0, 1) for mean in (sum(means), *means))
    sentence = LossParts("map", total, *parts, lossless).sentence
    shown = [float(number) for number in re.findall(r"-?\d+\.\d", sentence)]
    assert "-0.0" not in sentence
    assert round(shown[0], 1) == round(sum(shown[1:]), 1)
    assert shown[0] == pytest.approx(sum(means), abs=0.0501)
    model, quantisation, search = means
    for one, exact in zip(shown[1:], (search, model) if lossless else (search, quantisation, model), strict=True):
        assert one == pytest.approx(exact, abs=0.1001)


def test_queries_without_judgements_count_nothing():
    more = [{**run, "other": run["q1"]} for run in (EXACT, DECODED, TUNED)]
    assert decompose_loss(*more, QRELS, ["mrr", "recall@2"], resamples=200) == decompose()


@pytest.mark.parametrize(("place", "name"), [(1, "decoded"), (2, "tuned")])
def test_runs_of_different_queries_are_refused(place, name):
    runs = [dict(EXACT), dict(DECODED), dict(TUNED)]
    del runs[place]["q2"]
    problem = f"query 'q2' is in the exact run and not in the {name} one (1 such queries); search with the same queries"
    with pytest.raises(DataError, match=f"^{re.escape(problem)}"):
        decompose_loss(*runs, QRELS, ["mrr"])
    runs[place] = {**EXACT, "q9": []}
    with pytest.raises(DataError, match=rf"^query 'q9' is in the {name} run and not in the exact one"):
        decompose_loss(*runs, QRELS, ["mrr"])


def test_qrels_of_other_queries_are_refused():
    with pytest.raises(DataError, match=r"^none of the 1 judged queries is in the runs; are the qrels of the same"):
        decompose_loss(EXACT, DECODED, TUNED, {"other": {"a": 1}}, ["mrr"])
    with pytest.raises(DataError, match="the qrels are empty"):
        decompose_loss(EXACT, DECODED, TUNED, {}, ["mrr"])


@pytest.mark.parametrize("options", [{"measures": []}, {"measures": ["accuracy"]}, {"resamples": 0}])
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"^{next(iter(options))}: "):
        decompose_loss(EXACT, DECODED, TUNED, QRELS, **{"measures": ["mrr"], **options})


def test_the_json_has_every_number_by_its_name():
    nothing = {"mean": 0.0, "low": 0.0, "high": 0.0, "queries": 1}
    run = {"q1": EXACT["q1"]}
    found = decompose_loss(run, None, run, {"q1": {"a": 1}}, ["mrr"])
    assert isinstance(found, Decomposition)
    assert json.loads(json.dumps(found.to_json())) == {
        "mrr": {"total": nothing, "model": nothing, "quantisation": nothing, "search": nothing, "lossless": True}
    }
