"""Ctrl-C in the middle of a step: the step ends first, then a checkpoint is written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible(catch: bool) -> Iterator[list[bool]]:
    """Yield a list that is filled at the first Ctrl-C, so that the step in progress can end; a second one interrupts.

    With several processes the signal is left alone: they would stop at different steps and wait for each other.
    """
    pressed: list[bool] = []
    if not catch or threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def press(signum: int, frame: FrameType | None) -> None:
        if pressed:
            previous(signum, frame) if callable(previous) else signal.default_int_handler(signum, None)
        pressed.append(True)

    previous = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, previous)
