"""What a run measured: one value a line in journal.jsonl, and the same as TensorBoard curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textcl.artifacts import write_whole


class Journal:
    """Writes `{"step": …, "name": …, "value": …}` lines, by optimizer step, counted from 1.

    Args:
        folder: Gets journal.jsonl and tensorboard/; made if missing.
        after_step: Lines of later steps are cut off first, since a resume repeats those steps.
    """

    def __init__(self, folder: Path, after_step: int | None = None) -> None:
        self.path, self._folder = folder / "journal.jsonl", folder
        self._open(after_step)

    def _open(self, after_step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if after_step is not None and self.path.exists():
            write_whole(self.path, "".join(_lines_until(self.path, after_step)))
        self._file = self.path.open("a", encoding="utf-8")
        purge = None if after_step is None else after_step + 1
        self._curves = SummaryWriter(str(self._folder / "tensorboard"), purge_step=purge)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one line a value."""
        for name, value in values.items():
            self._file.write(json.dumps({"step": step, "name": name, "value": value}) + "\n")
            self._curves.add_scalar(name, value, step)
        self._file.flush()

    def rewind(self, step: int, anew: str) -> None:
        """Cut off later steps, which are done again, and the line `anew` of this one, which is written again."""
        self.close()
        kept = [line for line in _lines_until(self.path, step) if not _is_of(line, step, anew)]
        write_whole(self.path, "".join(kept))
        self._open(step)

    def close(self) -> None:
        """Flush and close both."""
        self._file.close()
        self._curves.close()


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal; a last line that a kill cut short is left out."""
    return [json.loads(line) for line in _whole_lines(path)]


def _lines_until(path: Path, step: int) -> list[str]:
    return [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]


def _is_of(line: str, step: int, name: str) -> bool:
    value = json.loads(line)
    return bool(value["step"] == step and value["name"] == name)


def _whole_lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
