from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.views.checks import rng_for
from textcl.errors import ConfigError
from textcl.views import Ramp
from textcl.views.strength import check_at_least, check_chance, ends_of, now, shown

STRENGTHS = st.floats(-100, 100)
SHARES = st.floats(0, 1)


@given(STRENGTHS, STRENGTHS, st.floats(0.01, 1))
def test_a_ramp_starts_at_its_start_and_stays_at_its_end(start, end, until):
    ramp = Ramp(start, end, until)
    assert ramp.at(0.0) == start
    for progress in (until, (until + 1) / 2, 1.0):
        assert ramp.at(progress) == pytest.approx(end, abs=1e-12)


@given(STRENGTHS, STRENGTHS, st.floats(0.01, 1), SHARES)
def test_a_ramp_goes_in_a_straight_line(start, end, until, share):
    assert Ramp(start, end, until).at(share * until) == pytest.approx((1 - share) * start + share * end, abs=1e-9)


@given(STRENGTHS, STRENGTHS, st.floats(0.01, 1), SHARES, SHARES)
def test_a_ramp_never_turns_back(start, end, until, one, other):
    ramp = Ramp(start, end, until)
    earlier, later = ramp.at(min(one, other)), ramp.at(max(one, other))
    assert (later - earlier) * (end - start) >= 0


def test_every_part_of_a_ramp_matters():
    assert len({ramp.at(0.25) for ramp in (Ramp(0, 1), Ramp(0.5, 1), Ramp(0, 0.5), Ramp(0, 1, 0.5))}) == 4


@pytest.mark.parametrize("until", [0, -0.5, 1.01, math.nan])
def test_a_ramp_that_ends_outside_of_the_training_is_refused(until):
    with pytest.raises(ConfigError, match=rf"^until: expected a share of the training in \(0, 1\], got {until}$"):
        Ramp(0.1, 0.2, until)


def test_the_strength_of_the_moment_is_the_number_or_the_place_on_the_ramp():
    assert now(0.3, rng_for(1, progress=0.5)) == 0.3
    assert now(Ramp(0.0, 0.5), rng_for(1)) == 0.0
    assert now(Ramp(0.0, 0.5), rng_for(1, progress=0.5)) == 0.25


def test_a_strength_has_one_or_two_ends_and_is_shown_with_them():
    assert ends_of(0.3) == (0.3,)
    assert ends_of(Ramp(0.5, 0.1, 0.2)) == (0.5, 0.1)
    assert shown(0.3) == 0.3
    assert shown(Ramp(0.5, 0.1, 0.2)) == "0.5 to 0.1"


@pytest.mark.parametrize("chance", [0, 0.0, 0.999, Ramp(0, 0.999), Ramp(0.999, 0)])
def test_a_chance_below_one_passes(chance):
    check_chance("rate", chance)


@pytest.mark.parametrize(
    ("chance", "got"),
    [
        (1, "1"),
        (-1e-9, "-1e-09"),
        (math.nan, "nan"),
        (Ramp(1, 0), "'1 to 0'"),
        (Ramp(0, -0.1), "'0 to -0.1'"),
        (Ramp(0, math.nan), "'0 to nan'"),
    ],
)
def test_a_chance_that_leaves_its_range_at_either_end_is_refused(chance, got):
    with pytest.raises(ConfigError, match=rf"^rate: expected a chance in \[0, 1\), got {got}$"):
        check_chance("rate", chance)


@pytest.mark.parametrize("strength", [1, 1.0, 1e300, Ramp(1, 5), Ramp(5, 1)])
def test_a_strength_at_or_above_the_least_passes(strength):
    check_at_least("mean_span", strength, 1)


@pytest.mark.parametrize(
    ("strength", "got"),
    [
        (0.99, "0.99"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (Ramp(0, 5), "'0 to 5'"),
        (Ramp(5, 0), "'5 to 0'"),
        (Ramp(5, math.inf), "'5 to inf'"),
    ],
)
def test_a_strength_below_the_least_at_either_end_is_refused(strength, got):
    with pytest.raises(ConfigError, match=rf"^mean_span: expected a number of at least 1, got {got}$"):
        check_at_least("mean_span", strength, 1)
