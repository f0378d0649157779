"""What a user is told on the way, on standard error, and what else the exit code says."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.small_data import write_collection, write_jsonl, write_lines, write_recipe

LONG = "A long text that goes on and on about rivers, bees, copper and the weather, " * 8


@pytest.fixture
def collection(work, tiny_corpus):
    return write_collection(work / "dev", tiny_corpus[:20])


def texts_of(work, tiny_corpus, *more):
    return write_lines(work / "texts.txt", [*tiny_corpus[20:40], *more])


def test_training_texts_cut_at_the_token_limit_are_counted(textcl, work, tiny_corpus, tiny_model_folder):
    texts = texts_of(work, tiny_corpus, LONG, LONG + "again")
    recipe = write_recipe(work, tiny_model_folder, texts.name)
    answer = textcl("train", recipe, "--out", "run", "--set", "encoder.max_tokens=64")
    assert answer.code == 0
    assert "22 training texts from texts.txt" in answer.err
    assert "2 of 22 training texts are longer than 64 tokens; what their views leave beyond that is cut" in answer.err


def test_a_text_is_cut_from_the_first_token_over_the_limit(
    textcl, work, tiny_corpus, tiny_model_folder, tiny_tokenizer
):
    recipe = write_recipe(work, tiny_model_folder, texts_of(work, tiny_corpus).name)
    longest = max(len(ids) for ids in tiny_tokenizer(tiny_corpus[20:40])["input_ids"])  # [CLS] and [SEP] included
    for limit, cut in ((longest, False), (longest - 1, True)):
        answer = textcl("train", recipe, "--out", f"run-{limit}", "--set", f"encoder.max_tokens={limit}")
        assert answer.code == 0
        assert any(f"longer than {limit} tokens" in line for line in answer.err) == cut


def test_nothing_is_said_of_cuts_where_nothing_is_cut(textcl, work, tiny_corpus, tiny_model_folder):
    recipe = write_recipe(work, tiny_model_folder, texts_of(work, tiny_corpus).name)
    answer = textcl("train", recipe, "--out", "run", "--set", "encoder.max_tokens=64")
    assert not any("cut" in line for line in answer.err)


@pytest.mark.parametrize("command", ["encode", "index"])
def test_documents_cut_at_the_token_limit_are_counted(textcl, work, tiny_corpus, tiny_model_folder, command):
    texts = texts_of(work, tiny_corpus, LONG)
    words = {"encode": ["encode"], "index": ["index", "build"]}[command]
    answer = textcl(*words, tiny_model_folder, texts.name, "--out", "made")
    assert answer.code == 0
    unit = {"encode": "texts", "index": "documents"}[command]
    assert f"cut at 64 tokens: 1 of 21 {unit}" in answer.err


def test_documents_and_queries_cut_in_an_evaluation_are_counted(textcl, work, tiny_corpus, tiny_model_folder):
    write_collection(work / "dev", [*tiny_corpus[:9], LONG])
    answer = textcl("evaluate", "retrieval", tiny_model_folder, "dev", "--max-tokens", "64")
    assert "cut at 64 tokens: 1 documents and 0 queries" in answer.err
    answer = textcl("evaluate", "retrieval", tiny_model_folder, "dev", "--max-tokens", "4")
    assert "cut at 4 tokens: 10 documents and 6 queries" in answer.err


def test_different_sts_texts_cut_are_counted(textcl, work, tiny_model_folder):
    write_lines(
        work / "sts.tsv", ["sentence1\tsentence2\tscore", f"{LONG}\ta c\t2", f"a\t{LONG} so\t1", f"b\t{LONG}\t3"]
    )
    answer = textcl("evaluate", "sts", tiny_model_folder, "sts.tsv")
    assert "cut at 64 tokens: 2 texts" in answer.err


def test_training_texts_that_are_evaluated_on_are_counted(textcl, work, collection, tiny_corpus, tiny_model_folder):
    document, query = tiny_corpus[0], " ".join(tiny_corpus[1].split()[:4])
    texts = texts_of(work, tiny_corpus, document.upper(), f"  {query} ", tiny_corpus[15])
    recipe = write_recipe(work, tiny_model_folder, texts.name)
    answer = textcl("train", recipe, "--out", "run", "--set", "evaluation.collection=dev")
    # Document 15 is not judged relevant to any query, so training on it gives nothing away.
    said = "2 of 23 training rows hold a text that is evaluated on (queries and their relevant documents)"
    assert said in answer.err


def test_leaks_count_on_both_sides_of_pairs(textcl, work, collection, tiny_corpus, tiny_model_folder):
    rows = [{"q": f"question {i}", "a": text} for i, text in enumerate(tiny_corpus[20:30])]
    rows += [{"q": "what?", "a": tiny_corpus[2]}, {"q": tiny_corpus[3], "a": "so"}]
    write_jsonl(work / "pairs.jsonl", rows)
    recipe = write_recipe(work, tiny_model_folder, "pairs.jsonl", "evaluation: {collection: dev}\n")
    answer = textcl("train", recipe, "--out", "run", "--set", "data.columns={anchor: q, positive: a}")
    assert answer.code == 0
    assert "12 training pairs from pairs.jsonl" in answer.err
    assert any(line.startswith("2 of 12 training rows hold a text that is evaluated on") for line in answer.err)


def test_blank_lines_that_were_left_out_are_counted(textcl, work, tiny_corpus, tiny_model_folder):
    recipe = write_recipe(work, tiny_model_folder, texts_of(work, tiny_corpus, "", " ").name)
    answer = textcl("train", recipe, "--out", "run")
    assert "2 blank lines of texts.txt were left out" in answer.err


@pytest.mark.parametrize("through", ["train", "evaluate"])
def test_allowed_missing_documents_are_counted(textcl, work, collection, tiny_corpus, tiny_model_folder, through):
    with (collection / "qrels" / "test.tsv").open("a") as file:
        file.write("q0\tnone\t1\nq1\tnowhere\t1\ngone\td1\t1\n")
    said = "dev: 2 judged documents and 1 judged queries do not exist; they count as not found"
    if through == "train":
        recipe = write_recipe(work, tiny_model_folder, texts_of(work, tiny_corpus).name)
        words = ["--set", "evaluation={collection: dev, allow_missing: true}"]
        assert said in textcl("train", recipe, *words, "--out", "run").err
        return
    answer = textcl("evaluate", "retrieval", tiny_model_folder, "dev", "--allow-missing", "--json")
    assert answer.code == 0
    assert said in answer.err
    found = json.loads(answer.out)
    assert (found["missing_documents"], found["unanswered"]) == (2, 1)
    assert found["measures"]["ndcg@10"]["queries"] == 7


def test_a_diverged_run_says_so_and_exits_with_1(textcl, work, tiny_corpus, tiny_model_folder):
    recipe = write_recipe(work, tiny_model_folder, texts_of(work, tiny_corpus).name)
    words = ["--set", "training.learning_rate=1.0e+38", "--set", "training.warmup_fraction=0"]
    answer = textcl("train", recipe, "--out", "run", *words)
    assert answer.code == 1
    (fault,) = answer.faults
    assert fault.startswith("training stopped: ")
    assert not (work / "run" / "model").exists()


def test_a_bug_shows_its_traceback_asks_for_a_report_and_exits_with_3(work):
    """A package that cannot be imported is nothing that a user of textcl could mend."""
    (work / "broken").mkdir()
    (work / "broken" / "yaml.py").write_text("raise RuntimeError('broken on purpose')\n")
    done = subprocess.run(
        [sys.executable, "-m", "textcl", "recipe", "check", "recipe.yaml"],
        env={**os.environ, "PYTHONPATH": str(work / "broken")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert "Traceback (most recent call last):" in lines
    assert "RuntimeError: broken on purpose" in lines
    assert lines[-1].startswith("textcl: this is a bug in textcl: please report it")


def test_the_real_command_refuses_wrong_input_in_one_line(work):
    done = subprocess.run(
        [sys.executable, "-m", "textcl", "recipe", "check", "none.yaml"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "textcl: none.yaml: no such recipe\n")
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["--help"], ["train", "--help"], ["index"]])
def test_help_is_on_standard_output(textcl, words):
    answer = textcl(*words)
    assert "Usage" in answer.out + "".join(answer.err)
    assert answer.faults == []
