"""The commands that make, tune, change and ask an index, one after the other."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import textcl as package
from tests.index.vectors import unit
from tests.small_data import write_collection, write_jsonl, write_lines
from textcl.assemble import encoding
from textcl.assemble.searching import open_searcher
from textcl.assemble.tuning import tune_index
from textcl.encoder.load import describe_encoder, load_encoder
from textcl.errors import ConfigError
from textcl.evaluation.runs import read_run
from textcl.index.build import build_index as build_vectors
from textcl.index.generations import commit, writing
from textcl.index.store import open_index

ROWS = 60


@pytest.fixture
def folder(work, tiny_corpus):
    rows = [{"_id": f"d{n}", "text": text, "tenth": n % 10, "kind": "odd" if n % 2 else "even"}
            for n, text in enumerate(tiny_corpus[:ROWS])]  # fmt: skip
    write_jsonl(work / "docs.jsonl", rows)
    write_jsonl(work / "more.jsonl", [{**rows[3], "kind": "new"}, {**rows[4], "_id": "extra", "kind": "new"}])
    write_lines(work / "queries.txt", [text[5:40] for text in tiny_corpus[:40]])
    write_collection(work / "dev", tiny_corpus[:30])
    return work


@pytest.fixture
def said(textcl, folder):
    def command(*words, code=0):
        answer = textcl(*words, "--json")
        assert answer.code == code, answer.err
        return json.loads(answer.out) if code in (0, 1) else answer.err

    return command


def build(said, model, *words, code=0):
    return said("index", "build", model, "docs.jsonl", "--out", "index", "--fields", "tenth,kind", *words, code=code)


def test_an_index_is_built_to_a_recall_asked_changed_and_checked(said, textcl, tiny_model_folder, folder):
    made = build(said, tiny_model_folder, "--recall", "0.9", "--factory", "HNSW8", "--queries", "queries.txt")
    assert (made["documents"], made["rows"], made["factory"], made["fields"]) == (60, 60, "HNSW8", ["kind", "tenth"])
    assert made["promise"]["kept"]
    assert (made["promise"]["recall"], made["promise"]["at"], made["promise"]["queries"]) == (0.9, 10, "given queries")
    assert made["curve"][0]["settings"] == "exact"
    assert made["search"] in [point["settings"] for point in made["curve"]]
    shown = textcl("index", "info", "index").out
    assert "promise.measured" in shown
    assert "  chosen" in shown
    hits = said("search", "index", "the river near the mill", "-k", "30", "--filter", "kind=odd")["hits"]
    assert len(hits) == 30
    assert {hit["metadata"]["kind"] for hit in hits} == {"odd"}
    both = said("search", "index", "the river", "--filter", "kind=odd", "--filter", "tenth=3")["hits"]
    assert {(hit["metadata"]["kind"], hit["metadata"]["tenth"]) for hit in both} == {("odd", 3)}
    least = hits[4]["score"]
    above = said(
        "search", "index", "the river near the mill", "--filter", "kind=odd", "--at-least", str(least), "--all"
    )
    assert [hit["id"] for hit in above["hits"]] == [hit["id"] for hit in hits[:5]]
    assert said("index", "add", "index", "more.jsonl", code=2)[-1].endswith("add --replace to replace them")
    assert said("index", "add", "index", "more.jsonl", "--replace") == {"index": "index", "added": 2, "replaced": 1}
    assert said("index", "delete", "index", "d7", "d9")["deleted"] == 2
    assert {hit["id"] for hit in said("search", "index", "x", "-k", "9", "--filter", "kind=new")["hits"]} == {
        "d3",
        "extra",
    }
    (folder / "gone.txt").write_text("d11\n\nd13\n")
    assert said("index", "delete", "index", "--ids", "gone.txt")["deleted"] == 2
    compacted = said("index", "compact", "index")
    assert (compacted["documents"], compacted["rows"]) == (57, 57)
    assert said("index", "verify", "index")["generation"] == compacted["generation"]
    said("search", "index", "--queries", "queries.txt", "--run", "near.trec")
    said("search", "index", "--queries", "queries.txt", "--run", "exact.trec", "--exact")
    near, exact = read_run(folder / "near.trec"), read_run(folder / "exact.trec")
    same = [{name for name, _ in near[one]} == {name for name, _ in exact[one]} for one in exact]
    assert len(same) == 40
    assert sum(same) >= 38
    data = bytearray((folder / "index/manifest.json").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "index/manifest.json").write_bytes(data)
    assert "manifest.json: is damaged" in said("index", "verify", "index", code=2)[-1]


def test_a_promise_that_is_missed_ends_with_1_and_leaves_the_index(textcl, tiny_model_folder, folder):
    vectors = unit(0, 4000, 32)
    facts = describe_encoder(load_encoder(tiny_model_folder), str(tiny_model_folder))
    ids = [str(number) for number in range(4000)]
    build_vectors(Path("index"), vectors=vectors, ids=ids, texts=None, encoder=facts, factory="RaBitQ").close()
    answer = textcl("index", "tune", "index", "--recall", "1.0")
    assert answer.code == 1
    assert "below the target 1.0; ask for less, give more queries, or take another --factory" in answer.err[-1]
    assert any("documents asking for others" in line for line in answer.err)
    with open_index(folder / "index", verify=True) as index:
        assert (index.manifest["promise"]["kept"], index.manifest["generation"]) == (False, 2)
    assert textcl("index", "tune", "index", "--recall", "0.5").code == 0


def test_documents_longer_than_the_limit_are_found_by_their_best_passage(said, tiny_model_folder, folder, tiny_corpus):
    long = " ".join(tiny_corpus[:12])
    write_jsonl(folder / "docs.jsonl", [{"_id": "long", "text": long, "tenth": 1, "kind": "a"}] + [
        {"_id": f"d{n}", "text": text, "tenth": 1, "kind": "b"} for n, text in enumerate(tiny_corpus[20:30])
    ])  # fmt: skip
    made = build(said, tiny_model_folder, "--passage-tokens", "24", "--overlap", "4")
    assert made["documents"] == 11
    assert made["rows"] > 15
    for factory in ("Flat", "HNSW8"):
        build(said, tiny_model_folder, "--passage-tokens", "24", "--overlap", "4", "--factory", factory, "--force")
        hits = said("search", "index", tiny_corpus[7], "-k", "11")["hits"]
        assert sorted(hit["id"] for hit in hits) == sorted(["long", *(f"d{n}" for n in range(10))]), "each once"
        (best,) = [hit for hit in hits if hit["id"] == "long"]
        assert best["text"] in long
        assert len(best["text"]) < len(long) / 3
        searcher = open_searcher("index")
        rows = [row for row, one in enumerate(searcher.index.ids_of(range(made["rows"]))) if one == "long"]
        scores = searcher.index.vectors_of(rows) @ searcher.embed([tiny_corpus[7]]).vectors[0]
        assert best["score"] == pytest.approx(float(scores.max()), abs=1e-6)
        assert best["text"] == searcher.index.texts_of([rows[int(scores.argmax())]])[0]
    write_jsonl(folder / "more.jsonl", [{"_id": "other", "text": long, "tenth": 1, "kind": "a"}])
    said("index", "add", "index", "more.jsonl")
    assert said("index", "info", "index")["rows"] > made["rows"] + 5, "what is added is cut alike"


def test_plans_are_printed_and_impossible_ones_refused(textcl):
    answer = textcl(
        "index", "plan", "--rows", "1000000", "--dimension", "384", "--recall", "0.95", "--max-memory", "1GB"
    )
    assert answer.code == 0
    assert answer.out.splitlines()[0].startswith("IVF")
    assert "memory " in answer.out
    answer = textcl(
        "index", "plan", "--rows", "1000000", "--dimension", "384", "--recall", "0.95", "--max-memory", "1MB"
    )
    assert (answer.code, len(answer.err)) == (2, 1)


def test_what_was_encoded_before_an_interruption_is_not_encoded_again(
    said, textcl, tiny_model_folder, folder, monkeypatch
):
    monkeypatch.setattr(encoding, "BLOCK_TEXTS", 7)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tiny_model_folder)], cwd=folder, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])},
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGKILL)
    assert build(said, tiny_model_folder, code=2) == [
        "textcl: out: an unfinished index waits; add --resume to go on with it, or --force to start anew"
    ]
    made = build(said, tiny_model_folder, "--resume")
    assert made["documents"] == ROWS
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []
    assert "there is nothing to continue here" in build(said, tiny_model_folder, "--resume", code=2)[-1]


KILLED = """
import sys
from contextlib import contextmanager
from textcl.assemble import encoding
from textcl.assemble.searching import open_searcher
from textcl.assemble.tuning import tune_index
from textcl.encoder.load import describe_encoder, load_encoder
from textcl.assemble.indexing import build_index
encoding.BLOCK_TEXTS = 7
done = 0

@contextmanager
def listen(description, total):
    def advance(units, _note=""):
        global done
        done += units
        if done > 30:
            print("in the middle", flush=True)
            sys.stdin.read()
            import time
            time.sleep(60)
    yield advance

build_index(sys.argv[1], "docs.jsonl", out="index", fields=["tenth", "kind"], progress=listen)
"""


def test_questions_come_from_standard_input(said, textcl, tiny_model_folder, folder, monkeypatch):
    build(said, tiny_model_folder)
    monkeypatch.setattr(sys, "stdin", io.StringIO("the river near the mill\nthe mill\n\nnot asked\n"))
    answer = textcl("search", "index", "-k", "2")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert len(lines) == 4
    assert "\033" not in answer.out, "no colours but for a terminal"
    assert lines[0].split("  ")[2].startswith("tenth=")


@pytest.mark.slow
def test_the_prompt_on_a_terminal_has_colours_and_ends_with_an_empty_line(said, tiny_model_folder, folder):
    build(said, tiny_model_folder)
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "textcl", "search", "index", "-k", "1"]
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, cwd=folder, env=os.environ)
    os.close(child)
    seen = b""
    deadline = time.monotonic() + 120
    os.write(parent, b"the river near the mill\n")
    while b" hits in " not in seen and time.monotonic() < deadline:
        seen += os.read(parent, 4096)
    os.write(parent, b"\n")
    assert process.wait(60) == 0
    assert b"60 documents; an empty line ends" in seen
    assert b"\033[32m0." in seen
    os.close(parent)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--recall", "0.9", "--at", "0"), "at: expected a whole number of at least 1, got 0"),
        (
            ("--factory", "HNSW8", "--limit", "15"),
            "queries: 15 texts are too few to tune with; give queries, or build without recall",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_is_encoded(textcl, folder, tiny_model_folder, words, fault):
    answer = textcl("index", "build", tiny_model_folder, "docs.jsonl", "--out", "index", *words)
    assert (answer.code, answer.faults) == (2, [fault])
    assert not [path for path in folder.iterdir() if "index" in path.name]


def test_a_build_that_was_stopped_before_its_tuning_is_tuned_by_a_resume(said, textcl, tiny_model_folder, folder):
    build(said, tiny_model_folder, "--recall", "0.9", "--factory", "HNSW8", "--queries", "queries.txt")
    with writing(folder / "index") as index:  # as the kill would have left it
        commit(index, {"promise": None, "curve": []})
    made = build(
        said, tiny_model_folder, "--recall", "0.9", "--factory", "HNSW8", "--queries", "queries.txt", "--resume"
    )
    assert made["promise"]["kept"]
    answer = textcl("index", "build", tiny_model_folder, "docs.jsonl", "--out", "index", "--resume")
    assert (answer.code, answer.faults) == (2, ["index: is built; there is nothing to continue here"])


def test_vectors_without_fields_are_refused_by_an_index_that_has_some(said, tiny_model_folder, folder):
    build(said, tiny_model_folder)
    said("encode", tiny_model_folder, "more.jsonl", "--out", "vectors")
    (fault,) = said("index", "add", "index", "vectors", code=2)
    assert fault == (
        "textcl: source: vectors holds vectors without fields, which index keeps; give the texts themselves"
    )


def test_an_index_that_was_built_anew_meanwhile_is_not_tuned_by_what_was_asked_before(said, tiny_model_folder, folder):
    words = ("--recall", "0.9", "--factory", "HNSW8", "--queries", "queries.txt")
    build(said, tiny_model_folder, *words)
    searcher = open_searcher("index", tiny_model_folder)
    build(said, tiny_model_folder, *words, "--limit", "50", "--force")
    with open_index(folder / "index") as now:
        assert now.manifest["generation"] == searcher.index.manifest["generation"]
    with pytest.raises(ConfigError, match="was changed meanwhile"):
        tune_index(searcher, recall=0.9, queries=folder / "queries.txt")
