"""Fields of one record as the two sides of a pair: title ↔ text, question ↔ answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from textcl.errors import ConfigError


@dataclass(frozen=True)
class Fields:
    """Take the anchor from one column and the positive from another.

    Args:
        anchor: Column of the first side, such as `question` or `title`.
        positive: Column of the second side, such as `answer` or `text`.
    """

    anchor: str
    positive: str

    def __post_init__(self) -> None:
        if self.anchor == self.positive:
            raise ConfigError("positive", self.positive, "another column than the anchor's")

    def __call__(self, records: Mapping[str, Sequence[str]]) -> tuple[Sequence[str], Sequence[str]]:
        """Return (anchors, positives) of a batch of records, given by column."""
        for side, column in (("anchor", self.anchor), ("positive", self.positive)):
            if column not in records:
                raise ConfigError(side, column, f"one of the columns {', '.join(sorted(records))}")
        return records[self.anchor], records[self.positive]
