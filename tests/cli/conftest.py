"""The commands run in this process, in an empty folder."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.small_data import write_lines, write_recipe
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


@pytest.fixture
def texts(work, tiny_corpus):
    return write_lines(work / "texts.txt", tiny_corpus)


@pytest.fixture
def recipe(work, texts, tiny_model_folder):
    return write_recipe(work, tiny_model_folder, texts.name)


def listing(folder):
    """Every file and folder with its size and time of change."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size if path.is_file() else None)
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(textcl, work):
    """Runs a command that must be refused, and returns its faults."""

    def command(*words):
        before = listing(work)
        answer = textcl(*words)
        assert answer.code == 2, answer.err
        assert answer.out == ""
        assert listing(work) == before
        assert not any("Traceback" in line for line in answer.err)
        return answer.faults

    return command
