from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from textcl.errors import ConfigError
from textcl.losses import InfoNCE, Learned, Matryoshka, Scheduled, Sigmoid, SimilarityDistillation, set_progress


def test_a_schedule_is_a_straight_line_over_the_run():
    schedule = Scheduled(0.2, 0.05)
    assert schedule() == 0.2
    for progress, expected in ((0.25, 0.1625), (0.5, 0.125), (1.0, 0.05)):
        set_progress(schedule, progress)
        assert schedule() == pytest.approx(expected, rel=1e-12)


def test_progress_reaches_every_schedule_in_a_module():
    schedules = [Scheduled(0.1, 0.2), Scheduled(0.1, 0.2)]
    module = nn.ModuleList([Matryoshka(InfoNCE(schedules[0]), [2]), SimilarityDistillation(schedules[1]), Sigmoid()])
    set_progress(module, 0.3)
    assert [schedule.progress for schedule in schedules] == [0.3, 0.3]


@pytest.mark.parametrize("progress", [-0.1, 1.1, math.nan])
def test_progress_is_a_share(progress):
    with pytest.raises(ConfigError, match=r"^progress: expected a share in \[0, 1\], got "):
        set_progress(Scheduled(0.1, 0.2), progress)


def test_a_learned_temperature_is_one_parameter_that_holds_its_logarithm():
    learned = Learned(0.1)
    assert [name for name, _parameter in learned.named_parameters()] == ["logarithm"]
    assert learned.logarithm.item() == pytest.approx(math.log(0.1))
    now = learned()
    now.backward()
    assert now.item() == pytest.approx(0.1)
    assert learned.logarithm.grad.item() == pytest.approx(0.1)


@pytest.mark.parametrize(("logarithm", "expected"), [(-20.0, 0.02), (5.0, 0.5)])
def test_a_learned_temperature_is_put_back_into_its_bounds_and_does_not_stick(logarithm, expected):
    learned = Learned(0.1, least=0.02, most=0.5)
    with torch.no_grad():
        learned.logarithm.fill_(logarithm)
    now = learned()
    now.backward()
    assert now.item() == pytest.approx(expected)
    assert learned.logarithm.item() == pytest.approx(math.log(expected))
    assert learned.logarithm.grad.item() == pytest.approx(expected)  # a clamp within the graph has none here


def test_a_learned_temperature_may_be_used_twice_before_the_backward_pass():
    learned = Learned(0.1)
    (learned() + learned()).backward()
    assert learned.logarithm.grad.item() == pytest.approx(0.2)


@pytest.mark.parametrize("make", [InfoNCE, Sigmoid, SimilarityDistillation])
def test_a_number_stays_visible_and_a_module_becomes_a_child(make):
    assert make(0.3).temperature == 0.3
    learned = Learned(0.1)
    loss = make(temperature=learned)
    assert loss.temperature is learned
    assert "temperature.logarithm" in loss.state_dict()


@pytest.mark.parametrize("make", [InfoNCE, Sigmoid, SimilarityDistillation])
@pytest.mark.parametrize("temperature", [0, -0.05, math.nan])
def test_a_temperature_that_is_not_above_zero_is_refused(make, temperature):
    with pytest.raises(ConfigError, match=r"^temperature: expected a number above 0, got "):
        make(temperature)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (Scheduled, (0.0, 0.1), r"^start: expected a number above 0, got 0\.0$"),
        (Scheduled, (0.1, -1.0), r"^end: expected a number above 0, got -1\.0$"),
        (Learned, (0.1, 0.0), r"^least: expected a number above 0, got 0\.0$"),
        (Learned, (0.1, 0.2, 0.1), r"^most: expected a number of at least 0\.2, as `least` is, got 0\.1$"),
        (Learned, (0.001,), r"^start: expected a number in \[0\.01, 1\.0\], got 0\.001$"),
        (Learned, (1.5,), r"^start: expected a number in \[0\.01, 1\.0\], got 1\.5$"),
        (Learned, (math.nan,), r"^start: expected a number in \[0\.01, 1\.0\], got nan$"),
    ],
)
def test_settings_out_of_range_are_named(make, arguments, message):
    with pytest.raises(ConfigError, match=message):
        make(*arguments)
