"""What users ask of fine-tuning: hard negatives, LoRA, frozen layers, development data, seeds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from torch.testing import assert_close

from tests.methods.every import EVERY, as_set
from tests.small_data import write_collection, write_jsonl, write_lines, write_recipe
from textcl.assemble.paraphrases import paraphrases_use
from textcl.assemble.uses import anomalies_use, clusters_use, geometry_use, pairs_use, probe_use
from textcl.cli.app import run
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import load_encoder
from textcl.evaluation.seeds import summarise_seeds
from textcl.training.journal import read_journal


@pytest.fixture
def work(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder):
    """A folder with a recipe, texts, triplets, graded pairs and a judged collection."""
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    names, places = ("anchor", "positive", "other", "third"), (0, 20, 30, 5)
    triplets = [{name: tiny_corpus[i + k] for name, k in zip(names, places, strict=True)} for i in range(24)]
    write_jsonl(tmp_path / "triplets.jsonl", triplets)
    graded = [f"{tiny_corpus[i]}\t{tiny_corpus[i + 1]}\t{i % 5}\t{'dev' if i < 20 else 'test'}" for i in range(30)]
    write_lines(tmp_path / "graded.tsv", ["sentence1\tsentence2\tscore\tsplit", *graded])
    write_collection(tmp_path / "dev", tiny_corpus[:20])
    (tmp_path / "dev" / "qrels" / "dev.tsv").write_bytes((tmp_path / "dev" / "qrels" / "test.tsv").read_bytes())
    write_recipe(tmp_path, tiny_model_folder, "texts.txt")
    return tmp_path


def train(out, *sets, more=()):
    words = [word for pair in sets for word in ("--set", pair)]
    return run(["train", "recipe.yaml", *words, "--out", out, *more])


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def values(folder, name):
    return {line["step"]: line["value"] for line in read_journal(folder / "journal.jsonl") if line["name"] == name}


@pytest.mark.parametrize("name", EVERY)
def test_every_method_trains_and_leaves_a_plain_model(work, tiny_model_folder, tiny_corpus, name):
    assert run(["train", "recipe.yaml", *as_set(name), "--out", "run"]) == 0
    base, left = load_file(tiny_model_folder / "model.safetensors"), weights(work / "run")
    assert left.keys() == base.keys()
    assert max((left[key] - base[key]).abs().max() for key in base) > 1e-4
    stock = SentenceTransformer(str(work / "run" / "model"), device="cpu")
    ours = embed_texts(load_encoder(work / "run" / "model"), tiny_corpus[:6]).vectors
    np.testing.assert_allclose(stock.encode(tiny_corpus[:6], normalize_embeddings=True), ours, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["pairs", "simcse", "moco", "siglip"])
def test_hard_negatives_are_columns_and_change_the_loss(work, name):
    losses = []
    for columns in ([], ["other"], ["other", "third"]):
        chosen = json.dumps({"anchor": "anchor", "positive": "positive", "hard_negatives": columns})
        out = f"run-{len(columns)}"
        sets = ["--set", "data.train=triplets.jsonl", "--set", f"data.columns={chosen}"]
        assert run(["train", "recipe.yaml", *as_set(name), *sets, "--set", "encoder.dropout=0", "--out", out]) == 0
        losses.append(values(work / out, "loss")[1])
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize(("queue", "said"), [(61, True), (60, False)])
def test_a_queue_that_is_longer_than_the_data_is_remarked_on(work, capsys, queue, said):
    assert run(["train", "recipe.yaml", *as_set("moco", queue_size=queue), "--out", "run"]) == 0
    remark = "method.queue_size is 61, so that each of the 60 pairs stands in the queue several times"
    assert (remark in capsys.readouterr().err) == said


def test_hard_negatives_belong_to_methods_that_look_at_them(work, capsys):
    sets = ["--set", "data.train=triplets.jsonl", *as_set("byol")]
    columns = "data.columns={anchor: anchor, positive: positive, hard_negatives: [other]}"
    assert run(["train", "recipe.yaml", *sets, "--set", columns]) == 2
    fault = (
        "data.columns.hard_negatives: the method byol takes none; leave them out, or use pairs, siglip, simcse or moco"
    )
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"textcl: {fault}"


def test_lora_leaves_plain_weights_that_differ_in_query_and_value_alone(work, tiny_model_folder):
    assert train("run", "encoder.lora={rank: 2, alpha: 8}", "training.learning_rate=0.01") == 0
    base, left = load_file(tiny_model_folder / "model.safetensors"), weights(work / "run")
    assert left.keys() == base.keys()
    changed = {key for key in base if not torch.equal(base[key], left[key])}
    assert changed == {key for key in base if key.endswith(("query.weight", "value.weight"))}
    again = SentenceTransformer(str(work / "run" / "model"), device="cpu")
    assert again.state_dict().keys() == load_encoder(tiny_model_folder).state_dict().keys()


def test_what_lora_starts_from_belongs_to_the_seed(work):
    sets = ["encoder.lora={rank: 2}", "training.learning_rate=0.01"]
    for out, seed in (("one", 0), ("again", 0), ("other", 1)):
        assert train(out, *sets, f"seed={seed}") == 0
    assert_close(weights(work / "one"), weights(work / "again"), rtol=0, atol=0)
    assert any(not torch.equal(one, weights(work / "other")[key]) for key, one in weights(work / "one").items())


def test_frozen_layers_stay_as_they_are(work, tiny_model_folder):
    assert train("run", "encoder.freeze_layers=1") == 0
    base, left = load_file(tiny_model_folder / "model.safetensors"), weights(work / "run")
    same = {key for key in base if torch.equal(base[key], left[key])}
    assert {key for key in base if "embeddings." in key or "layer.0." in key} <= same
    assert not [key for key in same if "layer.1." in key and key.endswith("weight") and "LayerNorm" not in key]


def test_development_data_chooses_and_other_data_is_reported(work):
    sets = [
        "development={collection: dev, measures: ['mrr@10'], sts: graded.tsv, by: spearman}",
        "evaluation={collection: dev, measures: ['ndcg@10']}",
        "training.evaluate_every=1",
    ]
    assert train("run", *sets) == 0
    facts = json.loads((work / "run" / "manifest.json").read_text())
    assert set(facts["development"]["2"]) >= {"mrr@10", "spearman", "uniformity"}
    spearman = {int(step): measures["spearman"] for step, measures in facts["development"].items()}
    assert facts["kept_step"] == max(spearman, key=lambda step: (spearman[step], -step))
    assert values(work / "run", "spearman") == spearman
    assert set(json.loads((work / "run" / "evaluation.json").read_text())["after"]) == {"ndcg@10"}


def test_every_way_to_judge_an_encoder_can_choose(work, tiny_corpus):
    words = [text.split() for text in tiny_corpus]
    pairs = [f"{' '.join(w)}\t{' '.join(words[(i + i % 2) % 60][:3])}\t{1 - i % 2}" for i, w in enumerate(words[:40])]
    write_lines(work / "pairs.tsv", ["sentence1\tsentence2\tlabel", *pairs])
    labelled = [{"text": text, "label": str(i % 2)} for i, text in enumerate(tiny_corpus[:40])]
    write_jsonl(work / "labelled.jsonl", labelled)
    write_jsonl(work / "texts.jsonl", [{"_id": str(i), "text": text} for i, text in enumerate(tiny_corpus)])
    write_lines(work / "known.tsv", ["id1\tid2", "0\t1", "2\t3"])
    sections = {
        "pairs": {"data": "pairs.tsv"},
        "probe": {"data": "labelled.jsonl"},
        "clusters": {"data": "labelled.jsonl"},
        "anomalies": {"data": "labelled.jsonl", "reference": "texts.jsonl"},
        "paraphrases": {"data": "texts.jsonl", "duplicates": "known.tsv"},
        "geometry": {"data": "texts.jsonl"},
    }
    said = json.dumps({**sections, "by": "anomalies/auroc"})
    assert train("run", f"development={said}", "training.evaluate_every=2", "training.max_steps=2") == 0
    facts = json.loads((work / "run" / "manifest.json").read_text())
    found = facts["development"]["2"]
    encoder = load_encoder(work / "run" / "model")
    uses = {
        "pairs/average_precision": pairs_use("pairs.tsv").of(encoder).average_precision.value,
        "probe/accuracy": probe_use("labelled.jsonl").of(encoder).measures["accuracy"].mean,
        "clusters/v_measure": clusters_use("labelled.jsonl").of(encoder).measures["v_measure"].mean,
        "anomalies/auroc": anomalies_use("labelled.jsonl", "texts.jsonl").of(encoder).auroc.value,
        "geometry/uniformity": geometry_use("texts.jsonl").of(encoder).uniformity,
    }
    assert {name: found[name] for name in uses} == pytest.approx(uses, abs=1e-6)
    mined = paraphrases_use("texts.jsonl", duplicates="known.tsv").of(encoder).result
    assert found["paraphrases/average_precision"] == pytest.approx(mined.average_precision, abs=1e-6)


def test_a_measure_of_geometry_chooses_where_it_is_least(work):
    sets = ["development={geometry: {data: texts.txt}, by: geometry/uniformity}", "training.evaluate_every=1"]
    assert train("run", *sets) == 0
    facts = json.loads((work / "run" / "manifest.json").read_text())
    found = {int(step): measures["geometry/uniformity"] for step, measures in facts["development"].items()}
    assert facts["kept_step"] == min(found, key=lambda step: (found[step], step))


def test_the_share_of_the_trained_weights_is_the_best_on_development_data(work, tiny_model_folder, capsys):
    """Trained at a rate that ruins it, the encoder is best left as it came; the other share is tried too."""
    sets = ["training.learning_rate=0.3", "training.health=null", "training.clip_norm=null"]
    shares = "development={collection: dev, keep: last, interpolate: [0.0, 0.5]}"
    assert train("run", *sets, shares) == 0
    facts = json.loads((work / "run" / "manifest.json").read_text())["interpolation"]
    assert set(facts["measures"]) == {"1", "0.5", "0"}
    scores = {share: measures["ndcg@10"] for share, measures in facts["measures"].items()}
    assert facts["share"] == 0
    assert scores["0"] == max(scores.values()) > scores["1"]
    assert_close(weights(work / "run"), load_file(tiny_model_folder / "model.safetensors"), rtol=0, atol=0)
    assert "0 of the trained weights, the rest from" in capsys.readouterr().err


def test_lora_and_shares_go_together(work):
    sets = ["encoder.lora={rank: 2}", "development={sts: graded.tsv, keep: last, interpolate: [0.5]}"]
    assert train("run", *sets) == 0
    assert json.loads((work / "run" / "manifest.json").read_text())["interpolation"]["share"] in (0.5, 1.0)


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        ("{by: ndgc@10, sts: graded.tsv}", "development.by: expected one of spearman, alignment, uniformity,"),
        ("{collection: dev, measures: [ndgc@10]}", "development.measures"),
        ("{sts: graded.tsv, by: gap, interpolate: [0.5]}", "development: by chooses the share too, so with"),
        ("{sts: none.tsv}", "none.tsv: no such file"),
        (
            "{geometry: {data: texts.txt}, by: geometry/alignment}",
            "development.by: expected one of geometry/uniformity,",
        ),
        ("{anomalies: {data: graded.tsv, reference: texts.txt}}", "graded.tsv: no column"),
        ("{}", "development: needs a collection, an sts file, one of pairs, probe, clusters, anomalies"),
        ("{by: uniformity, interpolate: [0.5]}", "development: interpolate needs a collection, an sts file"),
        ("{sts: graded.tsv, interpolate: [2]}", "development: interpolate: expected shares in [0, 1]"),
    ],
)
def test_development_that_cannot_choose_is_refused(work, capsys, chosen, fault):
    assert train("run", f"development={chosen}", "training.evaluate_every=2") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f"textcl: {fault}")
    assert not (work / "run").exists()


def test_a_measure_of_the_health_cannot_choose_where_nobody_looks(work, capsys):
    assert train("run", "development={by: gap}", "training.evaluate_every=2", "training.health=null") == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == "textcl: development.by: gap is a measure of training.health, which is null"


def test_several_seeds_are_summarised_and_continued(work, capsys):
    sets = ["evaluation={collection: dev, measures: ['mrr@10']}", "seed=3", "training.learning_rate=0.01"]
    words = ["train", "recipe.yaml", *(word for pair in sets for word in ("--set", pair)), "--out", "seeds"]
    assert run([*words, "--seeds", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seeds"] == [3, 4, 5]
    after = [json.loads((work / f"seeds/seed-{seed}/evaluation.json").read_text()) for seed in (3, 4, 5)]
    expected = summarise_seeds({"mrr@10": [one["after"]["mrr@10"]["mean"] for one in after]})["mrr@10"].to_json()
    assert found["measures"]["mrr@10"] == expected
    assert {"mrr@10 change", "health/effective_rank"} <= set(found["measures"])
    assert expected["deviation"] > 0
    assert json.loads((work / "seeds" / "seeds.json").read_text())["measures"]["mrr@10"] == expected
    # Complete runs stay as they are; one that is missing is trained again, to the same bits.
    kept = (work / "seeds/seed-4/model/model.safetensors").read_bytes()
    (work / "seeds/seed-4/manifest.json").unlink()
    untouched = (work / "seeds/seed-3/manifest.json").stat().st_mtime_ns
    assert run([*words, "--seeds", "3", "--resume"]) == 0
    shown = capsys.readouterr()
    assert (work / "seeds/seed-4/model/model.safetensors").read_bytes() == kept
    assert (work / "seeds/seed-3/manifest.json").stat().st_mtime_ns == untouched
    assert "seed 3: complete" in shown.err
    assert "seed 4: complete" not in shown.err
    assert "3 seeds, 3 to 5: seeds" in shown.out


def test_seeds_of_another_recipe_are_not_mixed_in(work, capsys):
    assert train("seeds", more=["--seeds", "2"]) == 0
    assert train("seeds", "training.learning_rate=0.002", more=["--seeds", "3", "--resume"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("textcl: seeds/seed-0/recipe.yaml: differs from the recipe given")
    assert not (work / "seeds" / "seed-2").exists()
    assert train("seeds", "training.learning_rate=0.002", more=["--seeds", "2", "--force"]) == 0
    assert "learning_rate: 0.002" in (work / "seeds" / "seed-1" / "recipe.yaml").read_text()


def test_a_plain_run_is_no_folder_of_seeds(work, capsys):
    assert train("run") == 0
    assert train("run", more=["--seeds", "2", "--resume"]) == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith("textcl: run")
    assert not (work / "run" / "seed-0").exists()
    assert train("run", more=["--seeds", "2", "--force"]) == 0
    assert not (work / "run" / "journal.jsonl").exists()


def test_seeds_report_the_model_that_is_left(work, capsys):
    """With shares of weights that is a mixture, and not the step that was kept."""
    sets = ["training.learning_rate=0.3", "training.health=null", "training.clip_norm=null"]
    shares = "development={collection: dev, keep: last, interpolate: [0.0]}"
    assert train("seeds", *sets, shares, more=["--seeds", "2", "--json"]) == 0
    measures = json.loads(capsys.readouterr().out)["measures"]["development ndcg@10"]
    facts = [json.loads((work / f"seeds/seed-{seed}/manifest.json").read_text()) for seed in (0, 1)]
    mixed = [one["interpolation"] for one in facts]
    assert measures["values"] == [one["measures"][f"{one['share']:g}"]["ndcg@10"] for one in mixed]
    assert measures["values"] != [one["development"]["4"]["ndcg@10"] for one in facts]


def test_development_is_measured_at_the_last_step_at_least(work):
    assert train("run", "development={sts: graded.tsv, keep: last}") == 0
    assert list(values(work / "run", "spearman")) == [4]


@pytest.mark.parametrize("seeds", ["1", "0", "-3"])
def test_fewer_than_two_seeds_are_refused(work, capsys, seeds):
    assert train("seeds", more=["--seeds", seeds]) == 2
    assert capsys.readouterr().err.startswith("textcl: seeds: expected at least 2: one run tells no deviation")


def test_a_folder_of_seeds_is_not_overwritten(work, capsys):
    (work / "seeds").mkdir()
    (work / "seeds" / "mine.txt").write_text("mine")
    assert train("seeds", more=["--seeds", "2"]) == 2
    assert "seeds exists already" in capsys.readouterr().err
    assert (work / "seeds" / "mine.txt").read_text() == "mine"
