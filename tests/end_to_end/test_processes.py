"""`textcl train` on two processes is `textcl train` on one with twice the batch, and refuses what one refuses."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from tests.launch import run_together, start_together
from tests.small_data import write_collection, write_lines, write_recipe
from tests.views.test_apertium import installed
from textcl.cli.app import run
from textcl.training.journal import read_journal

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("chunk_rows", ["null", "3"])
def test_two_processes_train_what_one_trains(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder, chunk_rows):
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_collection(tmp_path / "dev", tiny_corpus[:20])
    more = "evaluation: {collection: dev}\nmethod: {name: simclr, temperature: 0.2, projector: {hidden: 16, out: 8}}\n"
    write_recipe(tmp_path, tiny_model_folder, "texts.txt", more)
    # Dropout would be another one in each process.
    sets = ["encoder.dropout=0", f"training.chunk_rows={chunk_rows}", "training.evaluate_every=2"]
    words = ["train", "recipe.yaml", *(word for pair in sets for word in ("--set", pair))]
    assert run([*words, "--out", "one"]) == 0
    together = [*words, "--set", "training.batch_size=4", "--out", "two", "--json"]
    first, second = run_together(2, ["-m", "textcl", *together], tmp_path)
    assert json.loads(first.splitlines()[-1])["steps"] == 4
    assert second.strip() == ""  # the first process speaks for both
    journals = [read_journal(tmp_path / name / "journal.jsonl") for name in ("one", "two")]
    assert [(line["step"], line["name"]) for line in journals[0]] == [
        (line["step"], line["name"]) for line in journals[1]
    ]
    for line, other in zip(*journals, strict=True):
        assert line["value"] == pytest.approx(other["value"], rel=1e-3, abs=1e-5), line
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    base = load_file(tiny_model_folder / "model.safetensors")
    moved = max((one[name] - base[name]).abs().max().item() for name in base)
    assert moved > 1e-3
    for name in one:
        # AdamW gives a gradient of nothing but rounding, such as that of a key's bias, a step of its own.
        if not name.endswith("key.bias"):
            assert_close(two[name], one[name], rtol=0, atol=moved / 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev", "one", "recipe.yaml", "texts.txt", "two"]


@installed
def test_a_stored_view_that_is_missing_is_one_line_and_exit_code_2_on_every_process(
    tmp_path, tiny_corpus, tiny_model_folder
):
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_recipe(tmp_path, tiny_model_folder, "texts.txt")
    view = "views={store: store, second: [{name: back_translate, translator: {name: apertium}}]}"
    outputs, codes = start_together(
        2, ["-m", "textcl", "train", "recipe.yaml", "--set", view, "--out", "run"], tmp_path
    )
    assert codes == [2, 2], outputs
    for output in outputs:
        assert "Traceback" not in output
        assert "textcl: views.second.0: 60 of 60 texts have no stored view" in output
    assert not (tmp_path / "run").exists()
