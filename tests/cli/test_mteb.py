"""`textcl evaluate mteb` through the real package, on local copies of datasets of a few texts."""

from __future__ import annotations

import json

import pytest

from tests.small_data import write_collection, write_jsonl, write_lines
from textcl.assemble.evaluating import evaluate_retrieval
from textcl.assemble.uses import sts_use
from textcl.corpus.collection import read_collection
from textcl.encoder.load import load_encoder

README = """---
configs:
- {config_name: default, data_files: [{split: test, path: qrels.jsonl}]}
- {config_name: corpus, data_files: [{split: corpus, path: corpus.jsonl}]}
- {config_name: queries, data_files: [{split: queries, path: queries.jsonl}]}
---
"""


@pytest.fixture
def data(work, tiny_corpus):
    """The folder hub/ with two datasets as the hub has them, and the same for our own evaluations."""
    graded = [(text, tiny_corpus[(7 * i) % 60], i % 5) for i, text in enumerate(tiny_corpus[:30])]
    write_lines(work / "sts.tsv", ["sentence1\tsentence2\tscore", *("\t".join(map(str, row)) for row in graded)])
    (work / "hub" / "mteb" / "stsbenchmark-sts").mkdir(parents=True)
    rows = [{"sentence1": one, "sentence2": two, "score": float(grade)} for one, two, grade in graded]
    write_jsonl(work / "hub" / "mteb" / "stsbenchmark-sts" / "test.jsonl", rows)
    write_collection(work / "dev", tiny_corpus[:40])
    copy = work / "hub" / "scifact"
    copy.mkdir()
    for name in ("corpus.jsonl", "queries.jsonl"):
        copy.joinpath(name).write_bytes((work / "dev" / name).read_bytes())
    judged = [{"query-id": f"q{i}", "corpus-id": f"d{i}", "score": 1} for i in range(6)]
    write_jsonl(copy / "qrels.jsonl", judged)
    (copy / "README.md").write_text(README)
    return work


def test_scores_are_those_of_our_own_evaluations(textcl, data, tiny_model_folder):
    words = ["evaluate", "mteb", tiny_model_folder, "--tasks", "STSBenchmark,SciFact", "--data", "hub"]
    answer = textcl(*words, "--json")
    assert answer.code == 0, answer.err
    found = {one["task"]: one for one in json.loads(answer.out)["scores"]}
    encoder = load_encoder(tiny_model_folder)
    assert found["STSBenchmark"]["measure"] == "cosine_spearman"
    assert found["STSBenchmark"]["score"] == pytest.approx(sts_use("sts.tsv").of(encoder).spearman, abs=2e-3)
    ours = evaluate_retrieval(encoder, read_collection("dev"), measures=["ndcg@10"])
    assert found["SciFact"]["measure"] == "ndcg_at_10"
    assert found["SciFact"]["score"] == pytest.approx(ours.measures["ndcg@10"].mean, abs=1e-4)
    shown = textcl(*words).out.splitlines()
    assert [line.split()[0] for line in shown] == ["STSBenchmark", "SciFact"]


def test_a_copy_without_the_split_is_said(textcl, data, tiny_model_folder):
    (data / "hub" / "mteb" / "stsbenchmark-sts" / "test.jsonl").rename(data / "hub" / "mteb" / "stsbenchmark-sts" / "x")
    answer = textcl("evaluate", "mteb", tiny_model_folder, "--tasks", "STSBenchmark", "--data", "hub")
    (fault,) = answer.faults
    assert answer.code == 2
    assert fault.startswith("STSBenchmark: cannot be run (")
    assert fault.endswith("compare the copies in hub with the hub's datasets")


@pytest.mark.parametrize(
    ("tasks", "fault"),
    [
        ("SciFacts", "tasks: MTEB has no task 'SciFacts'; did you mean SciFact?"),
        (
            "NFCorpus",
            "hub/mteb/nfcorpus: no such folder, nor hub/nfcorpus; put a copy of the dataset mteb/nfcorpus there",
        ),
    ],
)
def test_what_cannot_run_is_refused(textcl, data, tiny_model_folder, tasks, fault):
    answer = textcl("evaluate", "mteb", tiny_model_folder, "--tasks", tasks, "--data", "hub")
    assert (answer.code, answer.faults) == (2, [fault])
