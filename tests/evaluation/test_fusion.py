from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ConfigError
from textcl.evaluation.fusion import reciprocal_rank_fusion

RUNS = st.lists(
    st.dictionaries(
        st.sampled_from("qr"), st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.1, 0.2, 0.3]), max_size=6)
    ),
    min_size=1,
    max_size=3,
)


@given(RUNS, st.sampled_from([0.0, 1.0, 60.0]))
def test_the_score_is_the_sum_of_reciprocal_ranks(scored, constant):
    runs = [{query_id: list(of.items()) for query_id, of in run.items()} for run in scored]
    fused = reciprocal_rank_fusion(runs, constant=constant)
    assert set(fused) == {query_id for run in runs for query_id in run}
    for query_id, ranking in fused.items():
        expected = {}
        for run in runs:
            for place, doc_id in enumerate(oracles.canonical(run.get(query_id, []))):
                expected[doc_id] = expected.get(doc_id, 0) + 1 / (constant + place + 1)
        assert dict(ranking) == pytest.approx(expected, rel=1e-6)
        assert [doc_id for doc_id, _score in ranking] == oracles.canonical(ranking)


def test_depth_cuts_and_constant_matters():
    runs = [{"q": [("a", 3.0), ("b", 2.0), ("c", 1.0)]}, {"q": [("c", 3.0), ("b", 2.0)]}]
    assert [doc_id for doc_id, _score in reciprocal_rank_fusion(runs, constant=0)["q"]] == ["c", "b", "a"]
    assert reciprocal_rank_fusion(runs, depth=1)["q"][0][1] == pytest.approx(1 / 61 + 1 / 63)
    assert len(reciprocal_rank_fusion(runs, depth=2)["q"]) == 2


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"runs": []}, "^runs: "), ({"constant": -1}, "^constant: .* got -1"), ({"depth": 0}, "^depth: .* got 0")],
)
def test_wrong_options_are_refused_by_name(options, problem):
    with pytest.raises(ConfigError, match=problem):
        reciprocal_rank_fusion(**{"runs": [{"q": [("a", 1.0)]}], **options})
