"""The commands run in this process, in an empty folder."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from textcl.cli.app import run


@dataclass(frozen=True)
class Answer:
    """What a command did: exit code, standard output, and the lines of standard error, also of bars."""

    code: int
    out: str
    err: list[str]

    @property
    def faults(self):
        return [line.removeprefix("textcl: ") for line in self.err if line.startswith("textcl: ")]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def textcl(work, capsys):
    """Runs a command and returns its Answer."""

    def command(*words):
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Answer(code, captured.out, [line for line in re.split(r"[\r\n]+", captured.err) if line.strip()])

    return command
