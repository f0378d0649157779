"""What a run's journal says of the run, without how fast the machine was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textcl.training.journal import read_journal


def journal_without_speed(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal but for those that no two runs share."""
    return [line for line in read_journal(path) if not line["name"].startswith("speed/")]
