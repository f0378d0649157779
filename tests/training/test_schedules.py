from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcl.errors import ConfigError
from textcl.training.schedules import SCHEDULES, learning_rate_at


def rates(steps, warmup_fraction, schedule, peak=1.0):
    return [learning_rate_at(step, steps, peak, warmup_fraction, schedule) for step in range(steps)]


def test_the_warm_up_rises_linearly_to_the_peak():
    assert rates(10, 0.4, "constant", peak=2.0)[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])


def test_linear_decay_falls_by_equal_parts_towards_zero():
    assert rates(7, 0.3, "linear") == pytest.approx([0.5, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_decay_is_half_a_cosine():
    expected = [(1 + math.cos(math.pi * done / 8)) / 2 for done in range(8)]
    assert rates(8, 0.0, "cosine") == pytest.approx(expected)


def test_constant_stays():
    assert rates(5, 0.0, "constant", peak=0.3) == [0.3] * 5


def test_a_run_may_be_all_warm_up():
    assert rates(4, 1.0, "linear") == pytest.approx([0.25, 0.5, 0.75, 1.0])


@given(
    steps=st.integers(1, 200),
    warmup_fraction=st.floats(0, 1),
    schedule=st.sampled_from(SCHEDULES),
    peak=st.floats(1e-8, 10),
)
def test_every_step_learns_and_none_exceeds_the_peak(steps, warmup_fraction, schedule, peak):
    found = rates(steps, warmup_fraction, schedule, peak)
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in found)
    warmup = round(steps * warmup_fraction)
    assert all(earlier <= later for earlier, later in pairwise(found[:warmup]))
    after = found[warmup:]
    assert all(earlier >= later for earlier, later in pairwise(after))


def test_every_setting_matters():
    usual = rates(20, 0.2, "linear")
    assert len({tuple(rates(20, 0.2, schedule)) for schedule in SCHEDULES}) == 3
    assert rates(20, 0.4, "linear") != usual
    assert rates(20, 0.2, "linear", peak=2.0) == pytest.approx([2 * rate for rate in usual])


def test_an_unknown_schedule_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"^schedule: expected one of linear, cosine, constant, got 'step'$"):
        learning_rate_at(0, 10, 1.0, 0.1, "step")
