"""`textcl views build` is killed at any moment, goes on, and ends with what an undisturbed build has."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.small_data import write_lines
from tests.views.test_apertium import installed
from textcl.cli.app import run
from textcl.views.store import FILE

pytestmark = pytest.mark.slow

TEXTS = 2500
RECIPE = """\
encoder: {{model: {model}, max_tokens: 24, dropout: 0.1}}
data: {{train: texts.txt}}
views:
  second: [{{name: back_translate, translator: {{name: apertium}}, min_similarity: 0.9}}]
  store: {store}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder):
    monkeypatch.chdir(tmp_path)
    texts = [f"{number} {tiny_corpus[number % 60]} {tiny_corpus[(7 * number + 1) % 60]}" for number in range(TEXTS)]
    write_lines(tmp_path / "texts.txt", texts)
    for store in ("whole", "killed"):
        (tmp_path / f"{store}.yaml").write_text(RECIPE.format(model=tiny_model_folder, store=store))
    return tmp_path


def rows_of(store, table):
    """The rows of a table as a list, so that one that stands twice would show; [] where there is no store yet."""
    if not (store / FILE).exists():
        return []
    base = sqlite3.connect(store / FILE, timeout=60)
    try:
        there = base.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return sorted(base.execute(f"SELECT * FROM {table}").fetchall()) if there else []
    finally:
        base.close()


def work_done(store):
    return len(rows_of(store, "done")) + len(rows_of(store, "similarities"))


@installed
def test_a_build_killed_at_ten_random_moments_neither_loses_nor_repeats_a_view(folder):
    chance = random.Random(3)
    kept = [[], [], []]
    tables = ("done", "views", "similarities")
    for kill in range(10):
        # Spread over all of the work: texts that are written, then texts that are judged.
        wanted = max(kill * 2 * TEXTS // 11, work_done(folder / "killed") + 1)
        process = subprocess.Popen(
            [sys.executable, "-m", "textcl", "views", "build", "killed.yaml"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            deadline = time.monotonic() + 120
            while work_done(folder / "killed") < wanted:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.001)
            time.sleep(chance.random() * 0.1)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        found = [rows_of(folder / "killed", table) for table in tables]
        for before, after in zip(kept, found, strict=True):
            assert set(before) <= set(after), f"kill {kill} lost something"
            assert len(set(after)) == len(after)
        kept = found
        assert {row[1] for row in found[1]} <= {row[1] for row in found[0]}
    assert len(kept[0]) == TEXTS  # the last kills came while views were judged
    assert len(kept[2]) > 0
    assert run(["views", "build", "killed.yaml"]) == 0
    assert run(["views", "build", "whole.yaml"]) == 0
    for table, before in zip(tables, kept, strict=True):
        finished = rows_of(folder / "killed", table)
        assert set(before) <= set(finished)
        # Every number in a row is the same: the cosines too, but for the rounding of another batch.
        assert [row[:4] for row in finished] == [row[:4] for row in rows_of(folder / "whole", table)]
    assert len(rows_of(folder / "killed", "done")) == TEXTS


@installed
def test_ctrl_c_ends_a_build_with_130_and_no_process_is_left(folder):
    process = subprocess.Popen(
        [sys.executable, "-m", "textcl", "views", "build", "killed.yaml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while work_done(folder / "killed") == 0:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGINT)
        _out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.rstrip().splitlines()[-1] == "textcl: interrupted"
    assert "Traceback" not in err
    assert 0 < len(rows_of(folder / "killed", "done")) < TEXTS
    assert run(["views", "build", "killed.yaml"]) == 0
    assert len(rows_of(folder / "killed", "done")) == TEXTS
