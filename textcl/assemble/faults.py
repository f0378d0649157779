"""Faults of several components, collected so that a user reads all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from textcl.errors import ConfigError, ConfigErrors, raise_all


class Faults:
    """Collects the ConfigErrors of several components, so that all are reported together."""

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []

    @contextmanager
    def of(self, section: str) -> Iterator[None]:
        """Keep a ConfigError raised in the block, with `section.` before its field."""
        try:
            yield
        except ConfigErrors as several:
            self.errors += several.within(section).errors
        except ConfigError as error:
            self.errors.append(error.within(section))

    def report(self) -> None:
        """Raise what was collected."""
        raise_all(self.errors)


@contextmanager
def within(section: str) -> Iterator[None]:
    """Put `section.` before the field of a ConfigError raised in the block."""
    try:
        yield
    except ConfigError as error:
        raise error.within(section) from None
