from __future__ import annotations

import pytest
import torch

from textcl.encoder.machine import fastest, product_speed, safe_precisions, say_speeds

CPU = torch.device("cpu")


def test_a_cpu_is_asked_for_fp32_and_bf16_alone():
    assert safe_precisions(CPU) == ("fp32", "bf16")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_product_has_a_speed_and_keeps_it(precision):
    first = product_speed(32, 64, precision, CPU)
    assert 1e7 < first < 1e15
    assert product_speed(32, 64, precision, CPU) == first


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({"fp32": 100.0, "bf16": 119.0}, "fp32"),
        ({"fp32": 100.0, "bf16": 120.0}, "bf16"),
        ({"fp32": 100.0, "bf16": 14.0}, "fp32"),
        ({"fp32": 100.0, "fp16": 300.0}, "fp16"),
    ],
)
def test_a_lower_precision_must_be_worth_it(speeds, chosen):
    assert fastest(speeds) == chosen


def test_speeds_in_words():
    assert say_speeds({"fp32": 61e9, "bf16": 14e9}) == "fp32 61, bf16 14 GFLOP/s"
    assert say_speeds({"fp32": 40e12, "bf16": 610e12}) == "fp32 40, bf16 610 TFLOP/s"
