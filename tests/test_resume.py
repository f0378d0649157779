"""A run that was killed or interrupted goes on as if nothing had happened: `textcl train` in real processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch.testing import assert_close

from tests.journals import journal_without_speed
from tests.methods.every import SMALL, as_set
from tests.small_data import write_collection, write_lines, write_recipe
from textcl.cli.app import run
from textcl.training.checkpoint import checkpoints
from textcl.training.journal import read_journal

pytestmark = pytest.mark.slow

STEPS = 90
SETTINGS = [
    f"training={{precision: fp32, batch_size: 8, epochs: 99, max_steps: {STEPS}, learning_rate: 1.0e-3, log_every: 1, "
    "save_every: 7, evaluate_every: 20, accumulate_steps: 2, chunk_rows: 5, workers: 1}",
    "method={name: simclr, projector: {hidden: 16, out: 8}}",
    "evaluation={collection: dev, keep: best}",
]


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder):
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_collection(tmp_path / "dev", tiny_corpus[:20])
    write_recipe(tmp_path, tiny_model_folder, "texts.txt")
    return tmp_path


def words(out, *more):
    """The command with the settings above; later ones take the place of earlier ones."""
    sets = [word for pair in SETTINGS for word in ("--set", pair)]
    return ["train", "recipe.yaml", *sets, "--out", out, *more]


def last_step(folder):
    path = folder / "journal.jsonl"
    return max((line["step"] for line in read_journal(path)), default=0) if path.exists() else 0


@contextmanager
def started(out, *more):
    """The command in a process group of its own, that is killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "textcl", *words(out, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_step(process, folder, step):
    deadline = time.monotonic() + 120
    while last_step(folder) < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def finish(out, *more):
    """The command in this process, to its end."""
    assert run(words(out, *more)) == 0


def test_a_killed_run_resumes_to_the_bits_of_one_that_never_stopped(folder):
    finish("whole")
    whole, killed = folder / "whole", folder / "killed"
    saved = []
    # Twice, so that a resumed run is killed too; the second time right behind the best step so far.
    for more, step in (([], 25), (["--resume"], 61)):
        with started("killed", *more) as process:
            wait_for_step(process, killed, step)
            process.send_signal(signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
        assert not (killed / "model").exists()
        saved.append(checkpoints(killed / "checkpoints")[-1].name)
    assert saved[0] != saved[1]
    finish("killed", "--resume")
    for name in ("model/model.safetensors", "recipe.yaml", "evaluation.json", "runs/before.trec", "runs/after.trec"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    journal = journal_without_speed(killed / "journal.jsonl")
    assert journal == journal_without_speed(whole / "journal.jsonl")
    assert [line["step"] for line in journal if line["name"] == "loss"] == list(range(1, STEPS + 1))
    facts = [json.loads((one / "manifest.json").read_text()) for one in (whole, killed)]
    assert facts[0]["kept_step"] == facts[1]["kept_step"]
    assert facts[0]["encoder"]["fingerprint"] == facts[1]["encoder"]["fingerprint"]


@pytest.mark.parametrize("name", SMALL)
def test_every_method_survives_a_kill_at_a_random_step(folder, name):
    """All that a method trains or keeps comes back: queue, momentum encoder, heads and temperature among it."""
    kill_at = random.Random(name).randint(1, 38)
    loop = "training={precision: fp32, batch_size: 8, epochs: 99, max_steps: 40, learning_rate: 1.0e-4, log_every: 1, "
    more = (
        "save_every: 6, average: 0.9, head_rate: 10, workers: 1, evaluate_every: 20, health: {every: 7, policy: warn}}"
    )
    sets = [*as_set(name), "--set", loop + more]
    finish("whole", *sets)
    with started("killed", *sets) as process:
        wait_for_step(process, folder / "killed", kill_at)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    assert not (folder / "killed" / "model").exists()
    finish("killed", *sets, "--resume")
    for file in ("model/model.safetensors", "evaluation.json", "runs/after.trec"):
        assert (folder / "killed" / file).read_bytes() == (folder / "whole" / file).read_bytes(), (file, kill_at)
    journals = [journal_without_speed(folder / run / "journal.jsonl") for run in ("whole", "killed")]
    assert journals[0] == journals[1], kill_at
    states = [torch.load(checkpoints(folder / run / "checkpoints")[-1] / "state.pt") for run in ("whole", "killed")]
    assert states[0].keys() == {"method", "optimizer", "average"}
    assert_close(states[1], states[0], rtol=0, atol=0)
    # The folder that is left is the encoder alone.
    stock = SentenceTransformer(str(folder / "killed" / "model"), device="cpu")
    names = {f"encoder.{key}" for key in stock.state_dict()}
    assert names == {key for key in states[0]["method"] if key.startswith("encoder.")}


def test_ctrl_c_saves_the_step_in_progress_and_exits_with_130(folder):
    stopped = folder / "stopped"
    with started("stopped") as process:
        wait_for_step(process, stopped, 10)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the worker that draws views gets it too
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert err.rstrip().splitlines()[-1] == "textcl: interrupted"
    assert "Traceback" not in err
    assert checkpoints(stopped / "checkpoints")[-1].name == f"step-{last_step(stopped)}"
    assert 10 <= last_step(stopped) < STEPS
    assert not (stopped / "model").exists()
    finish("stopped", "--resume")
    assert last_step(stopped) == STEPS


def test_a_run_that_was_stopped_is_continued_by_its_own_recipe_alone(folder, capsys):
    with started("stopped") as process:
        wait_for_step(process, folder / "stopped", 8)
        process.kill()
        process.wait(60)
    assert run(words("stopped")) == 2
    assert "out: stopped exists already" in capsys.readouterr().err
    assert run(words("stopped", "--set", "seed=9", "--resume")) == 2
    advice = "textcl train stopped/recipe.yaml --out stopped --resume"
    assert advice in capsys.readouterr().err
    assert run(advice.split()[1:]) == 0
    assert last_step(folder / "stopped") == STEPS
