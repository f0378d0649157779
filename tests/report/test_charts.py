"""Charts say what the numbers say, and nothing that a user wrote is taken for markup."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists

from tests.report.facts import HOSTILE, full_run
from textcl.report import charts
from textcl.report.contents import RunFacts, Similarities
from textcl.report.index_charts import decompositions
from textcl.report.maps import NONE, OTHERS, hover, maps
from textcl.report.sections import sections

COSINES = lists(floats(-1, 1), min_size=1, max_size=8)


@given(positives=COSINES, negatives=COSINES)
def test_nearer_counts_pairs(positives, negatives):
    wins = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one in positives for other in negatives)
    expected = wins / (len(positives) * len(negatives))
    assert charts.nearer(np.array(positives), np.array(negatives)) == pytest.approx(expected)


@given(count=integers(1, 5000), most=integers(2, 500))
def test_thinned_places_hold_both_ends_and_are_no_more_than_asked(count, most):
    kept = charts.thin(count, most).tolist()
    assert kept[0] == 0
    assert kept[-1] == count - 1
    assert len(kept) == len(set(kept)) == min(count, most)
    assert kept == sorted(kept)


@pytest.mark.parametrize("runs", [[full_run()], [full_run(), full_run("other", 0.02)]])
def test_every_figure_is_one_that_plotly_accepts(runs):
    shown = [chart for section in sections(runs) for chart in section.charts]
    assert len({chart.key for chart in shown}) == len(shown) >= 15
    colours = {f"${number}" for number in range(charts.COLOURS)} | {"$muted", "$paper"}
    for chart in shown:
        go.Figure([painted(trace, colours) for trace in chart.traces], painted(chart.layout, colours))


def painted(value, colours):
    if isinstance(value, dict):
        return {key: painted(one, colours) for key, one in value.items()}
    return "#123456" if isinstance(value, str) and value in colours else value


def test_nothing_that_a_user_wrote_reaches_a_chart_as_markup():
    shown = [chart for section in sections([full_run(), full_run(f"two {HOSTILE}")]) for chart in section.charts]
    texts = [text for chart in shown for text in strings([chart.traces, chart.layout])]
    assert any("&lt;script&gt;" in text for text in texts)
    for text in texts:
        bare = text.replace("<br>", "").replace("<b>d", "").replace("</b>", "").replace("<extra></extra>", "")
        assert "<" not in bare, text


def strings(value):
    if isinstance(value, dict):
        return [text for one in value.values() for text in strings(one)]
    if isinstance(value, list | tuple):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


def test_the_change_is_drawn_in_points_with_its_interval():
    (trace,) = charts.changes([full_run()]).traces
    assert trace["x"] == pytest.approx([10, 10])
    assert trace["error_x"]["array"] == trace["error_x"]["arrayminus"] == pytest.approx([2, 2])
    assert trace["y"] == ["ndcg@10", "mrr@10"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2, "2"),
        (0.34567, "0.3457"),
        (-3.25, "−3.25"),  # noqa: RUF001
        (5e-5, "0.00005"),
        (12345.6, "12,346"),
        (0.0, "0"),
        (math.nan, charts.NOTHING),
    ],
)
def test_numbers_are_written_in_few_digits(value, shown):
    assert charts.number(value) == shown


def test_a_curve_with_a_gap_has_no_number_there():
    run = RunFacts("run", "run", curves={"loss": ([1, 2, 3], [2.0, math.nan, 1.0])})
    chart = charts.curves([run], "loss", "Loss", "Of the batch.", "loss")
    assert chart.traces[0]["y"] == [2.0, None, 1.0]
    assert chart.caption == "Of the batch. 2 at first, 1 at last."
    assert charts.curves([run], "rank", "Rank", "", "rank") is None


def test_shares_of_cosines_add_up_to_one():
    run = RunFacts("run", "run", similarities={"after": Similarities(np.array([1.0, 0.5]), np.array([-1.0, 0.0, 1.0]))})
    chart = charts.similarities(run, "similarities")
    assert [sum(trace["y"]) for trace in chart.traces] == pytest.approx([1, 1], abs=1e-4)
    assert "75.0 % with the trained model" in chart.caption


def test_what_the_index_keeps_and_loses_adds_up_to_all_points():
    chart = decompositions([full_run()])
    assert [trace["x"][0] for trace in chart.traces] == pytest.approx([62, 2, 1, 35])


def test_the_map_colours_frequent_values_and_leaves_the_rest_grey():
    run = full_run()
    before, after = maps(run, "map")
    assert [len(trace["x"]) for trace in before.traces] == [10, 10, 10]
    assert before.traces[0]["name"] == NONE
    assert before.traces[0]["marker"]["color"] == "$muted"
    assert after.key == "map-after"
    many = [f"value {number // 2:02d}" for number in range(30)]
    crowded = RunFacts("run", "run", corpus_map=replace(run.corpus_map, values=many))
    names = [trace["name"] for trace in maps(crowded, "map")[0].traces]
    assert len(names) == charts.COLOURS
    assert names[0] == OTHERS


def test_a_hover_text_is_short_and_escaped():
    text = hover("<d>", "word " * 100, None)
    assert text.startswith("<b>&lt;d&gt;</b><br>word word")
    assert text.endswith("…")
    assert all(len(line) <= 48 for line in text.split("<br>")[1:])
