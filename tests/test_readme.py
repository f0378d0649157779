"""The commands and the Python of the README run as they stand, on small files with the names it uses."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

import pytest

from tests.small_data import write_lines
from tests.views.test_apertium import installed
from textcl.assemble.baselines import rank_by_words
from textcl.cli.app import run as run_here
from textcl.corpus.collection import read_collection
from textcl.evaluation.measures import DEFAULT_MEASURES
from textcl.evaluation.retrieval import evaluate_run
from textcl.index.families import family_of
from textcl.index.store import open_index
from textcl.recipe.methods import METHODS
from textcl.recipe.views import TAGGED_MODELS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

QUESTIONS = {
    "How is anemia treated?": "Anemia is treated with iron tablets, or with a transfusion when it is severe.",
    "What causes asthma?": "Asthma is caused by swollen airways that react to dust, cold air and smoke.",
    "Is measles contagious?": "Measles spreads through the air and is one of the most contagious diseases.",
    "How is a broken arm healed?": "A broken arm is set straight and held in a cast for about six weeks.",
    "Who should get a flu shot?": "Everybody older than six months should get a shot against influenza each year.",
    "What helps against migraine?": "Rest in a dark room and some pain relievers help against migraine.",
}


@pytest.fixture
def folder(tmp_path):
    """A folder with everything that the README's commands name."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    rows = [{"question": question, "answer": answer} for question, answer in QUESTIONS.items()]
    write_jsonl(tmp_path / "faq.jsonl", rows)
    answers = [row["answer"] for row in rows] + [f"{row['answer']} Part {n}." for n in range(4) for row in rows]
    documents = [
        {"_id": str(i), "text": answer, "topic": "blood" if i < 3 else "other"} for i, answer in enumerate(answers)
    ]
    write_jsonl(tmp_path / "answers.jsonl", documents)
    write_jsonl(tmp_path / "more.jsonl", [{**documents[0], "_id": name} for name in ("2", "new")])
    (tmp_path / "queries.txt").write_text("".join(f"{row['question']} {n}\n" for n in range(5) for row in rows))
    with gzip.open(tmp_path / "sentences.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(QUESTIONS.values()) + "\n")
    collection = tmp_path / "collection"
    (collection / "qrels").mkdir(parents=True)
    documents = [{"_id": str(i), "title": "", "text": row["answer"]} for i, row in enumerate(rows)]
    write_jsonl(collection / "corpus.jsonl", documents)
    write_jsonl(collection / "queries.jsonl", [{"_id": f"q{i}", "text": row["question"]} for i, row in enumerate(rows)])
    judged = "".join(f"q{i}\t{i}\t1\n" for i in range(len(rows)))
    (collection / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    graded = [f"{question}\t{answer}\t{i}\ttest\n" for i, (question, answer) in enumerate(QUESTIONS.items())]
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\tscore\tsplit\n" + "".join(graded))
    return tmp_path


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def commands(start="## On your own text", end="`textcl encode"):
    """The `textcl` lines of a section, that on one's own text unless named, with their continuation lines."""
    section = README.split(start)[1].split(end)[0]
    joined = section.replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in joined.splitlines() if line.strip().startswith("textcl ")]


def run(arguments, folder):
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False, env=os.environ)


@pytest.mark.slow
def test_the_commands_of_the_readme_run_one_after_the_other(folder):
    found = commands()
    found += commands("## Indexes", "`textcl search DIR` alone")
    assert len(found) == 7 + 11
    for command in found:
        done = run([sys.executable, "-m", *command], folder)
        assert done.returncode == 0, (command, done.stderr[-2000:])
    assert (folder / "runs" / "faq" / "model" / "modules.json").exists()
    assert (folder / "after.trec").read_text().startswith("q0 Q0 ")
    assert (folder / "report.html").stat().st_size > 1_000_000
    with open_index(folder / "fast.index") as index:
        assert (index.documents, index.manifest["factory"], len(index.shards)) == (29, "HNSW32", 1)


def test_the_commands_of_evaluation_run_as_they_stand(folder, monkeypatch, tiny_model_folder, tiny_corpus):
    monkeypatch.chdir(folder)
    for name in ("before", "after", "a0", "a1", "b0", "b1"):
        ranked = [f"q{i} Q0 {i if name[0] in 'ba' else 9} 1 {1 + i} x\n" for i in range(6)]
        (folder / f"{name}.trec").write_text("".join(ranked))
    (folder / "test.tsv").write_bytes((folder / "collection" / "qrels" / "test.tsv").read_bytes())
    write_jsonl(
        folder / "pairs.jsonl",
        [{"sentence1": "a b", "sentence2": one[:9], "label": i % 2} for i, one in enumerate(tiny_corpus)],
    )
    rows = [f"{one}\t{i % 2}\t{'test' if i % 3 == 0 else 'train'}" for i, one in enumerate(tiny_corpus)]
    write_lines(folder / "labelled.tsv", ["text\tlabel\tsplit", *rows])
    write_lines(folder / "normal.txt", tiny_corpus)
    write_lines(folder / "texts.txt", tiny_corpus)
    write_jsonl(folder / "texts.jsonl", [{"_id": str(i), "text": one} for i, one in enumerate(tiny_corpus)])
    write_lines(folder / "known.csv", ["id1,id2", "0,1"])
    found = commands("## Is it better?", "Below each measure")
    assert len(found) == 12
    for command in found:
        if command[2] != "mteb":  # needs copies of its datasets, as tests/cli/test_mteb.py makes them
            words = [
                str(tiny_model_folder) if word == "MODEL" else word.replace("384,128", "32,8") for word in command[1:]
            ]
            assert run_here(words) == 0, command
    assert (folder / "mined.jsonl").exists()
    assert (folder / "queries.jsonl").exists()


@pytest.mark.slow
@installed
def test_the_commands_on_views_run_one_after_the_other(folder):
    found = commands("## Views", "## Methods")
    assert [command[2] for command in found] == ["show", "audit", "build"]
    for command in found:
        done = run([sys.executable, "-m", *command, "--set", f"views.store={folder / 'store'}"], folder)
        assert done.returncode == 0, (command, done.stderr[-2000:])
    assert (folder / "store" / "views.sqlite").exists()


@pytest.mark.slow
def test_the_commands_on_mining_run_one_after_the_other(folder):
    things = "kettle carpet violin bicycle window oven mirror saddle lantern anchor chimney piano keyboard tent".split()
    pairs = [
        {"anchor": f"How is a {thing} cleaned?", "positive": f"Clean a {thing} with {tool}."}
        for thing, tool in zip(things, itertools.cycle(["warm water", "a soft brush", "vinegar"]))
    ]
    write_jsonl(folder / "pairs.jsonl", pairs)
    found = commands("## Negatives, duplicates, batches", "## Runs")
    assert [command[1] for command in found] == ["mine", "train"]
    for command in found:
        done = run([sys.executable, "-m", *command], folder)
        assert done.returncode == 0, (command, done.stderr[-2000:])
    assert "negative_1" in (folder / "mined.jsonl").read_text()
    assert (folder / "runs" / "mined" / "model" / "modules.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("place", "printed"), [(0, "train_loss"), (1, '"ndcg@10"')])
def test_the_python_of_the_readme_runs(folder, place, printed):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    done = run([sys.executable, "-c", blocks[place]], folder)
    assert done.returncode == 0, done.stderr[-2000:]
    assert printed in done.stdout.replace("'", '"')


@pytest.mark.slow
def test_the_recipes_of_the_readme_are_sound(folder):
    *parts, whole = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    names = ("views", "method", "options", "negatives", "sources")
    recipes = dict(zip(names, parts, strict=True)) | {"whole": whole}
    for name, text in recipes.items():
        data = "" if text.startswith("data:") or name == "whole" else "data: {train: sentences.txt.gz}\n"
        (folder / f"{name}.yaml").write_text(data + text, encoding="utf-8")
    checked = {
        name: run([sys.executable, "-m", "textcl", "recipe", "check", f"{name}.yaml", "--json"], folder)
        for name in recipes
    }
    for done in checked.values():
        assert done.returncode == 0, done.stderr
    assert json.loads(checked["views"].stdout)["views"]["second"][0]["min_similarity"] == 0.8
    assert json.loads(checked["method"].stdout)["method"]["temperature"]["most"] == 0.2
    assert json.loads(checked["options"].stdout)["development"]["by"] == "spearman"
    assert json.loads(checked["negatives"].stdout)["method"]["positives"] == "group"
    assert [one["name"] for one in json.loads(checked["sources"].stdout)["data"]["sources"]] == ["faq", "nli", "web"]
    assert json.loads(checked["whole"].stdout)["views"]["second"][1]["rate"] == 0.15


def test_every_view_of_a_recipe_is_in_the_readme():
    section = README.split("## Views")[1].split("```yaml")[0]
    named = {name for name, model in TAGGED_MODELS.items() if model is not None} - {"apertium", "marian", "ramp"}
    assert [name for name in sorted(named) if f"`{name}`" not in section] == []


def test_every_method_of_a_recipe_is_in_the_readme():
    section = README.split("## Methods")[1].split("```yaml")[0]
    named = set(METHODS) - {"scheduled", "learned"}
    assert len(named) == 9
    assert [name for name in sorted(named) if f"`{name}`" not in section] == []


def test_every_path_of_the_map_exists():
    rows = re.findall(r"^\| `([^`]+)`", README.split("## The map")[1].split("## Views")[0], re.MULTILINE)
    assert len(rows) > 10
    assert [path for path in rows if not (ROOT / path).exists()] == []


def test_every_folder_of_the_package_is_on_the_map():
    folders = {path.name for path in (ROOT / "textcl").iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert [name for name in sorted(folders) if f"`textcl/{name}/`" not in README] == []


def result(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_demo_table_is_that_of_the_first_seed():
    for name, row in result("demo_seeds")["runs"][0]["difference"].items():
        before, after, change, low, high = (100 * row[key] for key in ("before", "after", "difference", "low", "high"))
        assert f"{name:<14}{before:>8.1f}{after:>8.1f}{change:>+9.1f}   {low:+.1f} to {high:+.1f}" in README


def test_what_bm25_reaches_in_the_demo_is_computed():
    collection = read_collection(ROOT / "textcl" / "demo_data" / "test")
    found = evaluate_run(rank_by_words(collection, DEFAULT_MEASURES), collection.qrels, DEFAULT_MEASURES, resamples=1)
    numbers = "  ".join(f"{name} {100 * one.mean:.1f}" for name, one in found.measures.items())
    assert f"BM25          {numbers}" in README


def test_the_spread_over_seeds_is_the_measured_one():
    for name, row in result("demo_seeds")["measures"].items():
        change = row["difference"]
        assert len(change["values"]) >= 3
        numbers = f"| {row['before']['mean']:.1f} | {row['after']['mean']:.1f} | {change['mean']:+.1f} "
        assert f"{name}, mean of {len(change['values'])} seeds {numbers}" in README


def test_the_published_scores_are_the_measured_ones_and_within_their_tolerance():
    for name, row in result("published")["scores"].items():
        assert f"| {name} | {row['measured']:.4f} | {row['expected']:.3f} |" in README
        assert abs(row["measured"] - row["expected"]) <= row["tolerance"]


def test_the_speed_of_the_views_is_the_measured_one_and_what_was_promised():
    measured = result("views")
    views = {(one["name"], one["batch_rows"]): one for one in measured["one_core"]["views"]}
    rows = re.findall(r"^\| (\w+), batches of 64 \| ([\d,]+) \| ([\d.]+) \|$", README, re.MULTILINE)
    assert len(rows) >= 5
    for name, rate, ratio in rows:
        one = views[name, 64]
        assert f"{one['texts_per_s']['median']:,.0f}" == rate
        assert f"{one['times_nlpaug']['median']:.1f}" == ratio
    tokens = ("mask", "span_mask", "replace", "cutoff", "delete", "shuffle", "repeat", "crop")
    assert min(views[name, 64]["texts_per_s"]["median"] for name in tokens) >= 100_000
    assert min(views[name, 64]["times_nlpaug"]["median"] for name in tokens) >= 8
    (waited,) = [
        one["waited_fraction"] for one in measured["training"]["views"] if (one["name"], one["workers"]) == ("mask", 0)
    ]
    assert waited < 0.02
    assert f"waits {100 * waited:.2f} % of its time" in README


def test_the_table_of_methods_is_the_measured_one():
    measured, costs = result("methods"), result("methods_cost")["methods"]
    rows = {name: one["after"] for name, one in measured["methods"].items()}
    assert rows.keys() == set(METHODS) - {"scheduled", "learned"}
    for name, one in {"before": measured["methods"]["pairs"]["before"], **rows}.items():
        numbers = f"{one['sts_dev_spearman']:.4f} | {one['info_nce']:.3f} | {one['effective_rank']:.0f}"
        numbers += f" | {one['uniformity']:.2f} | {one['alignment']:.2f} |"
        if name in costs:
            numbers += f" {costs[name]['times_pairs']['median']:.2f} | {costs[name]['peak_mib']:,.0f} |"
        assert f"| {name} | {numbers}" in README


def test_what_masking_finds_and_changes_is_what_was_measured():
    measured = result("false_negatives")
    for name, sizes in measured["shares"].items():
        one = sizes["1024"]
        ways = ("equal texts", "near-duplicates at 0.8", "guide above 0.9")
        found = " | ".join(f"{100 * one['ways'][way]['of_known_found']:.0f} %" for way in ways)
        assert f"| {name} | {100 * one['rows_with_a_known_one_in_batch']:.1f} % | {found} |" in README
    for way, seeds in measured["training"]["ways"].items():
        assert len(seeds) >= 3
        cells = [
            f"{mean(values):.4f} ± {stdev(values):.4f}"
            for values in ([one[name] for one in seeds] for name in ("quora_dev_average_precision", "sts_dev_spearman"))
        ]
        assert f"| {way} | {cells[0]} | {cells[1]} |" in README


def test_what_mined_negatives_change_is_what_was_measured():
    data = result("mining_training")["data"]
    for way, one in data["scifact"]["ndcg@10"].items():
        other = data["squad-sentences"]["ndcg@10"].get(way)
        cells = ["" if row is None else _with_deviation(row["after"]) for row in (one, other)]
        assert f"| {way} | {cells[0]} | {cells[1]} |" in README


def _with_deviation(row):
    assert len(row["values"]) >= 3
    return f"{row['mean']:.4f} ± {row['deviation']:.4f}"


def test_the_memory_and_time_of_a_step_are_the_measured_ones_and_what_was_asked():
    measured = result("memory")["batches"]
    assert list(measured) == ["64", "256", "1024", "4096"]
    for pairs, ways in measured.items():
        cached, theirs = ways["chunk_tokens"], ways["sentence_transformers"]
        plain = f"{ways['plain']['peak_mib']:,.0f}" if "peak_mib" in ways["plain"] else ""
        times = f"{cached['times_plain']:.2f}" if plain else ""
        other = cached["times_sentence_transformers"]
        numbers = f"{plain} | {cached['peak_mib']:,.0f} | {theirs['peak_mib']:,.0f} | {times} | {other:.2f} |"
        assert f"| {int(pairs):,} | {numbers}" in README
        for way in (cached, ways["chunk_rows"]):
            assert way["times_sentence_transformers"] <= 1
            assert way["peak_mib"] <= theirs["peak_mib"]
            assert not plain or way["times_plain"] <= 1.4


def test_near_duplicates_take_the_time_that_was_measured():
    (one,) = [row for row in result("duplicates")["wiki_sentences"] if row["threshold"] == 0.8]
    assert one["texts"] == 500_000
    assert f"grouped at 0.8 in {one['took_s']:.0f} s" in README


def test_every_method_trained_300_steps_in_health_and_lowered_the_loss_on_unseen_pairs():
    measured = result("methods")
    assert (measured["setting"]["steps"], measured["setting"]["texts"]) == (300, 20_000)
    for name, one in measured["methods"].items():
        assert one["steps"] == 300, name
        assert one["rank_share"] >= 0.5, name
        assert one["after"]["info_nce"] < one["before"]["info_nce"], name


def test_what_back_translations_keep_is_the_measured_one():
    for one in result("views_audit")["back_translate"]["thresholds"]:
        least, audit = one["min_similarity"], one["audit"]
        name = "none" if least is None else f"{least:g}"
        numbers = f"{audit['cosine']:.3f} | {audit['quantiles']['0.05']:.3f} | {one['fall_back']}"
        assert f"| {name} | {numbers} |" in README


def test_the_speed_of_training_is_the_measured_one():
    one_machine, gpu = result("train_throughput"), result("train_throughput_cuda_bf16")
    rows = [(name, one_machine, one) for name, one in one_machine["sets"].items()]
    rows += [(name, gpu, one) for name, one in gpu["sets"].items()]
    assert len(rows) == 3
    for name, measured, one in rows:
        settings, ours = measured["settings"], one["textcl"]
        where = {("cpu", 2): "two cores", ("NVIDIA H100 80GB HBM3", 16): "H100"}[
            settings["device"], settings["threads"]
        ]
        setting = f"{name}, {where}, {settings['precision']}, batches of {settings['batch']}"
        numbers = f"{ours['pairs_per_second']['median']:,.1f} | {one['times_as_fast']['median']:.2f}"
        shares = " | ".join(f"{100 * one[side]['share_of_peak']:.0f} %" for side in ("textcl", "sentence_transformers"))
        assert f"| {setting} | {numbers} | {shares} |" in README


def test_the_speed_of_encoding_is_the_measured_one():
    measured = result("encode_throughput")
    for name, one in measured["sets"].items():
        for precision, row in one["textcl"].items():
            speed = f"{row['texts_per_second']['median']:.0f} | {row['times_as_fast']['median']:.2f}"
            peak = f"{100 * row['share_of_peak']:.0f} %" if precision == "fp32" else ""
            ndcg = f"{measured['scifact_test']['ndcg@10'][precision]:.2f}" if name == "scifact" else ""
            assert f"| {name} | {precision} | {speed} | {peak} | {row['least_cosine']:.5f} | {ndcg} |" in README
        asked = {"scifact": 1.25, "wiki-sentences": 1.4}[name]
        assert one["textcl"]["fp32"]["times_as_fast"]["median"] >= asked
        assert one["textcl"]["int8"]["times_as_fast"]["median"] >= {"scifact": 2, "wiki-sentences": 2.5}[name]
        assert one["textcl"]["fp32"]["share_of_peak"] >= 0.72
        assert one["textcl"]["fp32"]["least_cosine"] >= 0.99999
    assert measured["scifact_test"]["loss_in_points"]["int8"] <= 0.5


def test_the_memory_of_many_texts_is_the_measured_one():
    memory = result("encode_memory")["memory"]
    assert memory["texts"] == 500_000
    assert memory["above_loaded_mib"] * 2**20 <= 300e6
    assert f"500,000 short texts takes {memory['above_loaded_mib']:.0f} MiB of anonymous memory" in README


def test_the_speed_of_search_is_the_measured_one():
    measured = result("index_100000")
    found = {}
    for row in measured["search"]:
        found.setdefault(row["name"], {})[row["target"]] = row
    exact = found.pop("exact")[1.0]
    assert f"exact search answers {exact['queries_per_second']['median']:,.0f}." in README
    for name, rows in found.items():
        cells = [f"{row['queries_per_second']['median']:,.0f} ({row['recall']:.3f})" for row in rows.values()]
        assert f"| {name} | {' | '.join(cells)} |" in README
    ours = found.pop("textcl")
    for target, row in ours.items():
        promise = measured["promises"][str(target)]
        assert row["recall"] >= target
        assert promise["kept"]
        best = max(others[target]["queries_per_second"]["median"] for others in found.values())
        assert row["queries_per_second"]["median"] >= best
    bulk, size = measured["bulk"], measured["bytes"]
    assert all(one["median"] <= 1.05 for one in bulk.values())
    family = family_of(measured["factory"], measured["dimension"])
    assert size["predicted_memory"] == family.memory_bytes(measured["rows"])
    assert size["predicted_disk"] == family.disk_bytes(measured["rows"])
    shares = [size[where] / size[f"predicted_{where}"] for where in ("disk", "memory")]
    assert all(0.95 <= share <= 1.05 for share in shares)
    assert f"Adding takes {bulk['add']['median']:.2f} and searching" in README
    assert f"{bulk['search']['median']:.2f} times as long as the same FAISS calls by hand" in README
    assert f"{100 * shares[0]:.1f} % are on disk and {100 * shares[1]:.1f} % in memory" in README


def test_the_speed_of_evaluation_is_the_measured_one():
    measured = result("evaluation")
    seconds, times, again = measured["seconds"]["ours"], measured["times_faster"], measured["scifact"]
    grown = {side: one["peak_mib"] - one["ready_mib"] for side, one in measured["memory"].items()}
    text = " ".join(README.split())
    assert f"{1000 * seconds['measures']['median']:.0f} ms on one core, {times['measures']['median']:.1f} times" in text
    assert f"included it is {seconds['whole']['median']:.2f} s, {times['whole']['median']:.2f} times less" in text
    assert f"{grown['ours']:,.0f} MiB more than the vectors take, beside {grown['theirs']:,.0f}." in text
    assert f"takes {again['later_s']['median']:.1f} s where the first took {again['first_s']:.0f} s" in text
    assert times["measures"]["median"] >= 4
    assert again["times_faster"] >= 20
    assert grown["ours"] < grown["theirs"]


def test_packed_and_padded_training_are_one_curve():
    measured = result("training_curves")
    assert measured["steps"] == 50
    assert measured["largest_difference"] <= 1e-4
    assert f"by {measured['largest_difference']:.0e} at most" in README
