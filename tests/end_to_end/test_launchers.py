"""The two launchers of the README, for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch import free_port
from tests.small_data import write_lines, write_recipe

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
TRAIN = ["-m", "textcl", "train", "recipe.yaml", "--out", "run", "--set", "training.save_every=1"]


@pytest.mark.parametrize(
    ("launcher", "processes"),
    [
        (["torchrun", "--nproc_per_node", "2", "--master_port", "PORT"], 2),
        # Without a GPU or MPI, Accelerate's launcher starts one process.
        (["accelerate", "launch", "--cpu", "--num_processes", "1", "--num_machines", "1"], 1),
    ],
    ids=["torchrun", "accelerate"],
)
def test_a_run_under_a_launcher_is_whole(tmp_path, tiny_corpus, tiny_model_folder, launcher, processes):
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_recipe(tmp_path, tiny_model_folder, "texts.txt", "")
    words = [str(free_port()) if word == "PORT" else word for word in launcher]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [str(BIN / words[0]), *words[1:], *TRAIN]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    facts = [json.loads(path.read_text()) for path in (tmp_path / "run" / "checkpoints").glob("step-*/manifest.json")]
    assert [one["run"]["processes"] for one in facts] == [processes] * len(facts)
    assert facts
    assert done.stdout.count("model: ") == 1
