"""`textcl report`: what it takes from the folders of runs, and what it refuses."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from tests import oracles
from tests.small_data import write_collection, write_jsonl, write_lines, write_recipe
from textcl.artifacts import write_manifest
from textcl.assemble.reporting import report
from textcl.assemble.reporting_files import read_run_folder
from textcl.assemble.reporting_rankings import score_rankings
from textcl.assemble.reporting_vectors import draw_sample, neighbourly, principal
from textcl.assemble.training import train
from textcl.cli.app import run as run_command
from textcl.corpus.collection import read_collection
from textcl.evaluation.runs import read_run, write_run
from textcl.index.store import FORMAT_VERSION, KIND


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_corpus, tiny_model_folder):
    """A folder with two runs and the collection on which they were evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    write_lines(folder / "texts.txt", tiny_corpus)
    dev = write_collection(folder / "dev", tiny_corpus, queries=30)
    queries = [{"_id": f"q{i}", "text": " ".join(text.split()[: 2 + i % 5])} for i, text in enumerate(tiny_corpus[:30])]
    write_jsonl(dev / "queries.jsonl", queries)
    documents = [
        {"_id": f"d{i}", "title": "", "text": f"{text} <script>alert({i})</script>", "kind": "ab"[i % 2]}
        for i, text in enumerate(tiny_corpus)
    ]
    write_jsonl(dev / "corpus.jsonl", documents)
    more = f"evaluation: {{collection: {dev}, measures: [ndcg@10, recall@10]}}\n"
    recipe = write_recipe(folder, tiny_model_folder, folder / "texts.txt", more)
    for name, steps in (("one", 3), ("two", 5)):
        train(recipe, set={"training.max_steps": steps}, out=folder / name)
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of it that a test may change."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


def figures(page):
    return json.loads(page.read_text().split('id="figures">')[1].split("</script>")[0])


def test_a_report_has_all_that_the_run_has(textcl, trained, work):
    answer = textcl("report", trained / "one", "--out", "report.html", "--json")
    assert answer.code == 0, answer.err
    said = json.loads(answer.out)
    assert said == {"report": "report.html", "bytes": (work / "report.html").stat().st_size, "missing": []}
    assert said["bytes"] < 6_000_000
    drawn = figures(work / "report.html")
    assert {"changes", "levels", "loss", "health-alignment", "health-effective-rank", "speed-tokens-per-s"} < set(drawn)
    assert {"similarities-0", "map-0-before", "map-0-after"} < set(drawn)
    assert {trace["name"] for trace in drawn["map-0-after"]["data"]} == {"a", "b"}  # the field of the documents
    page = (work / "report.html").read_text()
    assert "<script>alert(" not in page
    assert "&lt;script&gt;alert(" in page
    stored = json.loads((trained / "one" / "evaluation.json").read_text())
    change = 100 * stored["difference"]["ndcg@10"]["difference"]
    assert drawn["changes"]["data"][0]["x"][0] == pytest.approx(change, abs=1e-3)


def test_two_runs_stand_side_by_side_and_the_file_is_the_same_each_time(trained, tmp_path):
    for name in ("first", "second"):
        said = report([trained / "one", trained / "two"], out=tmp_path / f"{name}.html", sample=20)
        assert said == []
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    drawn = figures(tmp_path / "first.html")
    assert [trace["name"] for trace in drawn["loss"]["data"]] == ["one", "two"]
    assert [len(trace["x"]) for trace in drawn["loss"]["data"]] == [3, 5]
    assert "training.max_steps" in (tmp_path / "first.html").read_text().split("<caption>Settings that differ")[1]


def test_the_map_is_made_by_umap_or_by_principal_components(trained, tmp_path):
    pages = {}
    for by in ("umap", "pca", None):
        report([trained / "one"], out=tmp_path / f"{by}.html", sample=20, by=by)
        pages[by] = (tmp_path / f"{by}.html").read_text()
    assert "two dimensions of UMAP" in pages["umap"]
    assert "first two principal components" in pages["pca"]
    assert pages[None] == pages["umap"]  # it is installed here
    words = ["report", str(trained / "one"), "--out", str(tmp_path / "x.html"), "--map", "tsne"]
    assert run_command(words) == 2
    assert not (tmp_path / "x.html").exists()


def test_umap_keeps_groups_apart_and_is_the_same_each_time():
    rng = np.random.default_rng(0)
    rows = np.repeat(np.eye(3, 16), 20, axis=0) + 0.05 * rng.normal(size=(60, 16))
    threads = torch.get_num_threads()
    points = neighbourly(rows)
    assert torch.get_num_threads() == threads
    assert points.shape == (60, 2)
    middles = points.reshape(3, 20, 2).mean(axis=1)
    inside = np.linalg.norm(points.reshape(3, 20, 2) - middles[:, None], axis=2).max()
    assert min(np.linalg.norm(middles[one] - middles[other]) for one, other in ((0, 1), (0, 2), (1, 2))) > 2 * inside
    np.testing.assert_array_equal(neighbourly(rows), points)


def test_bm25_and_an_index_are_shown_where_they_are(runs, tmp_path):
    write_run(runs / "one" / "runs" / "bm25.trec", read_run(runs / "one" / "runs" / "before.trec"))
    index = runs / "one" / "answers.index"
    (index / "shards").mkdir(parents=True)
    point = {"settings": {"nprobe": 4}, "recall": 0.9, "p50_ms": 1.0, "p95_ms": 2.0, "queries_per_s": 10}
    lost = {name: {"mean": mean} for name, mean in (("model", 40.0), ("quantisation", 10.0), ("search", 10.0))}
    facts = {"curve": [point], "decomposition": {"measures": {"ndcg@10": lost}}}
    write_manifest(index, KIND, FORMAT_VERSION, facts)
    report([runs / "one"], out=tmp_path / "report.html", sample=0)
    drawn = figures(tmp_path / "report.html")
    assert drawn["recall-latency"]["data"][0]["text"] == ["nprobe=4<br>p95 2 ms, 10 queries a second"]
    assert drawn["decomposition"]["data"][0]["x"] == [pytest.approx(40.0)]
    assert [trace["name"] for trace in drawn["levels"]["data"]] == ["base model", "BM25", "trained model"]
    head = (tmp_path / "report.html").read_text().split("<tbody")[0]
    assert "trained model less BM25" in head
    write_manifest(index, KIND, FORMAT_VERSION, {**facts, "curve": [{"recall": 0.9}]})
    assert run_command(["report", str(runs / "one"), "--out", str(tmp_path / "x.html")]) == 2


def test_what_cannot_be_reached_is_left_out_and_said(runs, tmp_path):
    shutil.rmtree(runs / "one" / "model")
    said = report([runs / "one"], out=tmp_path / "first.html", sample=20)
    assert len(said) == 1
    assert said[0].startswith("similarities and map of the trained model: ")
    assert "map-0-before" in figures(tmp_path / "first.html")
    shutil.rmtree(runs / "dev")
    shutil.move(runs / "one", tmp_path / "moved")
    recipe = tmp_path / "moved" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("/dev", "/gone"))
    (tmp_path / "moved" / "manifest.json").unlink()
    said = report([tmp_path / "moved"], out=tmp_path / "second.html")
    assert said[0] == "fingerprints and versions: the run is not complete"
    assert said[1].startswith("worst queries, groups of queries, similarities and map: the run's collection cannot be ")
    assert {"changes", "levels", "loss"} < set(figures(tmp_path / "second.html"))  # evaluation.json still says these


def test_a_changed_collection_is_noticed(runs, tmp_path):
    qrels = runs / "dev" / "qrels" / "test.tsv"
    judged = [f"q{number}\td{number + 1}\t1" for number in range(30)]
    write_lines(qrels, ["query-id\tcorpus-id\tscore", *judged])
    said = report([runs / "one"], out=tmp_path / "out.html", sample=0, collection=runs / "dev")
    assert any("has changed since the run was evaluated" in sentence for sentence in said)


def test_the_worst_queries_have_the_lowest_values_and_what_should_have_been_found(trained):
    files, collection = read_run_folder(trained / "one"), read_collection(trained / "dev")
    found = score_rankings(files, collection, ["ndcg@10", "recall@10"], seed=0)
    ranking = {query_id: [doc_id for doc_id, _score in one] for query_id, one in files.rankings["after"].items()}
    values = {query_id: oracles.ndcg(ranking[query_id], collection.qrels[query_id], 10) for query_id in ranking}
    assert [one.value for one in found.worst] == pytest.approx(sorted(values.values())[:20])
    for one in found.worst:
        assert [document.doc_id for document in one.found] == ranking[one.query_id][:3]
        (wanted,) = one.wanted
        assert wanted.doc_id == one.query_id.replace("q", "d")
        assert wanted.relevant
        place = ranking[one.query_id].index(wanted.doc_id) + 1 if wanted.doc_id in ranking[one.query_id] else None
        assert wanted.rank == place
    assert sum(one.queries for one in found.slices) == 30
    assert [one.name for one in found.slices] == ["2 to 3 words", "4 to 5 words", "6 words"]
    means = [one.systems["after"]["ndcg@10"]["mean"] * one.queries for one in found.slices]
    assert sum(means) / 30 == pytest.approx(sum(values.values()) / 30)


def test_stored_slices_come_before_computed_ones(runs):
    path = runs / "one" / "evaluation.json"
    evaluation = json.loads(path.read_text())
    one = {"by": "topic", "name": "bees", "queries": 4, "after": evaluation["after"], "before": evaluation["before"]}
    path.write_text(json.dumps({**evaluation, "slices": [one]}))
    found = score_rankings(read_run_folder(runs / "one"), None, ["ndcg@10"], seed=0)
    assert [(one.by, one.name, one.queries, sorted(one.systems)) for one in found.slices] == [
        ("topic", "bees", 4, ["after", "before"])
    ]


def test_the_sample_is_drawn_without_repeats_and_shows_frequent_values(trained):
    collection = read_collection(trained / "dev")
    sample = draw_sample(collection, trained / "dev", 20, None, seed=3)
    assert len(sample.drawn) == len(set(sample.drawn.tolist())) == 20
    assert not set(sample.more.tolist()) & set(sample.drawn.tolist())
    assert sample.field == "kind"
    assert [collection.doc_ids[place] for place in sample.positives] == [
        collection.query_ids[query].replace("q", "d") for query in sample.queries
    ]
    other = draw_sample(collection, trained / "dev", 20, None, seed=4)
    assert sample.drawn.tolist() != other.drawn.tolist()


def test_principal_components_are_those_of_the_covariance():
    rows = np.random.default_rng(0).normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1] + 2
    points, shares = principal(rows, rows[:10])
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    expected = (rows[:10] - rows.mean(axis=0)) @ vectors[:, [-1, -2]]
    assert np.abs(points) == pytest.approx(np.abs(expected))
    assert shares == pytest.approx((values[-1] / values.sum(), values[-2] / values.sum()))


# --- what is refused ------------------------------------------------------------------------------------------------


def test_folders_that_are_no_runs(refused, trained, work):
    (work / "empty").mkdir()
    assert refused("report", "empty", "--out", "x.html") == [
        "empty: no run here (recipe.yaml and journal.jsonl are missing); name the --out of textcl train or textcl demo"
    ]
    assert refused("report", "none", "--out", "x.html") == ["none: no such folder; name the folder of a run"]
    (work / "seeds" / "seed-0").mkdir(parents=True)
    (work / "seeds" / "seed-0" / "recipe.yaml").touch()
    assert refused("report", "seeds", "--out", "x.html") == ["seeds: holds a run for each seed; name those: seed-0"]
    assert refused("report", trained / "one", trained / "one", "--out", "x.html") == [
        "dir: a folder is named twice; name each run once"
    ]
    (fault,) = refused("report", *[trained / "one"] * 7, "--out", "x.html")
    assert fault.startswith("dir: expected 1 to 6 folders")


def test_an_out_that_exists(refused, textcl, trained, work):
    (work / "x.html").write_text("mine")
    (fault,) = refused("report", trained / "one", "--out", "x.html")
    assert fault == "out: x.html exists already; name another file, or add --force to replace it"
    assert refused("report", trained / "one", "--out", ".") == ["out: . is a folder; name a file"]
    assert textcl("report", trained / "one", "--out", "x.html", "--force", "--sample", "0").code == 0
    assert (work / "x.html").read_text().startswith("<!DOCTYPE html>")


def test_the_extra_is_asked_for_before_anything_is_read(refused, work, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert refused("report", "none", "--out", "x.html") == [
        "a report needs an optional package: pip install 'textcl[report]'"
    ]


def test_wrong_settings(refused, trained, work, tiny_corpus):
    one = trained / "one"
    (fault,) = refused("report", one, "--out", "x.html", "--field", "colour")
    assert fault.startswith("field: expected a column of the documents or the queries of ")
    assert refused("report", one, "--out", "x.html", "--sample", "2") == [
        "sample: expected at least 3 documents, or 0 for none, got 2"
    ]
    (fault,) = refused("report", one, "--out", "x.html", "--collection", "gone")
    assert fault.startswith("gone: no such folder")
    (fault,) = refused("report", one, "--out", "x.html", "--index", one)
    assert fault.endswith("is a run, not a index")
    other = write_collection(work / "other", tiny_corpus)
    for path in (other / "queries.jsonl", other / "qrels" / "test.tsv"):
        path.write_text(path.read_text().replace("q", "other").replace("otheruery", "query"))
    (fault,) = refused("report", one, "--out", "x.html", "--collection", "other")
    assert "judges none of the queries in " in fault


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("journal.jsonl", "{}\n", "is damaged: a line has no step, name and value"),
        ("evaluation.json", "[1", "is damaged: not JSON"),
        ("evaluation.json", '{"slices": [1]}', "its slices are not of the form"),
        ("manifest.json", '{"kind": "index"}', "is a index, not a run"),
        ("runs/after.trec", "q0 Q0 d1 1 x textcl\n", "score: expected a number"),
    ],
)
def test_a_damaged_file_is_named(refused, runs, name, text, problem):
    (runs / "one" / name).write_text(text)
    (fault,) = refused("report", runs / "one", "--out", "x.html")
    assert problem in fault
    assert str(runs / "one") in fault
