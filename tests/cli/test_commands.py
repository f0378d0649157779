"""Every command on a few texts, one after the other, and what each leaves and prints."""

from __future__ import annotations

import json
import subprocess
import sys

import datasets
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.small_data import write_collection, write_jsonl, write_lines, write_recipe
from textcl.assemble import encoding
from textcl.assemble.baselines import rank_by_words
from textcl.assemble.evaluating import rank_collection
from textcl.corpus.collection import read_collection
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import load_encoder
from textcl.evaluation.fusion import reciprocal_rank_fusion
from textcl.evaluation.retrieval import evaluate_run
from textcl.evaluation.runs import read_run
from textcl.training.journal import read_journal

EVALUATION = "evaluation: {collection: dev, measures: [ndcg@10, mrr@10]}\n"


@pytest.fixture
def folder(work, tiny_corpus, tiny_model_folder):
    """The current folder with texts, pairs, a collection, graded pairs, and a recipe."""
    write_lines(work / "texts.txt", tiny_corpus)
    write_jsonl(work / "pairs.jsonl", [{"q": text[:20], "a": text, "t": i % 5} for i, text in enumerate(tiny_corpus)])
    write_collection(work / "dev", tiny_corpus[:30])
    graded = [f"{text}\t{tiny_corpus[(7 * i) % 60]}\t{i % 5}\ttest" for i, text in enumerate(tiny_corpus[:12])]
    write_lines(work / "sts.tsv", ["sentence1\tsentence2\tscore\tsplit", *graded, "a\tb\t1\tdev", "c\td\t2\tdev"])
    write_recipe(work, tiny_model_folder, "texts.txt", EVALUATION)
    return work


@pytest.fixture
def done(textcl, folder):
    """Runs a command that must succeed and returns its Answer."""

    def command(*words):
        answer = textcl(*words)
        assert answer.code == 0, answer.err
        return answer

    return command


@pytest.fixture
def said(done):
    """Runs a command with --json and returns the one object that stands on standard output alone."""

    def command(*words):
        out = done(*words, "--json").out
        assert out.count("\n") == 1
        return json.loads(out)

    return command


def test_the_main_way_from_texts_to_measured_search(done, said, folder):
    trained = said("train", "recipe.yaml", "--out", "run")
    assert (trained["steps"], trained["kept_step"], trained["model"]) == (4, 4, "run/model")
    encoded = said("encode", "run/model", "dev", "--out", "vectors")
    assert (encoded["rows"], encoded["vectors"]) == (30, "vectors")
    built = said("index", "build", "run/model", "dev", "--out", "index")
    assert (built["rows"], built["dimension"], built["index"]) == (30, 32, "index")
    said("index", "build", "run/model", "vectors", "--out", "index-of-vectors")
    hits = [said("search", one, "the river near the mill", "-k", "5")["hits"] for one in ("index", "index-of-vectors")]
    assert hits[0] == hits[1]
    assert [hit["score"] for hit in hits[0]] == sorted((hit["score"] for hit in hits[0]), reverse=True)
    by_model, by_index = (said("evaluate", "retrieval", one, "dev") for one in ("run/model", "index"))
    assert by_model == by_index
    # The run measured the same model on the same collection.
    assert trained["measures"]["ndcg@10"]["mean"] == pytest.approx(by_model["measures"]["ndcg@10"]["mean"])


def test_train_leaves_the_run_that_the_design_names(done, folder):
    done("train", "recipe.yaml", "--out", "run", "--set", "data.limit=40")
    run = folder / "run"
    names = {path.name for path in run.iterdir()}
    assert names == {
        "model", "checkpoints", "recipe.yaml", "manifest.json", "journal.jsonl", "tensorboard", "runs",
        "evaluation.json", "data.json",
    }  # fmt: skip
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-2", "step-4"]
    assert yaml.safe_load((run / "recipe.yaml").read_text())["data"]["limit"] == 40
    assert len(read_run(run / "runs" / "before.trec")) == len(read_run(run / "runs" / "after.trec")) == 6
    words = rank_by_words(read_collection(folder / "dev"), ["ndcg@10", "mrr@10"])
    assert read_run(run / "runs" / "bm25.trec") == {query_id: ranking for query_id, ranking in words.items() if ranking}
    measured = json.loads((run / "evaluation.json").read_text())
    assert set(measured) == {"before", "bm25", "after", "difference"}
    assert set(measured["after"]) == {"ndcg@10", "mrr@10"}
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["kind"], manifest["steps"]) == ("run", 4)
    assert "model/model.safetensors" in manifest["files"]


def test_the_resolved_recipe_runs_again_to_the_same_weights(done, said, folder):
    done(
        "train",
        "recipe.yaml",
        "--out",
        "one",
        "--set",
        "seed=3",
        "--set",
        "method={name: simclr, projector: {hidden: 16, out: 8}}",
    )
    done("train", "one/recipe.yaml", "--out", "two")
    one, two = (json.loads((folder / name / "manifest.json").read_text()) for name in ("one", "two"))
    assert one["encoder"]["fingerprint"] == two["encoder"]["fingerprint"]
    done("train", "one/recipe.yaml", "--out", "three", "--set", "seed=4")
    three = json.loads((folder / "three" / "manifest.json").read_text())
    assert three["encoder"]["fingerprint"] != one["encoder"]["fingerprint"]


def test_the_manifest_names_the_encoder_that_the_model_folder_holds(done, said, folder):
    done("train", "recipe.yaml", "--out", "run", "--set", "encoder.prompts={query: 'ask: ', document: ''}")
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    assert said("index", "build", "run/model", "dev", "--out", "index")["encoder"] == manifest["encoder"]
    assert manifest["encoder"]["query_prompt"] == "ask: "


def test_train_prints_a_table_for_people(done):
    out = done("train", "recipe.yaml", "--out", "run").out
    assert "before" in out
    assert "ndcg@10" in out
    assert out.endswith("model: run/model\n")


def test_train_without_out_takes_the_next_number(done, folder):
    for _time in range(2):
        done("train", "recipe.yaml", "--set", "evaluation=null")
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["train-001", "train-002"]


@pytest.mark.parametrize(
    "sets",
    [
        ["data={train: pairs.jsonl, columns: {anchor: q, positive: a}, group: t}"],
        ["data={train: pairs.jsonl, column: q}"],
        ["data={train: dev}"],
        ["views={pair: {name: inverse_cloze}}"],
        ["views={first: [{name: crop}], second: [{name: dropout}]}"],
        [
            "method={name: simclr, projector: {hidden: 8, out: 4}}",
            "training.chunk_rows=3",
            "training.accumulate_steps=2",
        ],
        ["method={symmetric: false, same_side: true, temperature: 0.5}"],
        ["encoder.pooling=cls", "encoder.prompts={query: 'q: ', document: 'd: '}"],
    ],
    ids=lambda sets: sets[0].split("=")[0] + "-" + sets[0].split("=")[1][:24],
)
def test_every_kind_of_recipe_runs_and_makes_another_model(done, folder, sets):
    done("train", "recipe.yaml", "--out", "usual", "--set", "training.max_steps=2")
    words = [word for pair in ["training.max_steps=2", *sets] for word in ("--set", pair)]
    done("train", "recipe.yaml", "--out", "other", *words)
    usual, other = (json.loads((folder / one / "manifest.json").read_text()) for one in ("usual", "other"))
    assert usual["encoder"]["fingerprint"] != other["encoder"]["fingerprint"]


@pytest.mark.parametrize("pair", ["training.workers=1", "training.evaluate_every=1", "training.save_every=null"])
def test_what_only_helps_or_watches_makes_the_same_model(done, folder, pair):
    for out, word in (("usual", "training.log_every=2"), ("other", pair)):
        done("train", "recipe.yaml", "--out", out, "--set", "training.max_steps=2", "--set", word)
    usual, other = (json.loads((folder / one / "manifest.json").read_text()) for one in ("usual", "other"))
    assert usual["encoder"]["fingerprint"] == other["encoder"]["fingerprint"]


def test_the_best_step_is_the_one_with_the_highest_first_measure(said, folder):
    sets = ["evaluation.keep=best", "training.evaluate_every=1", "evaluation.measures=[mrr@10, ndcg@10]"]
    trained = said("train", "recipe.yaml", "--out", "run", *(word for pair in sets for word in ("--set", pair)))
    measured = {
        line["step"]: line["value"]
        for line in read_journal(folder / "run" / "journal.jsonl")
        if line["name"] == "mrr@10"
    }
    assert list(measured) == [1, 2, 3, 4]
    assert trained["kept_step"] == max(measured, key=lambda step: (measured[step], -step))
    assert trained["measures"]["mrr@10"]["mean"] == pytest.approx(measured[trained["kept_step"]])


@pytest.mark.slow
def test_half_precision_trains_in_a_process_of_its_own(done, textcl, folder):
    done("train", "recipe.yaml", "--out", "full")
    half = ["train", "recipe.yaml", "--set", "training.precision=bf16", "--out", "half"]
    answer = textcl(*half)  # this process has trained in full precision
    assert answer.faults == [
        "training.precision: this process has trained with another precision already; start a new one for this run"
    ]
    assert not (folder / "half").exists()
    subprocess.run([sys.executable, "-m", "textcl", *half], check=True, capture_output=True)
    assert yaml.safe_load((folder / "half" / "recipe.yaml").read_text())["training"]["precision"] == "bf16"
    full, other = (load_file(folder / one / "model" / "model.safetensors") for one in ("full", "half"))
    assert {tensor.dtype for tensor in other.values()} == {torch.float32}
    differences = [(full[name] - other[name]).abs().max().item() for name in full]
    assert 0 < max(differences) < 0.01


def test_encode_beyond_one_block_keeps_order_ids_and_vectors(done, folder, tiny_corpus, tiny_model_folder, monkeypatch):
    rows = [{"_id": f"d{place}", "text": text} for place, text in enumerate(tiny_corpus)]
    (folder / "named.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(encoding, "BLOCK_TEXTS", 7)
    done("encode", tiny_model_folder, "named.jsonl", "--out", "blocks")
    written = [json.loads(line) for line in (folder / "blocks" / "texts.jsonl").read_text().splitlines()]
    assert written == rows
    expected = embed_texts(load_encoder(tiny_model_folder), tiny_corpus).vectors
    assert np.abs(np.load(folder / "blocks" / "vectors.npy") - expected).max() < 1e-6


def test_encode_leaves_unit_vectors_in_the_order_of_their_texts(done, folder, tiny_corpus, tiny_model_folder):
    out = done("encode", tiny_model_folder, "texts.txt", "--out", "vectors", "--limit", "7").out
    assert out == "7 vectors of 32 numbers: vectors\n"
    vectors = np.load(folder / "vectors" / "vectors.npy")
    assert (vectors.shape, vectors.dtype) == ((7, 32), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    rows = [json.loads(line) for line in (folder / "vectors" / "texts.jsonl").read_text().splitlines()]
    assert rows == [{"_id": str(i), "text": text} for i, text in enumerate(tiny_corpus[:7])]


def test_a_column_can_be_named(said, tiny_model_folder):
    first = said("encode", tiny_model_folder, "pairs.jsonl", "--out", "q", "--column", "q")
    assert (first["rows"], first["cut_texts"]) == (60, 0)
    assert said("index", "build", tiny_model_folder, "pairs.jsonl", "--out", "i", "--column", "a")["rows"] == 60


def test_index_build_and_info_say_what_is_in_the_folder(done, said, tiny_model_folder):
    built = said("index", "build", tiny_model_folder, "texts.txt", "--out", "index")
    assert said("index", "info", "index") == built
    assert said("index", "verify", "index")["generation"] == 1
    shown = done("index", "info", "index").out
    assert "rows            60" in shown
    assert built["encoder"]["fingerprint"] in shown


@pytest.fixture
def index(done, tiny_model_folder):
    done("index", "build", tiny_model_folder, "dev", "--out", "index")
    return "index"


def test_a_document_finds_itself(done, said, index, tiny_corpus):
    (hit,) = said("search", index, tiny_corpus[4], "-k", "1")["hits"]
    assert (hit["id"], hit["text"]) == ("d4", tiny_corpus[4])
    assert hit["score"] == pytest.approx(1, abs=1e-6)
    assert done("search", index, tiny_corpus[4], "-k", "1").out == f"1.000  d4  {tiny_corpus[4]}\n"


def test_a_search_can_leave_out_low_scores(said, index, tiny_corpus):
    everything = said("search", index, tiny_corpus[4], "-k", "30")["hits"]
    assert len(everything) == 30
    middle = everything[10]["score"]
    assert said("search", index, tiny_corpus[4], "-k", "30", "--at-least", str(middle))["hits"] == everything[:11]


def test_a_file_of_queries_is_answered_as_a_run(done, said, index, folder):
    asked = ["search", index, "--queries", "dev/queries.jsonl", "--run", "answers.trec"]
    assert said(*asked, "-k", "3") == {"run": "answers.trec", "queries": 6}
    run = read_run(folder / "answers.trec")
    assert {query: len(ranking) for query, ranking in run.items()} == {f"q{i}": 3 for i in range(6)}
    texts = [json.loads(line)["text"] for line in (folder / "dev" / "queries.jsonl").read_text().splitlines()]
    hits = said("search", index, texts[2], "-k", "3")["hits"]
    assert [doc for doc, _score in run["q2"]] == [hit["id"] for hit in hits]
    assert done(*asked, "-k", "3").out == "6 queries answered: answers.trec\n"


def test_an_index_is_searched_with_its_encoder_where_that_is_now(said, done, index, folder, tiny_model_folder):
    assert said("search", index, "bees", "--model", tiny_model_folder) == said("search", index, "bees")


def test_evaluate_retrieval_prints_measures_and_writes_the_run(done, said, folder, tiny_model_folder):
    words = ["evaluate", "retrieval", tiny_model_folder, "dev", "--measures", "recall@5,map", "--run", "made.trec"]
    found = said(*words)
    assert list(found["measures"]) == ["recall@5", "map"]
    assert found["measures"]["map"]["queries"] == 6
    assert 0 <= found["measures"]["map"]["low"] <= found["measures"]["map"]["mean"] <= 1
    assert len(read_run(folder / "made.trec")) == 6
    said(*words[:-1], "new/folder/made.trec")
    assert (folder / "new" / "folder" / "made.trec").read_bytes() == (folder / "made.trec").read_bytes()
    table = done(*words).out
    assert f"map           {found['measures']['map']['mean']:>8.4f}" in table
    assert table.endswith("6 judged queries\n")


def test_search_by_words_stands_beside_every_ranking(done, said, folder, tiny_model_folder):
    words = ["evaluate", "retrieval", tiny_model_folder, "dev", "--measures", "mrr@5"]
    found = said(*words)
    collection = read_collection(folder / "dev")
    runs = {"bm25": rank_by_words(collection, ["mrr@5"])}
    runs["fused"] = reciprocal_rank_fusion(
        [rank_collection(load_encoder(tiny_model_folder), collection, ["mrr@5"]).run, runs["bm25"]]
    )
    expected = {name: evaluate_run(run, collection.qrels, ["mrr@5"]).to_json() for name, run in runs.items()}
    assert found["baselines"] == expected
    table = done(*words).out
    for name in runs:
        assert f"  {name:<12}{expected[name]['mrr@5']['mean']:>8.4f}" in table
    assert said(*words, "--no-bm25")["baselines"] == {}
    assert "bm25" not in done(*words, "--no-bm25").out


def test_texts_shared_with_training_are_said_with_their_line(done, folder, tiny_model_folder, tiny_corpus):
    rows = [{"q": "clean", "a": "free"}, {"q": "clean", "a": tiny_corpus[2].upper()}, {"q": tiny_corpus[29], "a": "-"}]
    write_jsonl(folder / "seen.jsonl", rows)
    found = done("evaluate", "retrieval", tiny_model_folder, "dev", "--training", "seen.jsonl").err
    assert "1 of 3 rows of seen.jsonl hold a text that is evaluated on, the first one on line 2" in found
    found = done("evaluate", "sts", tiny_model_folder, "sts.tsv", "--training", "seen.jsonl", "--training", "texts.txt")
    assert "1 of 3 rows of seen.jsonl hold a text that is evaluated on, the first one on line 2" in found.err
    assert "20 of 60 rows of texts.txt hold a text that is evaluated on, the first one on line 1" in found.err


def test_ids_that_a_run_file_cannot_hold_are_refused_before_anything_is_encoded(
    textcl, folder, tiny_model_folder, encoded
):
    corpus = folder / "dev" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace('"_id": "d20"', '"_id": "d 20"'))
    answer = textcl("evaluate", "retrieval", tiny_model_folder, "dev", "--run", "made.trec")
    assert answer.code == 2
    assert answer.faults == ["made.trec: document id 'd 20' is empty or has white space; a run file cannot hold it"]
    assert encoded == []


def test_a_second_evaluation_embeds_nothing(said, folder, tiny_model_folder, encoded, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    words = ["evaluate", "retrieval", tiny_model_folder, "dev"]
    first = said(*words)
    assert encoded == [30, 6]
    assert said(*words) == first == said(*words, "--no-keep")
    assert encoded == [30, 6]


def test_a_shorter_token_limit_changes_the_ranking(said, folder, tiny_model_folder):
    runs = []
    for limit in ("5", "64"):
        said("evaluate", "retrieval", tiny_model_folder, "dev", "--max-tokens", limit, "--run", "made.trec")
        runs.append(read_run(folder / "made.trec"))
    assert runs[0] != runs[1]


def test_evaluate_sts_correlates_the_rows_of_a_split(done, said, tiny_model_folder):
    every = said("evaluate", "sts", tiny_model_folder, "sts.tsv")
    assert set(every["measures"]) >= {"spearman", "pearson"}
    test = said("evaluate", "sts", tiny_model_folder, "sts.tsv", "--split", "test")
    assert test["measures"] != every["measures"]
    assert done("evaluate", "sts", tiny_model_folder, "sts.tsv", "--split", "test").out.endswith("  12 pairs\n")


def test_recipe_check_prints_the_resolved_recipe(done, said, tiny_model_folder):
    out = done("recipe", "check", "recipe.yaml", "--set", "seed=5").out
    assert yaml.safe_load(out) == said("recipe", "check", "recipe.yaml", "--set", "seed=5")
    assert yaml.safe_load(out)["method"]["temperature"] == 0.05


def test_recipe_schema_is_a_json_schema(done):
    schema = json.loads(done("recipe", "schema").out)
    assert set(schema["properties"]) == {
        *("seed", "encoder", "data", "negatives", "views", "method", "training", "development", "evaluation")
    }
