"""What replaces a run's source on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from textcl.training.sources import Source


class Refresh(Protocol):
    """Gives the run another source every so many steps, such as one with hard negatives of the encoder as it is."""

    @property
    def every(self) -> int | None:
        """Steps between two of them."""
        ...

    def at(self, begin: int, step: int) -> tuple[Source, Mapping[str, float]]:
        """Return the source of the steps behind `begin`, and what the journal says of it.

        It is made where the run stands there, at `step` == `begin`, and was made before where the run is further.
        """
        ...

    def forget(self, step: int) -> None:
        """Drop what was made for steps behind `step`, to which the run has gone back."""
        ...
