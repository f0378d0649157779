"""Temperatures that move: in a straight line over the run, or learned; a loss takes either, or a number."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn

from textcl.errors import ConfigError

Temperature: TypeAlias = float | nn.Module
"""A divisor of similarities, above 0, or a module that returns it when it is called without arguments."""


class Scheduled(nn.Module):
    """A temperature that goes from `start` to `end` in a straight line.

    Args:
        start: At the run's begin, above 0.
        end: At its end, above 0.

    Attributes:
        progress: Share of the run that is done, in [0, 1]; `set_progress` sets it.
    """

    def __init__(self, start: float, end: float) -> None:
        super().__init__()
        for name, value in (("start", start), ("end", end)):
            if not value > 0:
                raise ConfigError(name, value, "a number above 0")
        self.start, self.end, self.progress = start, end, 0.0

    def forward(self) -> float:
        """Return the temperature of now."""
        return (1 - self.progress) * self.start + self.progress * self.end


class Learned(nn.Module):
    """A temperature that is trained with the rest, as its logarithm.

    Each use first puts the parameter back into its bounds, so that its gradient never vanishes there. Weight decay
    would draw the temperature to 1: keep it off this parameter.

    Args:
        start: In [least, most].
        least: Lower bound, above 0.
        most: Upper bound, at least `least`.

    References:
        Radford et al. (2021), arXiv:2103.00020, section 2.5, with the same lower bound of 0.01.
    """

    def __init__(self, start: float, least: float = 0.01, most: float = 1.0) -> None:
        super().__init__()
        if not least > 0:
            raise ConfigError("least", least, "a number above 0")
        if not most >= least:
            raise ConfigError("most", most, f"a number of at least {least}, as `least` is")
        if not least <= start <= most:
            raise ConfigError("start", start, f"a number in [{least}, {most}]")
        self.least, self.most = least, most
        self.logarithm = nn.Parameter(torch.tensor(math.log(start)))

    def forward(self) -> Tensor:
        """Return the temperature of now, a scalar with gradient."""
        with torch.no_grad():
            self.logarithm.clamp_(math.log(self.least), math.log(self.most))
        return self.logarithm.exp()


def check_temperature(temperature: Temperature) -> Temperature:
    """Return the temperature, or raise ConfigError if it is a number that is not above 0."""
    if not isinstance(temperature, nn.Module) and not temperature > 0:
        raise ConfigError("temperature", temperature, "a number above 0")
    return temperature


def temperature_now(temperature: Temperature) -> float | Tensor:
    """Return the number that a temperature stands for now."""
    if not isinstance(temperature, nn.Module):
        return temperature
    now: float | Tensor = temperature()
    return now


def set_progress(module: nn.Module, progress: float) -> None:
    """Tell every scheduled temperature in `module` which share of the run is done, in [0, 1]."""
    if not 0 <= progress <= 1:
        raise ConfigError("progress", progress, "a share in [0, 1]")
    for part in module.modules():
        if isinstance(part, Scheduled):
            part.progress = progress
