"""Learning rates as pure functions of the step, so that a resume needs nothing but its number."""

from __future__ import annotations

import math

from textcl.errors import ConfigError

SCHEDULES = ("linear", "cosine", "constant")


def learning_rate_at(step: int, steps: int, peak: float, warmup_fraction: float, schedule: str) -> float:
    """Return the learning rate of optimizer step `step`, counted from 0.

    Args:
        step: 0 … steps - 1.
        steps: All steps of the run.
        peak: Rate at the end of the warm-up.
        warmup_fraction: Share of the steps over which the rate rises linearly to its peak.
        schedule: What follows: linear or cosine decay to 0, or constant.
    """
    if schedule not in SCHEDULES:
        raise ConfigError("schedule", schedule, f"one of {', '.join(SCHEDULES)}")
    warmup = round(steps * warmup_fraction)
    if step < warmup:
        return peak * (step + 1) / warmup
    left = (steps - step) / max(1, steps - warmup)  # 1 at the peak, above 0 at the last step
    if schedule == "constant":
        return peak
    return peak * left if schedule == "linear" else peak * (1 - math.cos(math.pi * left)) / 2
