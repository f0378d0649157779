"""`textcl encode` is killed, or stopped from the keyboard, in the middle, and goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.small_data import write_lines
from textcl.cli.app import run

pytestmark = pytest.mark.slow

WORDS = ["encode", "MODEL", "texts.txt", "--precision", "bf16", "--out"]


@pytest.fixture
def words(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder):
    monkeypatch.chdir(tmp_path)
    texts = [f"{text} {place % 997}" for place, text in enumerate(tiny_corpus * 700)]  # five blocks and some
    write_lines(tmp_path / "texts.txt", texts)
    return [str(tiny_model_folder) if word == "MODEL" else word for word in WORDS]


def stop(words, folder, sent):
    """Send a signal when a block more is on disk; return the exit code and what was said."""
    before = done(folder)
    process = subprocess.Popen(
        [sys.executable, "-m", "textcl", *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 300
        while done(folder) <= before:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(sent)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.communicate()
    return process.returncode, said


def done(folder):
    state = folder / ".killed.unfinished" / "unfinished.json"
    return json.loads(state.read_text())["done"]["texts"] if state.exists() else 0


def test_a_killed_encode_goes_on_to_the_bytes_of_one_that_never_stopped(words, tmp_path):
    assert run([*words, "whole"]) == 0
    assert stop([*words, "killed"], tmp_path, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    code, said = stop([*words, "killed", "--resume"], tmp_path, signal.SIGINT)
    assert code == 130
    assert f"{done(tmp_path)} of 42000 texts are done and kept; add --resume to go on" in said
    assert "Traceback" not in said
    assert run([*words, "killed", "--resume"]) == 0
    for name in ("manifest.json", "texts.jsonl", "vectors.npy"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "texts.txt", "whole"]
