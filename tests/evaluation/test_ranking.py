from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import DataError
from textcl.evaluation.ranking import canonical_ranking, canonical_run

SCORES = st.floats(allow_nan=False, width=32)


@given(st.dictionaries(st.text(max_size=3), st.one_of(SCORES, st.sampled_from([0.0, -0.0, 1.0]))))
def test_the_canonical_order_is_score_then_id_both_descending(scored):
    assert [doc_id for doc_id, _score in canonical_ranking(scored.items(), "q")] == oracles.canonical(scored.items())


RANKED = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.5, 0.25, 0.1, 0.0, -0.0, 1e300])), max_size=4)


@given(st.dictionaries(st.sampled_from("qrst"), RANKED))
@example({"q": [("b", 0.5), ("a", 0.25)], "r": [("a", 0.0)], "s": [("a", -0.0)], "t": [("a", 0.5), ("a", 0.25)]})
def test_rankings_looked_at_together_are_those_looked_at_alone(run):
    try:
        expected = {query_id: canonical_ranking(run[query_id], query_id) for query_id in "qrx" if query_id in run}
    except DataError as error:
        with pytest.raises(DataError, match=f"^{re.escape(str(error))}$"):
            canonical_run(run, "qrx")
        return
    found = canonical_run(run, "qrx")
    assert repr(found) == repr(expected)  # -0.0 is told from 0.0
    assert all(found[query_id] is not run[query_id] for query_id in found)


def test_scores_that_differ_only_beyond_float32_are_tied():
    ranking = canonical_ranking([("a", 1.0 + 1e-12), ("b", 1.0)], "q")
    assert ranking == [("b", 1.0), ("a", 1.0)]


def test_minus_zero_ties_with_zero():
    assert canonical_ranking([("a", 0.0), ("b", -0.0)], "q") == [("b", 0.0), ("a", 0.0)]


def test_a_nan_score_names_its_query_and_document():
    with pytest.raises(DataError, match=r"query 'q': the score of document 'd' is NaN"):
        canonical_ranking([("d", float("nan"))], "q")


def test_a_document_ranked_twice_is_refused():
    with pytest.raises(DataError, match=r"query 'q': document 'd' is ranked twice"):
        canonical_ranking([("d", 1.0), ("d", 0.5)], "q")
