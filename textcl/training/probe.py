"""The fixed pairs on which a run's health is looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from textcl.methods.method import Method, PairBatch
from textcl.randomness import permutation
from textcl.training.batches import draw_from
from textcl.training.health import measure_health
from textcl.training.sources import Source

_LONGEST = 100_000  # rows of a source that the probe is drawn from: the others may have to be read for it


class Probe:
    """Embeds the same views of the same pairs each time, with nothing dropped.

    Args:
        batch: Pairs; hard negatives are left out of account.
    """

    def __init__(self, batch: PairBatch) -> None:
        self.batch = batch

    @torch.no_grad()
    def __call__(self, method: Method, step: int) -> dict[str, float]:
        """Return the health of the method's encoder after optimizer step `step`, and of what the method keeps.

        The method is in evaluation mode afterwards; each step of training sets its own.
        """
        method.eval()
        first, second = method.embed(self.batch.tokens_of(0, 2)).chunk(2)
        return {**measure_health(first, second), **method.measures(step)}


def draw_probe(sources: Source | Sequence[Source], pairs: int, seed: int) -> Probe:
    """Return a probe of `pairs` pairs of the training data, or of all there are; they are trained on too.

    Their views are those of an epoch that no run reaches.
    """
    sources = sources if isinstance(sources, Sequence) else (sources,)
    counts = np.array([min(len(source), _LONGEST) for source in sources])
    rows = permutation(int(counts.sum()), seed, "probe", 0)[:pairs]
    chosen = np.searchsorted(np.cumsum(counts), rows, side="right")
    starts = np.cumsum(counts) - counts
    table = np.stack([chosen, rows - starts[chosen], np.full(len(rows), 2**31 - 1)], axis=1)
    return Probe(draw_from(sources, table, progress=1.0))
