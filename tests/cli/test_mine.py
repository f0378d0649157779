"""`textcl mine`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json

import pytest

from tests.small_data import write_collection, write_jsonl, write_lines


@pytest.fixture
def pairs(work, tiny_corpus):
    rows = [{"q": tiny_corpus[i], "a": tiny_corpus[i + 30], "t": i % 4} for i in range(20)]
    write_jsonl(work / "other.jsonl", rows)
    write_jsonl(work / "pairs.jsonl", [{"anchor": row["q"], "positive": row["a"], "t": row["t"]} for row in rows])
    write_lines(work / "documents.txt", tiny_corpus)
    folder = write_collection(work / "data", tiny_corpus[:20])
    (folder / "qrels" / "train.tsv").write_bytes((folder / "qrels" / "test.tsv").read_bytes())
    return work


@pytest.fixture
def mined(textcl, pairs, tiny_model_folder):
    """Runs the command and returns its object and the lines of its file."""

    def command(*words, source="pairs.jsonl"):
        answer = textcl("mine", tiny_model_folder, source, "--out", "mined.jsonl", "--json", "--force", *words)
        assert answer.code == 0, answer.err
        assert answer.out.count("\n") == 1
        lines = (pairs / "mined.jsonl").read_text(encoding="utf-8").splitlines()
        return json.loads(answer.out), [json.loads(line) for line in lines]

    return command


def test_people_are_told_what_was_found_and_what_was_not(textcl, pairs, tiny_model_folder):
    answer = textcl("mine", tiny_model_folder, "pairs.jsonl", "--out", "mined.jsonl", "--margin", "0.1")
    assert answer.code == 0
    lines = (pairs / "mined.jsonl").read_text(encoding="utf-8").splitlines()
    first, second, third = answer.out.splitlines()
    assert first == f"{len(lines)} rows with 1 negative each, from 20 documents: mined.jsonl"
    assert second == f"{20 - len(lines)} rows left out: too few negatives"
    assert third.startswith("candidates dropped: 20 forbidden, ")
    assert third.endswith(" by the margin, 0 by max_score")


def test_the_object_has_what_the_lines_say(mined):
    found, lines = mined("--per-row", "2")
    assert found == {
        "out": "mined.jsonl",
        "rows": 20,
        "left_out": 0,
        "per_row": 2,
        "documents": 20,
        "dropped": {"forbidden": 20, "margin": 0, "max_score": 0},
        "made_from": lines[0]["made_from"],
    }


@pytest.mark.parametrize(
    "words",
    [
        ["--first-rank", "3"],
        ["--last-rank", "2", "--sampling", "random"],
        ["--margin", "0.02"],
        ["--relative-margin", "0.02"],
        ["--max-score", "0.95"],
        ["--per-row", "2"],
        ["--sampling", "random"],
        ["--sampling", "random", "--seed", "1"],
        ["--group", "t"],
        ["--limit", "7"],
        ["--documents", "documents.txt"],
    ],
    ids=" ".join,
)
def test_every_option_changes_what_is_mined(mined, words):
    usual = mined(*(["--sampling", "random"] if "random" in words and len(words) > 2 else []))[1]
    assert mined(*words)[1] != usual


def test_columns_and_folders(mined, tiny_corpus):
    usual = mined()[1]
    assert mined("--anchor", "q", "--positive", "a", source="other.jsonl")[1] == usual
    train, test = (mined("--split", split, source="data")[1] for split in ("train", "test"))
    assert train == test == mined(source="data")[1]
    assert [line["positive"] for line in train] == tiny_corpus[:6]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--first-rank", "0"], "first_rank: expected a rank, counted from 1, got 0"),
        (["--last-rank", "0"], "last_rank: expected a rank of at least first_rank, 1, got 0"),
        (["--margin", "-1"], "margin: expected a difference of cosines in [0, 2], got -1.0"),
        (["--relative-margin", "1"], "relative_margin: expected a share in [0, 1), got 1.0"),
        (["--max-score", "2"], "max_score: expected a cosine in [-1, 1], got 2.0"),
        (["--per-row", "101"], "per_row: expected a number in 1 … 100, as many as there are ranks, got 101"),
        (["--sampling", "best"], "sampling: expected one of top, random, got 'best'"),
        (["--limit", "0"], "limit: expected a whole number above 0, got 0"),
        (["--split", "train"], "split: names judgements of a BEIR folder, and pairs.jsonl is none; leave it out"),
        (["--anchor", "ancor"], "pairs.jsonl: no column 'ancor'; did you mean anchor? there are: anchor, positive, t"),
        (["--documents", "none.txt"], "none.txt: no such file"),
        (["--force", "--out", "pairs.jsonl"], "out: pairs.jsonl is what is read; name another file"),
        (["--out", "data"], "out: data is a folder; name a file"),
        (
            ["--out", "other.jsonl"],
            "out: other.jsonl exists already; name another file, or add --force to replace it",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_named_and_writes_nothing(refused, pairs, tiny_model_folder, words, fault):
    assert refused("mine", tiny_model_folder, "pairs.jsonl", "--out", "mined.jsonl", *words) == [fault]


def test_a_wrong_model_and_a_folder_without_pairs(refused, pairs, tiny_model_folder):
    assert refused("mine", "./none", "pairs.jsonl", "--out", "mined.jsonl") == ["./none: no such folder"]
    (pairs / "bare").mkdir()
    assert refused("mine", tiny_model_folder, "bare", "--out", "mined.jsonl") == ["bare: is a folder; expected a file"]
    (fault,) = refused("mine", tiny_model_folder, "pairs.jsonl", "--out", "mined.jsonl", "--margin", "2")
    assert fault.startswith("pairs.jsonl: no row has 1 negatives; ")
