"""How fast this machine multiplies matrices in each precision, and which precision that speaks for."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Mapping

import torch

from textcl.encoder.products import linear

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_WORTH_IT = 1.2  # times faster than fp32, below which noise could decide and little would be gained
_LEAST_WIDTH = 256  # narrower products last for so short that their overhead would be measured
_FLOP = {"cpu": 1.3e9, "cuda": 4e10}  # of one product, about: some 1,000 tokens of a small encoder on a CPU
_TOKENS = {"cpu": (256, 2048), "cuda": (4096, 32768)}
_REPEATS = {"cpu": 1, "cuda": 10}  # products a sample; a single one of a GPU is over before the clock is read
_SAMPLES, _ENOUGH_S = 7, 0.12


def safe_precisions(device: torch.device) -> tuple[str, ...]:
    """Return the precisions that training may take without being asked, fp32 first.

    bf16 has the range of fp32, so that nothing overflows in it. fp16 has not, and is for GPUs that lack bf16.
    """
    if device.type == "cpu":
        return "fp32", "bf16"
    return "fp32", "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def product_speed(width: int, inner: int, precision: str, device: torch.device) -> float:
    """Return what `measure_product` found at the first call of this process, so that all its runs have one answer."""
    return _measured_once(width, inner, precision, device.type, torch.get_num_threads())


@functools.cache
def _measured_once(width: int, inner: int, precision: str, device: str, threads: int) -> float:  # noqa: ARG001 (a key)
    return measure_product(width, inner, precision, torch.device(device))


def measure_product(width: int, inner: int, precision: str, device: torch.device) -> float:
    """Return how many floating-point operations a second a product of such matrices does, in the threads in force.

    That is 2 * tokens * width * inner over the median time of a product, behind a first one that is not counted.

    Args:
        width: Hidden size of an encoder; 256 at least is measured.
        inner: Width of the layer between; 4 * 256 at least.
        precision: A name of `PRECISIONS`.
        device: Where.
    """
    width, inner = max(width, _LEAST_WIDTH), max(inner, 4 * _LEAST_WIDTH)
    least, most = _TOKENS[device.type]
    tokens = min(max(int(_FLOP[device.type] / (2 * width * inner)), least), most)
    kind, repeats = PRECISIONS[precision], _REPEATS[device.type]
    rows, weights = (torch.ones(count, width, dtype=kind, device=device) for count in (tokens, inner))
    _seconds(rows, weights, 1)
    times = [_seconds(rows, weights, repeats)]
    while len(times) < _SAMPLES and sum(times) * repeats < _ENOUGH_S:
        times.append(_seconds(rows, weights, repeats))
    return 2 * tokens * width * inner / statistics.median(times)


@torch.no_grad()
def _seconds(rows: torch.Tensor, weights: torch.Tensor, repeats: int) -> float:
    """Return the time of one product, averaged over some."""
    if rows.is_cuda:
        torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(repeats):
        linear(rows, weights)
    if rows.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / repeats


def fastest(speeds: Mapping[str, float]) -> str:
    """Return the fastest of the precisions; a lower one than fp32 only where it is 1.2 times as fast or more."""
    best = max(speeds, key=lambda name: speeds[name])
    return best if speeds[best] >= _WORTH_IT * speeds["fp32"] else "fp32"


def say_speeds(speeds: Mapping[str, float]) -> str:
    """Return the speeds in words, such as `fp32 61, bf16 14 GFLOP/s`."""
    unit, divisor = ("TFLOP/s", 1e12) if max(speeds.values()) >= 1e13 else ("GFLOP/s", 1e9)
    return f"{', '.join(f'{name} {speed / divisor:.3g}' for name, speed in speeds.items())} {unit}"
