"""`training.unique_batches` on two processes is that on one, though a batch may have more rows on one of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from tests.end_to_end.outcomes import assert_same_journals, values
from tests.launch import run_together
from tests.small_data import write_jsonl, write_recipe
from textcl.cli.app import run

LOOP = {
    "batch_size": 8,
    "precision": "fp32",
    "epochs": 3,
    "learning_rate": 1.0e-3,
    "log_every": 1,
    "save_every": 4,
    "unique_batches": True,
    "health": {"every": 2, "policy": "stop"},
}


@pytest.fixture
def work(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder):
    """A folder with 29 pairs, of which three each ask the same question, so that an epoch has batches of 7 and 8."""
    monkeypatch.chdir(tmp_path)
    asked = [tiny_corpus[i // 3] for i in range(29)]
    rows = [{"anchor": one, "positive": f"{one} {tiny_corpus[i + 20]}"} for i, one in enumerate(asked)]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    write_recipe(tmp_path, tiny_model_folder, "none.txt")
    return tmp_path


def words_of(out, **training):
    data = "{train: pairs.jsonl, columns: {anchor: anchor, positive: positive}}"
    sets = [f"data={data}", f"training={json.dumps({**LOOP, **training})}", "views={}", "encoder.dropout=0"]
    return ["train", "recipe.yaml", *(word for one in sets for word in ("--set", one)), "--out", out]


def test_no_row_meets_one_that_would_have_to_be_masked(work, capsys):
    assert run(words_of("unique")) == 0
    assert "collapse" not in capsys.readouterr().err
    assert json.loads((work / "unique" / "manifest.json").read_text())["steps"] == 12  # 29 rows are 4 batches
    assert values(work / "unique", "masked_text_fraction") == dict.fromkeys(range(1, 13), 0.0)
    assert run(words_of("plain", unique_batches=False)) == 0
    masked = values(work / "plain", "masked_text_fraction")
    assert np.mean(list(masked.values())) > 0.05


def test_a_group_that_is_too_large_is_refused(work, capsys):
    rows = [json.loads(line) for line in (work / "pairs.jsonl").read_text().splitlines()]
    write_jsonl(work / "pairs.jsonl", [{**row, "anchor": rows[0]["anchor"]} for row in rows[:6]] + rows[6:])
    assert run(words_of("run")) == 2
    said = "textcl: training.unique_batches: no two rows of a group may meet, but one group has 6 rows and an epoch 4 "
    assert said in capsys.readouterr().err
    assert not (work / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("chunk_rows", [None, 3])
def test_two_processes_train_what_one_trains(work, tiny_model_folder, chunk_rows):
    assert run(words_of("one", chunk_rows=chunk_rows)) == 0
    first, second = run_together(2, ["-m", "textcl", *words_of("two", batch_size=4, chunk_rows=chunk_rows)], work)
    assert "collapse" not in first
    assert second.strip() == ""
    assert_same_journals(work / "one", work / "two")
    assert set(values(work / "two", "masked_text_fraction").values()) == {0.0}
    base, one = (load_file(folder / "model.safetensors") for folder in (tiny_model_folder, work / "one" / "model"))
    moved = max((one[name] - base[name]).abs().max().item() for name in base)
    assert moved > 1e-3
    for name, value in load_file(work / "two" / "model" / "model.safetensors").items():
        if not name.endswith("key.bias"):  # see test_processes.py
            assert_close(value, one[name], rtol=0, atol=moved / 20)
