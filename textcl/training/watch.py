"""The watch over a run's health: when its state is none to go on from."""

from __future__ import annotations

import math
from collections.abc import Mapping

from accelerate.utils import broadcast_object_list

from textcl.errors import PromiseError
from textcl.methods.method import Method
from textcl.progress import Say
from textcl.training.health import find_faults, message
from textcl.training.probe import Probe
from textcl.training.settings import HealthSettings

PREFIX = "health/"


class Unhealthy(Exception):  # noqa: N818 (no error for a user; it becomes one, or a rollback)
    """Training must not go on from where it is; its text says why, and what to change."""


class Watch:
    """Compares the health of a method's encoder with what it was at the begin.

    Args:
        method: Is looked at.
        settings: None never looks, and never finds anything.
        probe: The pairs that are looked at; needed with settings.
        warn: Told of a collapse where the policy is to go on.

    Attributes:
        begin: The health before the first step, once it is known.
    """

    def __init__(self, method: Method, settings: HealthSettings | None, probe: Probe | None, warn: Say) -> None:
        self.method, self.settings, self.probe, self.warn = method, settings, probe, warn
        self.begin: dict[str, float] | None = None

    @property
    def policy(self) -> str | None:
        """What is to be done about a collapse; None without a watch."""
        return None if self.settings is None else self.settings.policy

    def is_due(self, step: int) -> bool:
        """Whether `step` is one at which to look in any case."""
        return self.settings is not None and step % self.settings.every == 0

    def start(self) -> dict[str, float]:
        """Look at the encoder before the first step; return the values by their names in the journal.

        Raises:
            PromiseError: If it is collapsed already.
        """
        if self.settings is None:
            return {}
        self.begin = self._measure(0)
        if faults := find_faults(self.begin, self.begin, self.settings.limits):
            raise PromiseError(f"training cannot start: {message(0, faults, 'take another encoder or other data')}")
        return _named(self.begin)

    def look(self, step: int) -> dict[str, float]:
        """Return the health after optimizer step `step`, by its names in the journal."""
        return {} if self.settings is None else _named(self._measure(step))

    def look_alone(self, step: int) -> dict[str, float]:
        """Return the same on one process, while the others wait."""
        return {} if self.settings is None or self.probe is None else _named(self.probe(self.method, step))

    def judge(self, step: int, health: Mapping[str, float]) -> None:
        """Warn of a collapse, or raise `Unhealthy`, as the policy has it.

        Args:
            step: When `health` was looked at.
            health: What `look` returned.
        """
        if self.settings is None or self.begin is None:
            return
        faults = find_faults(unnamed(health), self.begin, self.settings.limits)
        if faults:
            said = message(step, faults, self.method.advice)
            if self.settings.policy != "warn":
                raise Unhealthy(said)
            self.warn(said)

    def check_finite(self, step: int, loss: float, *, weights: bool) -> None:
        """Raise `Unhealthy` for a run that diverged, before its weights take the place of good ones."""
        what = None if math.isfinite(loss) else f"the loss is {loss}"
        if what is None and weights and not all(one.isfinite().all() for one in self.method.parameters()):
            what = "a weight is no finite number"
        if what is not None:
            raise Unhealthy(f"{what} at step {step}; {self.method.advice}")

    def _measure(self, step: int) -> dict[str, float]:
        """Return the first process's numbers, so that all processes judge alike."""
        assert self.probe is not None
        found = [self.probe(self.method, step)]
        broadcast_object_list(found)
        return found[0]


def _named(health: Mapping[str, float]) -> dict[str, float]:
    return {f"{PREFIX}{name}": value for name, value in health.items()}


def unnamed(values: Mapping[str, float]) -> dict[str, float]:
    """Return what of a journal's values is health, by its own names."""
    return {name.removeprefix(PREFIX): value for name, value in values.items() if name.startswith(PREFIX)}
