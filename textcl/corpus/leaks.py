"""Texts that stand both in training and in evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def count_leaks(training: Iterable[Sequence[Sequence[str]]], evaluated: Iterable[str]) -> int:
    """Return how many training rows hold a text that is also evaluated on.

    Texts are equal when they differ in letter case and white space alone.

    Args:
        training: The training rows, block by block; a block has one sequence of N texts for each side.
        evaluated: Queries, and the documents judged relevant to them.
    """
    known = {_plain(text) for text in evaluated}
    return sum(any(_plain(text) in known for text in row) for block in training for row in zip(*block, strict=True))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
