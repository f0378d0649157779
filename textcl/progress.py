"""How long work tells how far it is, without deciding who listens.

Anything slow takes `progress: Progress = quiet` and reports counts to it. The command line passes `bar`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from tqdm import tqdm


class Advance(Protocol):
    """Takes what was done since it was last told."""

    def __call__(self, units: int, note: str = "", /) -> None:
        """Count `units` more, which may be negative; `note` is a few numbers of the work to show beside the count."""
        ...


Say = Callable[[str], None]


class Progress(Protocol):
    """Opens one piece of long work: a description and how many units it has (None where nobody knows)."""

    def __call__(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """Return a context that yields `advance(units)`."""
        ...


def silent(text: str) -> None:
    """Say nothing: for `say: Say = silent` of whatever tells a user sentences."""


@contextmanager
def quiet(description: str, total: int | None) -> Iterator[Advance]:  # noqa: ARG001 (the protocol's signature)
    """Report nothing."""
    yield lambda _units, _note="": None


@contextmanager
def bar(description: str, total: int | None) -> Iterator[Advance]:
    """Show a bar with count, rate and time left on standard error; its last state stays."""
    with tqdm(total=total, desc=description, file=sys.stderr, dynamic_ncols=True, mininterval=0.5) as shown:

        def advance(units: int, note: str = "", /) -> None:
            if note:
                shown.set_postfix_str(note, refresh=False)
            shown.update(units)

        yield advance
