"""How fast a run goes, and what it loses time to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from textcl.encoder.forward import GROUP_TOKENS, groups_of
from textcl.encoder.packing import is_packable
from textcl.encoder.work import work_of
from textcl.methods.method import Method, PairBatch


class Meter:
    """Counts what steps do between two readings; evaluations, checkpoints and looks at the health are left out.

    Everything is counted on the host, so that nothing waits for a device. Other processes are taken to do as much as
    this one. Only what the trained encoder does counts, and once, whatever the gradient cache runs again and momentum
    encoders and guides run beside it.

    Args:
        method: Its encoder is counted as it is frozen now.
        processes: How many there are.
        peak_flops: Floating-point operations a second of the machines of all processes; None where nobody measured.
    """

    def __init__(self, method: Method, processes: int = 1, peak_flops: float | None = None) -> None:
        self._method, self._processes, self._peak = method, processes, peak_flops
        self._work, self._is_padded = work_of(method.encoder), not is_packable(method.encoder)
        self._begin = self._paused = time.perf_counter()
        self._clear()

    def _clear(self) -> None:
        self._waited = self._flop = 0.0
        self._pairs = self._tokens = self._places = 0

    def watched(self, steps: Iterable[list[PairBatch]]) -> Iterator[list[PairBatch]]:
        """Yield the batches of steps, and count how long they were waited for."""
        waiting = iter(steps)
        while True:
            begin = time.perf_counter()
            batches = next(waiting, None)
            self._waited += time.perf_counter() - begin
            if batches is None:
                return
            yield batches

    def add(self, batches: Sequence[PairBatch]) -> None:
        """Count a step on these batches as done."""
        for batch in batches:
            lengths = batch.tokens.lengths[: self._method.trained_sides(batch.sides) * len(batch)]
            tokens = int(lengths.sum())
            self._pairs += sum(batch.counts) if batch.counts else self._processes * len(batch)
            self._tokens += tokens
            self._flop += self._work.training(lengths)
            self._places += tokens
            if self._is_padded:
                groups = groups_of(lengths, GROUP_TOKENS[self._method.encoder.device.type], padded=True)
                self._places += sum(len(group) * int(lengths[group].max()) for group in groups) - tokens

    def pause(self) -> None:
        """Stop the clock, where the device has done all that was asked of it."""
        self._paused = time.perf_counter()

    def go_on(self) -> None:
        """Let the clock run again."""
        self._begin += time.perf_counter() - self._paused

    def read(self) -> dict[str, float]:
        """Return what was done since the last reading, by its names in the journal; nothing without any step.

        The clock must be paused.
        """
        seconds = self._paused - self._begin
        if not self._tokens or seconds <= 0:
            return {}
        found = {
            "speed/pairs_per_s": self._pairs / seconds,
            "speed/tokens_per_s": self._processes * self._tokens / seconds,
            "speed/padding_fraction": 1 - self._tokens / self._places,
            "speed/waiting_fraction": min(self._waited / seconds, 1.0),
        }
        if self._peak:
            found["speed/peak_fraction"] = self._processes * self._flop / seconds / self._peak
        self._begin = self._paused
        self._clear()
        return found


def in_words(speed: dict[str, float]) -> str:
    """Return a reading in a few words, such as `1,370 tok/s · 0 % padding · 2 % waiting · 54 % of peak`."""
    if not speed:
        return ""
    shares = [("padding_fraction", "padding"), ("waiting_fraction", "waiting"), ("peak_fraction", "of peak")]
    said = [f"{100 * speed[f'speed/{name}']:.0f} % {word}" for name, word in shares if f"speed/{name}" in speed]
    return " · ".join([f"{speed['speed/tokens_per_s']:,.0f} tok/s", *said])
