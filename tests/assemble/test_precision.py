"""What `training.precision: auto` becomes, in processes of their own: Accelerate keeps one precision for each."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from tests.end_to_end.kills import kill_at_step
from tests.small_data import write_lines, write_recipe

SETTLE = """
import json, sys
from pathlib import Path
from textcl.assemble.precision import measure_peak, settle_precision
from textcl.assemble.processes import make_accelerator
from textcl.recipe.reading import read_recipe

recorded = Path(sys.argv[1]) if len(sys.argv) > 1 else None
auto = read_recipe(Path("recipe.yaml"), {"training.precision": "auto"})
settled, notes = settle_precision(auto, recorded)
accelerator = make_accelerator(settled.training)
again, later = settle_precision(auto)
print(json.dumps({
    "chosen": settled.training.precision, "notes": notes, "mixed": accelerator.mixed_precision,
    "again": again.training.precision, "later": later, "peak": measure_peak(settled),
}))
"""


@pytest.fixture
def folder(tmp_path, tiny_corpus, tiny_model_folder):
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_recipe(tmp_path, tiny_model_folder, "texts.txt")
    return tmp_path


def settled(folder, *words):
    done = subprocess.run(
        [sys.executable, "-c", SETTLE, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_auto_measures_says_and_stays(folder):
    found = settled(folder)
    assert found["chosen"] in ("fp32", "bf16")
    (note,) = found["notes"]
    said = re.fullmatch(r"precision: (\w+) \(measured: fp32 ([\d.e+]+), bf16 ([\d.e+]+) [GT]FLOP/s\)", note)
    assert said[1] == found["chosen"]
    assert (found["chosen"] == "bf16") == (float(said[3]) / float(said[2]) > 1.19)  # three digits are told
    assert found["mixed"] == {"fp32": "no", "bf16": "bf16"}[found["chosen"]]
    assert (found["again"], found["later"]) == (
        found["chosen"], [f"precision: {found['chosen']} (as this process has trained before)"],
    )  # fmt: skip
    assert found["peak"] > 1e8


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_goes_on_as_it_began(folder, precision):
    recorded = folder / "recorded.yaml"
    recorded.write_text((folder / "recipe.yaml").read_text().replace("precision: fp32", f"precision: {precision}"))
    found = settled(folder, "recorded.yaml")
    assert (found["chosen"], found["notes"]) == (precision, [f"precision: {precision} (as the run began)"])


@pytest.mark.slow
def test_a_killed_run_of_half_precision_goes_on_in_it_to_the_same_bits(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def words(out, precision):
        sets = [
            "training.max_steps=40",
            "training.epochs=99",
            "training.save_every=5",
            f"training.precision={precision}",
        ]
        return ["train", "recipe.yaml", "--out", out, *(word for one in sets for word in ("--set", one))]

    def train(*command):
        done = subprocess.run([sys.executable, "-m", "textcl", *command], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert train(*words("whole", "bf16"))[0] == 0
    kill_at_step(words("killed", "bf16"), folder / "killed", 12)
    assert yaml.safe_load((folder / "killed" / "recipe.yaml").read_text())["training"]["precision"] == "bf16"
    code, said = train(*words("killed", "fp32"), "--resume")
    assert (code, "differs from the recipe given" in said) == (2, True)
    code, said = train(*words("killed", "auto"), "--resume")
    assert (code, "precision: bf16 (as the run began)" in said) == (0, True)
    whole, killed = ((folder / one / "model" / "model.safetensors").read_bytes() for one in ("whole", "killed"))
    assert whole == killed


def test_fp16_without_a_gpu_is_refused_in_one_line(folder):
    done = subprocess.run(
        [sys.executable, "-m", "textcl", "train", "recipe.yaml", "--set", "training.precision=fp16"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "textcl: training.precision: fp16 needs a GPU, and there is none; take auto, fp32 or bf16\n"
