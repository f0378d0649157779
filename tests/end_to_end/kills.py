"""A command that is killed when its journal has reached a step."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from textcl.training.journal import read_journal


def kill_at_step(words, folder, step):
    """Start a command in a process of its own, and kill it as soon as the journal in `folder` has a line of `step`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "textcl", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while last_step(folder) < step:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    finally:
        process.kill()
        process.communicate()
    assert not (folder / "model").exists()


def last_step(folder):
    path = folder / "journal.jsonl"
    return max((line["step"] for line in read_journal(path)), default=-1) if path.exists() else -1
