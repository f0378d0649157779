"""How strong a view is: a number, or a number that moves while training goes on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from textcl.errors import ConfigError
from textcl.randomness import RowRandom


@dataclass(frozen=True)
class Ramp:
    """Goes in a straight line from `start` to `end`, and stays there.

    Args:
        start: Strength at the first step.
        end: Strength from `until` on.
        until: Share of the training after which `end` is reached, in (0, 1].
    """

    start: float
    end: float
    until: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.until <= 1:
            raise ConfigError("until", self.until, "a share of the training in (0, 1]")

    def at(self, progress: float) -> float:
        """Return the strength when the share `progress` of the training is done."""
        return self.start + (self.end - self.start) * min(progress / self.until, 1.0)


Strength: TypeAlias = float | Ramp


def now(strength: Strength, rng: RowRandom) -> float:
    """Return the strength at the moment for which `rng` draws."""
    return strength.at(rng.progress) if isinstance(strength, Ramp) else strength


def ends_of(strength: Strength) -> tuple[float, ...]:
    """Return every value between which a strength moves."""
    return (strength.start, strength.end) if isinstance(strength, Ramp) else (strength,)


def moments_of(*strengths: Strength) -> list[tuple[float, ...]]:
    """Return the values of several strengths together, at each moment where one of them begins, ends or stops moving.

    Between two such moments all move in straight lines.
    """
    moments = {0.0, 1.0, *(one.until for one in strengths if isinstance(one, Ramp))}
    return [tuple(one.at(moment) if isinstance(one, Ramp) else one for one in strengths) for moment in sorted(moments)]


def check_chance(field: str, strength: Strength) -> None:
    """Raise ConfigError unless a chance stays in [0, 1)."""
    if not all(0 <= value < 1 for value in ends_of(strength)):
        raise ConfigError(field, shown(strength), "a chance in [0, 1)")


def check_at_least(field: str, strength: Strength, least: float) -> None:
    """Raise ConfigError unless a strength stays at or above `least`, and finite."""
    if not all(math.isfinite(value) and value >= least for value in ends_of(strength)):
        raise ConfigError(field, shown(strength), f"a number of at least {least:g}")


def shown(strength: Strength) -> float | str:
    """Return a strength as an error shows it."""
    return f"{strength.start} to {strength.end}" if isinstance(strength, Ramp) else strength
