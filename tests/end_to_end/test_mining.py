"""From pairs to a file of hard negatives, and from there to a trained model."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import textcl
from tests.small_data import write_collection, write_jsonl, write_lines, write_recipe
from textcl.assemble import mining
from textcl.assemble.mined_file import read_mined, write_mined
from textcl.assemble.mining import mine, mine_rows
from textcl.assemble.mining_pairs import pairs_of, read_mining_pairs
from textcl.corpus.documents import Texts
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError, DataError
from textcl.index.mine import MiningSettings


@pytest.fixture
def work(tmp_path, monkeypatch, tiny_corpus):
    """A folder with pairs, of which each third row asks the first one's question again, and with documents."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"anchor": tiny_corpus[i - i % 3], "positive": tiny_corpus[i + 30], "topic": i // 6 or None} for i in range(24)
    ]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    write_lines(tmp_path / "documents.txt", tiny_corpus)
    return tmp_path


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def by_hand(encoder, row, rows, documents, group=None):
    """The documents that a row may have, best first, with their scores, by plain products."""
    asked = rows[row]["anchor"]
    out = {asked, *(one["positive"] for one in rows if one["anchor"] == asked)}
    if group is not None and rows[row][group] is not None:
        same = [one for one in rows if one[group] == rows[row][group]]
        out |= {one[side] for one in same for side in ("anchor", "positive")}
    left = [text for text in documents if text not in out]
    vectors = embed_texts(encoder, [asked, *left]).vectors.astype(np.float64)
    scores = vectors[1:] @ vectors[0]
    return [(left[place], scores[place]) for place in np.argsort(-scores, kind="stable")]


@pytest.mark.parametrize("group", [None, "topic"])
@pytest.mark.parametrize("documents", [None, "documents.txt"])
def test_every_line_has_the_nearest_documents_that_are_not_forbidden(work, tiny_encoder, tiny_corpus, group, documents):
    rows = lines_of(work / "pairs.jsonl")
    pairs = read_mining_pairs("pairs.jsonl", documents=documents, group=group)
    result = mine(tiny_encoder, pairs, out="new/mined.jsonl", settings=MiningSettings(2, per_row=3))
    found = lines_of(work / "new" / "mined.jsonl")
    texts = tiny_corpus if documents else tiny_corpus[30:54]
    assert (result.rows, result.left_out, result.per_row, result.documents) == (24, 0, 3, len(texts))
    for row, line in enumerate(found):
        expected = by_hand(tiny_encoder, row, rows, texts, group)[1:4]
        assert [line[f"negative_{k}"] for k in (1, 2, 3)] == [text for text, _score in expected]
        scores = [line[f"negative_{k}_score"] for k in (1, 2, 3)]
        np.testing.assert_allclose(scores, [score for _text, score in expected], rtol=0, atol=1e-5)
        own = embed_texts(tiny_encoder, [rows[row]["anchor"], rows[row]["positive"]]).vectors
        assert line["positive_score"] == pytest.approx(float(own[0] @ own[1]), abs=1e-5)
        assert (line["anchor"], line["positive"]) == (rows[row]["anchor"], rows[row]["positive"])
        assert line["made_from"] == result.made_from
        assert ("group" in line) == (group is not None)
        if group:
            assert line["group"] == (None if rows[row]["topic"] is None else str(rows[row]["topic"]))
    assert list(found[0])[-1] == "made_from"


def test_each_side_has_its_prompt(work, tiny_encoder, tiny_corpus):
    tiny_encoder.prompts = {"query": "what is blue and red: ", "document": "the moon has no air "}
    asked, own = tiny_corpus[0], tiny_corpus[40]  # not among the documents
    write_jsonl(work / "one.jsonl", [{"anchor": asked, "positive": own}])
    write_lines(work / "few.txt", tiny_corpus[50:53])
    mine(tiny_encoder, read_mining_pairs("one.jsonl", documents="few.txt"), out="mined.jsonl", cache=work / "cache")
    (line,) = lines_of(work / "mined.jsonl")
    query = embed_texts(tiny_encoder, [asked], prompt="what is blue and red: ").vectors[0]
    seen = embed_texts(tiny_encoder, [*tiny_corpus[50:53], own], prompt="the moon has no air ").vectors @ query
    assert line["positive_score"] == pytest.approx(float(seen[3]), abs=1e-5)
    assert line["negative_1_score"] == pytest.approx(float(seen[:3].max()), abs=1e-5)


def test_all_relevant_documents_of_a_folder_s_query_are_forbidden(work, tiny_encoder, tiny_corpus):
    folder = write_collection(work / "data", tiny_corpus[:12], queries=3)
    judged = ["q0\td0\t1", "q0\td4\t2", "q0\td5\t0", "q1\td1\t1", "q1\td6\t1"]
    write_lines(folder / "qrels" / "train.tsv", ["query-id\tcorpus-id\tscore", *judged])
    result = mine(tiny_encoder, "data", out="mined.jsonl", settings=MiningSettings(per_row=10))
    lines = lines_of(work / "mined.jsonl")
    assert [line["positive"] for line in lines] == [tiny_corpus[doc] for doc in (0, 4, 1, 6)]
    for line, own in zip(lines, [{0, 4}, {0, 4}, {1, 6}, {1, 6}], strict=True):
        found = {line[f"negative_{k}"] for k in range(1, 11)}
        assert found == {text for doc, text in enumerate(tiny_corpus[:12]) if doc not in own}
    assert result.dropped.forbidden == 8
    # The split is asked for, and another collection's documents can be mined from.
    other = read_mining_pairs("data", split="test", documents="documents.txt")
    assert (len(other.anchors), len(other.documents.texts)) == (3, 60)


def test_documents_without_text_and_repeated_ones_are_left_out_and_told(work, tiny_encoder, tiny_corpus):
    folder = write_collection(work / "data", [*tiny_corpus[:6], tiny_corpus[2]], queries=2)
    more = json.dumps({"_id": "empty", "title": "", "text": ""})
    with (folder / "corpus.jsonl").open("a") as file:
        file.write(more + "\n")
    write_lines(folder / "qrels" / "train.tsv", ["query-id\tcorpus-id\tscore", "q0\td0\t1", "q1\tempty\t1"])
    told = []
    result = mine(tiny_encoder, "data", out="mined.jsonl", settings=MiningSettings(per_row=5), say=told.append)
    assert told == [
        "1 relevant documents without a text make no pair",
        "2 documents that are empty or come twice were left out",
    ]
    assert (result.rows, result.documents) == (1, 6)


def test_cut_texts_are_counted_also_where_their_vectors_are_kept(work, tiny_encoder, tiny_corpus):
    write_jsonl(work / "long.jsonl", [{"anchor": tiny_corpus[0], "positive": "bees and honey " * 40}])
    for out in ("one.jsonl", "two.jsonl"):
        told = []
        pairs = read_mining_pairs("long.jsonl", documents="documents.txt")
        mine(tiny_encoder, pairs, out=out, cache=work / "cache", say=told.append)
        assert told == ["cut at 64 tokens: 1 of 1 positives"]


def test_a_limit_mines_for_the_first_rows_and_still_looks_at_all(work, tiny_encoder):
    settings = MiningSettings(sampling="random", per_row=2)
    mine(tiny_encoder, "pairs.jsonl", out="all.jsonl", settings=settings)
    mine(tiny_encoder, "pairs.jsonl", out="five.jsonl", settings=settings, limit=5)
    for line, expected in zip(lines_of(work / "five.jsonl"), lines_of(work / "all.jsonl")[:5], strict=True):
        for name, value in expected.items():  # scores: fewer anchors are embedded in other batches
            assert line[name] == (pytest.approx(value, abs=1e-5) if name.endswith("score") else value)
    with pytest.raises(ConfigError, match=r"^limit: expected a whole number above 0, got 0"):
        mine(tiny_encoder, "pairs.jsonl", out="none.jsonl", limit=0)


def test_rows_without_enough_negatives_are_left_out_and_counted(work, tiny_encoder):
    settings = MiningSettings(last_rank=8, per_row=2, margin=0.02)
    result = mine(tiny_encoder, "pairs.jsonl", out="mined.jsonl", settings=settings)
    lines = lines_of(work / "mined.jsonl")
    assert 0 < result.rows == len(lines) < 24
    assert result.left_out == 24 - result.rows
    assert result.dropped.margin > 0
    for line in lines:
        assert line["negative_1_score"] <= line["positive_score"] - 0.02 + 1e-6
    rows = lines_of(work / "pairs.jsonl")
    kept = {(line["anchor"], line["positive"]) for line in lines}
    for row, one in enumerate(rows):
        own = embed_texts(tiny_encoder, [one["anchor"], one["positive"]]).vectors.astype(np.float64)
        texts = [other["positive"] for other in rows]
        best = by_hand(tiny_encoder, row, rows, texts)[:8]
        far = [text for text, score in best if score <= own[0] @ own[1] - 0.02]
        assert (len(far) >= 2) == ((one["anchor"], one["positive"]) in kept)


def test_where_no_row_has_a_negative_nothing_is_written(work, tiny_encoder):
    with pytest.raises(
        DataError, match=r"^pairs.jsonl: no row has 1 negatives; .* \d+ within the margin, 0 above max_score: widen"
    ):
        mine(tiny_encoder, "pairs.jsonl", out="mined.jsonl", settings=MiningSettings(margin=2.0))
    assert not (work / "mined.jsonl").exists()


def test_any_rows_can_be_mined_and_written(work, tiny_encoder, tiny_corpus):
    # Positives come twice, so that theirs are not the first vectors.
    rows = [{"anchor": tiny_corpus[i], "positive": tiny_corpus[30 + i // 2]} for i in range(10)]
    write_jsonl(work / "twice.jsonl", rows)
    pairs, some = read_mining_pairs("twice.jsonl"), np.array([7, 2, 3])
    mined = mine_rows(tiny_encoder, pairs, MiningSettings(), rows=some)
    assert write_mined(work / "some.jsonl", pairs, mined, some) == 3
    for row, line in zip(some, lines_of(work / "some.jsonl"), strict=True):
        assert (line["anchor"], line["positive"]) == (rows[row]["anchor"], rows[row]["positive"])
        own = embed_texts(tiny_encoder, [line["anchor"], line["positive"]]).vectors
        assert line["positive_score"] == pytest.approx(float(own[0] @ own[1]), abs=1e-5)
        assert line["negative_1"] == by_hand(tiny_encoder, row, rows, pairs.documents.texts)[0][0]


# --- vectors are kept, and belong to weights --------------------------------------------------------------------------


def test_the_same_weights_are_not_asked_again_and_others_are(work, tiny_model_folder, tiny_encoder, encoded):
    def run(encoder, out):
        mine(encoder, "pairs.jsonl", out=out, cache=work / "cache")
        return (work / out).read_text()

    first = run(tiny_encoder, "one.jsonl")
    assert encoded == [8, 24]  # the different anchors, and the documents
    assert run(tiny_model_folder, "two.jsonl") == first
    assert encoded == [8, 24]
    with torch.no_grad():
        for weight in tiny_encoder.parameters():
            weight += 0.5 * torch.randn_like(weight)
    assert run(tiny_encoder, "three.jsonl") != first
    assert encoded == [8, 24, 8, 24]


def test_mining_in_training_sees_the_weights_as_they_are(work, tiny_encoder, tiny_model_folder, encoded):
    pairs = read_mining_pairs("pairs.jsonl")
    tiny_encoder.train()
    before = mine_rows(tiny_encoder, pairs, MiningSettings(per_row=2))
    assert tiny_encoder.training
    with torch.no_grad():
        for weight in tiny_encoder.parameters():
            weight += 0.5 * torch.randn_like(weight)
    after = mine_rows(tiny_encoder, pairs, MiningSettings(per_row=2))
    assert encoded == [8, 24, 8, 24]
    assert (before.negatives != after.negatives).any()
    mined = mine_rows(load_encoder(tiny_model_folder), pairs, MiningSettings(per_row=2), rows=np.array([20, 3]))
    np.testing.assert_array_equal(mined.negatives, before.negatives[[20, 3]])
    np.testing.assert_allclose(mined.positive_scores, before.positive_scores[[20, 3]], rtol=0, atol=1e-6)


# --- what may not be written over, and what a stop leaves -----------------------------------------------------------


def test_a_file_that_stands_there_is_refused_unless_forced(work, tiny_encoder):
    (work / "mined.jsonl").write_text("old")
    with pytest.raises(ConfigError, match=r"^out: mined.jsonl exists already; name another file, or add --force"):
        mine(tiny_encoder, "pairs.jsonl", out="mined.jsonl")
    assert (work / "mined.jsonl").read_text() == "old"
    mine(tiny_encoder, "pairs.jsonl", out="mined.jsonl", force=True)
    assert len(lines_of(work / "mined.jsonl")) == 24


@pytest.mark.parametrize("out", ["pairs.jsonl", "documents.txt"])
def test_what_is_read_is_never_replaced(work, tiny_encoder, out):
    before = (work / out).read_bytes()
    pairs = read_mining_pairs("pairs.jsonl", documents="documents.txt")
    with pytest.raises(ConfigError, match=rf"^out: {out} is what is read; name another file"):
        mine(tiny_encoder, pairs, out=out, force=True)
    assert (work / out).read_bytes() == before


def test_a_kill_while_writing_leaves_the_old_file_whole(work, tiny_model_folder):
    (work / "mined.jsonl").write_text("old")
    killed = (
        "import os, signal, textcl\n"
        "from pathlib import Path\n"
        "def replace(self, target):\n"
        "    if target.name == 'mined.jsonl':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    os.replace(self, target)\n"
        "Path.replace = replace\n"
        f"textcl.mine({str(tiny_model_folder)!r}, 'pairs.jsonl', out='mined.jsonl', force=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", killed], capture_output=True, check=False, env=os.environ)
    assert done.returncode == -9, done.stderr
    assert (work / "mined.jsonl").read_text() == "old"
    assert textcl.mine(tiny_model_folder, "pairs.jsonl", out="mined.jsonl", force=True).rows == 24
    assert len(lines_of(work / "mined.jsonl")) == 24


# --- reading pairs and mined files ----------------------------------------------------------------------------------


def test_columns_have_names(work, tiny_corpus):
    write_jsonl(work / "other.jsonl", [{"q": tiny_corpus[0], "a": tiny_corpus[1], "t": " "}])
    pairs = read_mining_pairs("other.jsonl", anchor="q", positive="a", group="t")
    assert (pairs.anchors, pairs.positives, pairs.groups) == ([tiny_corpus[0]], [tiny_corpus[1]], [None])
    with pytest.raises(DataError, match=r"^other.jsonl: no column 'anchor'; .*there are: q, a, t"):
        read_mining_pairs("other.jsonl")
    with pytest.raises(DataError, match=r"^other.jsonl: no column 'tt'"):
        read_mining_pairs("other.jsonl", anchor="q", positive="a", group="tt")


@pytest.mark.parametrize("option", ["anchor", "positive", "group"])
def test_a_folder_has_no_columns_and_a_file_no_split(work, tiny_corpus, option):
    write_collection(work / "data", tiny_corpus[:9])
    with pytest.raises(ConfigError, match=rf"^{option}: names a column, and data is a BEIR folder; leave it out"):
        read_mining_pairs("data", split="test", **{option: "text"})
    with pytest.raises(ConfigError, match=r"^split: names judgements of a BEIR folder, and pairs.jsonl is none"):
        read_mining_pairs("pairs.jsonl", split="train")
    with pytest.raises(DataError, match=r"train.tsv: no such file, nor with .gz; splits here: test"):
        read_mining_pairs("data")


def test_no_relevant_document_and_no_text_at_all_are_refused(work, tiny_corpus):
    folder = write_collection(work / "data", tiny_corpus[:9])
    write_lines(folder / "qrels" / "train.tsv", ["query-id\tcorpus-id\tscore", "q0\td0\t0"])
    with pytest.raises(DataError, match=r"^data: no query of the split train has a relevant document with a text"):
        read_mining_pairs("data")
    (work / "bare").mkdir()
    write_jsonl(work / "bare" / "corpus.jsonl", [{"_id": "d", "text": ""}])
    with pytest.raises(DataError, match=r"^bare: no document has a text; there is nothing to mine from"):
        read_mining_pairs("pairs.jsonl", documents="bare")


def test_pairs_in_memory_are_those_of_the_file(work):
    read = read_mining_pairs("pairs.jsonl", documents="documents.txt", group="topic")
    made = pairs_of(read.anchors, read.positives, read.groups, "documents.txt")
    assert (made.made_from, made.documents) == (read.made_from, read.documents)
    np.testing.assert_array_equal(made.forbidden.members, read.forbidden.members)
    assert pairs_of(read.anchors, read.positives).made_from == read_mining_pairs("pairs.jsonl").made_from


def test_other_pairs_and_documents_are_made_from_something_else():
    def made_from(anchors, positives, documents):
        names = [str(number) for number in range(len(documents))]
        pairs = mining.MiningPairs(anchors, positives, Texts(names, documents, "memory"))
        return pairs.made_from

    base = made_from(["a", "b"], ["p", "q"], ["x", "y"])
    assert len(base) == 16
    assert int(base, 16) >= 0
    others = [
        (["a", "c"], ["p", "q"], ["x", "y"]),
        (["a", "b"], ["p", "r"], ["x", "y"]),
        (["a", "b"], ["p", "q"], ["x", "z"]),
        (["a", "b"], ["p", "q"], ["y", "x"]),
        (["a"], ["b"], ["p", "q", "x", "y"]),
    ]
    assert len({base, *(made_from(*one) for one in others)}) == 6


@pytest.fixture
def mined(work, tiny_encoder):
    pairs = read_mining_pairs("pairs.jsonl", group="topic")
    mine(tiny_encoder, pairs, out="mined.jsonl", settings=MiningSettings(per_row=2))
    return pairs


def test_a_mined_file_is_read_back(work, mined):
    lines = lines_of(work / "mined.jsonl")
    found = read_mined("mined.jsonl", mined.made_from)
    assert found.anchors == [line["anchor"] for line in lines]
    assert found.positives == [line["positive"] for line in lines]
    assert found.negatives == tuple([line[f"negative_{k}"] for line in lines] for k in (1, 2))


def test_a_file_mined_from_something_else_is_refused_with_its_line(work, mined):
    advice = "was mined from other pairs or documents; mine again: textcl mine MODEL PAIRS --out mined.jsonl --force"
    with pytest.raises(DataError) as raised:
        read_mined("mined.jsonl", "0" * 16)
    assert str(raised.value) == f"mined.jsonl:1: {advice}"
    lines = lines_of(work / "mined.jsonl")
    write_jsonl(work / "mixed.jsonl", [*lines[:4], {**lines[4], "made_from": "0" * 16}])
    with pytest.raises(DataError, match=r"^mixed.jsonl:5: was mined from other pairs or documents"):
        read_mined("mixed.jsonl", mined.made_from)


@pytest.mark.parametrize("column", ["anchor", "positive", "negative_1", "made_from"])
def test_a_mined_file_without_a_column_is_refused(work, mined, column):
    lines = [{name: value for name, value in line.items() if name != column} for line in lines_of(work / "mined.jsonl")]
    write_jsonl(work / "less.jsonl", lines)
    with pytest.raises(DataError, match=rf"^less.jsonl: no column '{column}'; it was not written by textcl mine"):
        read_mined("less.jsonl", mined.made_from)


@pytest.mark.parametrize("value", ["", " ", None])
@pytest.mark.parametrize("column", ["negative_1", "negative_2"])
def test_a_row_without_a_negative_is_refused_with_its_line(work, mined, column, value):
    lines = lines_of(work / "mined.jsonl")
    write_jsonl(work / "hole.jsonl", [*lines[:6], {**lines[6], column: value}, *lines[7:]])
    with pytest.raises(DataError, match=rf"^hole.jsonl:7: no text in column '{column}'"):
        read_mined("hole.jsonl", mined.made_from)


def test_a_gap_among_the_negatives_is_refused(work, mined):
    lines = [{**line, "negative_4": "more"} for line in lines_of(work / "mined.jsonl")]
    write_jsonl(work / "gap.jsonl", lines)
    with pytest.raises(DataError, match=r"^gap.jsonl: no column 'negative_3'"):
        read_mined("gap.jsonl", mined.made_from)


# --- training -------------------------------------------------------------------------------------------------------


def test_a_mined_file_trains_as_it_is_and_its_negatives_count(work, mined, tiny_model_folder):
    recipe = write_recipe(work, tiny_model_folder, "mined.jsonl")
    losses = []
    for hard in ([], ["negative_1"], ["negative_1", "negative_2"]):
        columns = {"anchor": "anchor", "positive": "positive", "hard_negatives": hard}
        sets = {"data.columns": columns, "data.group": "group", "encoder.dropout": 0.0, "training.max_steps": 1}
        run = textcl.train(recipe, set=sets, out=work / f"run-{len(hard)}")
        losses += [line["value"] for line in run.journal if line["name"] == "loss"][:1]
    assert losses[0] < losses[1] < losses[2]
