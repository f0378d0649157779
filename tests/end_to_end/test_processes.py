"""`textcl train` on two processes is `textcl train` on one with twice the batch, and refuses what one refuses."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from tests.end_to_end.outcomes import assert_same_journals
from tests.launch import run_together, start_together
from tests.small_data import write_collection, write_lines, write_recipe
from tests.views.test_apertium import installed
from textcl.cli.app import run

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
    assert_same_journals(tmp_path / "one", tmp_path / "two", abs=1e-5)
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    base = load_file(tiny_model_folder / "model.safetensors")
    moved = max((one[name] - base[name]).abs().max().item() for name in base)
    assert moved > 1e-3
    for name in one:
        # AdamW gives a gradient of nothing but rounding, such as that of a key's bias, a step of its own.
        if not name.endswith("key.bias"):
            assert_close(two[name], one[name], rtol=0, atol=moved / 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dev", "one", "recipe.yaml", "texts.txt", "two"]


def test_several_seeds_on_two_processes_are_summarised_once(tmp_path, tiny_corpus, tiny_model_folder):
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_collection(tmp_path / "dev", tiny_corpus[:20])
    write_recipe(tmp_path, tiny_model_folder, "texts.txt", "evaluation: {collection: dev}\n")
    words = ["-m", "textcl", "train", "recipe.yaml", "--seeds", "2", "--out", "seeds"]
    first, second = run_together(2, words, tmp_path)
    assert "2 seeds, 0 to 1: seeds" in first
    assert second.strip() == ""
    summary = json.loads((tmp_path / "seeds" / "seeds.json").read_text())
    runs = [json.loads((tmp_path / f"seeds/seed-{seed}/evaluation.json").read_text()) for seed in (0, 1)]
    assert summary["measures"]["ndcg@10"]["values"] == [run["after"]["ndcg@10"]["mean"] for run in runs]


@pytest.mark.parametrize(("policy", "said"), [("stop", "training stopped: "), ("rollback", "after 3 rollbacks: ")])
def test_a_collapse_ends_both_processes_alike(tmp_path, tiny_corpus, tiny_model_folder, policy, said):
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_recipe(tmp_path, tiny_model_folder, "texts.txt")
    crop = "[{name: crop, min_fraction: 0.4, max_fraction: 0.9}]"
    method = "{name: byol, momentum: 0.9, predictor: null, projector: {hidden: 32, out: 32, norm: layer}}"
    loop = "epochs: 40, max_steps: 40, learning_rate: 3.0e-3, head_rate: 3, schedule: constant, warmup_fraction: 0"
    health = f"save_every: 1, health: {{every: 5, policy: {policy}}}"
    sets = [f"views={{first: {crop}, second: {crop}}}", f"method={method}"]
    sets.append(f"training={{batch_size: 8, {loop}, {health}}}")
    words = ["-m", "textcl", "train", "recipe.yaml", *(word for one in sets for word in ("--set", one)), "--out", "run"]
    outputs, codes = start_together(2, words, tmp_path)
    assert codes == [1, 1], outputs
    for output in outputs:
        assert said in output
        assert "Traceback" not in output
    assert not (tmp_path / "run" / "model").exists()
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


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
