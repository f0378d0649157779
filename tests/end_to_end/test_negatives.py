"""Mined hard negatives in a run: from a file, or by the encoder in training every so many steps."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import textcl
from tests.end_to_end.kills import kill_at_step
from tests.end_to_end.outcomes import differ, values, weights
from tests.journals import journal_without_speed
from tests.launch import run_together
from tests.small_data import write_jsonl, write_lines, write_recipe
from textcl.assemble.components import make_components
from textcl.assemble.mining import mine_rows
from textcl.assemble.mining_pairs import read_mining_pairs
from textcl.assemble.negatives import Miner, Negatives
from textcl.assemble.processes import make_accelerator
from textcl.assemble.sources import make_source
from textcl.assemble.texts import held, read_training_texts
from textcl.cli.app import run
from textcl.errors import ArtifactError
from textcl.index.mine import MiningSettings
from textcl.methods.method import ABSENT
from textcl.progress import quiet, silent
from textcl.randomness import key_of
from textcl.recipe.reading import read_recipe
from textcl.training.checkpoint import checkpoints
from textcl.training.journal import read_journal

DATA = {"train": "pairs.jsonl", "columns": {"anchor": "anchor", "positive": "positive"}}
LOOP = {
    "batch_size": 6, "max_steps": 9, "epochs": 9, "learning_rate": 3.0e-3, "log_every": 1, "save_every": 3,
    "precision": "fp32",
}  # fmt: skip
ROWS = 24


@pytest.fixture
def work(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder):
    """A folder with 24 pairs, of which each third row asks the first one's question again, and with documents."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"anchor": tiny_corpus[i - i % 3], "positive": tiny_corpus[i + 30], "topic": f"t{i // 6}"} for i in range(ROWS)
    ]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    write_lines(tmp_path / "documents.txt", tiny_corpus)
    write_recipe(tmp_path, tiny_model_folder, "texts.txt")
    return tmp_path


def sections(negatives, data=(), more=(), **training):
    loop = {**LOOP, "health": None, **training}
    return {"data": {**DATA, **dict(data)}, "negatives": negatives, "training": loop, "views": {}, **dict(more)}


def words_of(out, negatives, data=(), more=(), **training):
    found = sections(negatives, data, more, **training)
    sets = [f"{name}={json.dumps(section)}" for name, section in found.items()]
    return ["train", "recipe.yaml", *(word for one in sets for word in ("--set", one)), "--out", out]


def train(out, negatives, data=(), more=(), words=(), **training):
    return run([*words_of(out, negatives, data, more, **training), *words])


def refused(work, capsys, negatives, *parts, **training):
    """The line of a run that is refused with exit code 2, before anything is written."""
    before = sorted(path.name for path in work.iterdir())
    capsys.readouterr()
    assert train("new", negatives, *parts, **training) == 2
    assert sorted(path.name for path in work.iterdir()) == before
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("textcl: "))
    return line.removeprefix("textcl: ")


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def mined(model, out="mined.jsonl", documents=None, **settings):
    pairs = read_mining_pairs("pairs.jsonl", documents=documents)
    return textcl.mine(model, pairs, out=out, settings=MiningSettings(**settings), force=True)


def made(work, negatives, data=(), more=()):
    """The negatives of a recipe, its texts, and its miner in the folder `run`."""
    recipe = read_recipe(work / "recipe.yaml", sections(negatives, data, more))
    texts = held(read_training_texts(recipe.data, quiet)[0])
    parts = make_components(recipe, "cpu")
    source, _longer, _notes = make_source(texts, parts, recipe, quiet)
    found = Negatives(recipe, texts)
    (work / "run").mkdir(exist_ok=True)
    accelerator = make_accelerator(recipe.training)
    return found, texts, Miner(found, parts, source, work / "run", accelerator, quiet, silent)


# --- from a file ----------------------------------------------------------------------------------------------------


def test_what_textcl_mine_wrote_for_the_same_pairs_trains(work, tiny_model_folder):
    mined(tiny_model_folder, per_row=2)
    losses = []
    for negatives in (None, {"file": "mined.jsonl"}, {"file": "mined.jsonl", "per_row": 2}):
        out = f"run-{len(losses)}"
        assert (
            train(out, negatives, more={"encoder": {"model": str(tiny_model_folder), "dropout": 0}}, max_steps=1) == 0
        )
        losses.append(values(work / out, "loss")[1])
        assert not (work / out / "negatives").exists()
        assert not [line for line in read_journal(work / out / "journal.jsonl") if "negatives/" in line["name"]]
    assert losses[0] < losses[1] < losses[2]
    # The same file, taken as data with columns, trains to the same loss: both are the file's negatives.
    columns = {"anchor": "anchor", "positive": "positive", "hard_negatives": ["negative_1", "negative_2"]}
    more = {"encoder": {"model": str(tiny_model_folder), "dropout": 0}}
    assert train("columns", None, {"train": "mined.jsonl", "columns": columns}, more, max_steps=1) == 0
    assert values(work / "columns", "loss")[1] == pytest.approx(losses[2], rel=1e-6)


def test_each_row_has_the_negatives_of_its_line_and_one_without_a_line_has_none(
    work, tiny_model_folder, tiny_tokenizer
):
    mined(tiny_model_folder, per_row=2)
    lines = lines_of(work / "mined.jsonl")
    kept = [line for place, line in enumerate(lines) if place not in (4, 17)]
    random.Random(0).shuffle(kept)
    write_jsonl(work / "mined.jsonl", kept)
    _found, texts, miner = made(work, {"file": "mined.jsonl", "per_row": 2})
    assert miner.every is None
    batch = miner.source.draw(np.arange(ROWS), 0)
    assert batch.sides == 4
    for row in range(ROWS):
        for column in (0, 1):
            ids = batch.tokens.row((2 + column) * ROWS + row).tolist()
            if row in (4, 17):
                assert len(ids) == 3
                assert (batch.negative_groups[row, column] == ABSENT).all()
            else:
                text = lines[row][f"negative_{column + 1}"]
                assert ids == tiny_tokenizer(text, truncation=True, max_length=24)["input_ids"]
                assert (batch.negative_groups[row, column] != ABSENT).all()
    assert texts.anchors[4] == lines[4]["anchor"]


def test_fewer_negatives_a_row_are_the_first_columns_and_more_are_refused(work, tiny_model_folder, capsys):
    mined(tiny_model_folder, per_row=2)
    two, _texts, _miner = made(work, {"file": "mined.jsonl", "per_row": 2})
    one, _texts, _miner = made(work, {"file": "mined.jsonl"})
    np.testing.assert_array_equal(one.first, two.first[:, :1])
    said = "negatives.per_row: expected at most 2, as many as the file has, got 3"
    assert refused(work, capsys, {"file": "mined.jsonl", "per_row": 3}) == said


def test_a_mined_negative_that_is_a_positive_of_another_row_is_no_negative_of_that_row(work, tiny_model_folder):
    """Neither of one with the same text, nor of the others in a group with that one."""
    mined(tiny_model_folder)
    found, _texts, miner = made(work, {"file": "mined.jsonl"}, {"group": "topic"})
    batch = miner.source.draw(np.arange(ROWS), 0)
    positives = [row["positive"] for row in lines_of(work / "pairs.jsonl")]
    documents = found.pairs.documents.texts
    for column in range(ROWS):
        text = documents[found.first[column, 0]]
        owner = positives.index(text)
        shared = {
            row
            for row in range(ROWS)
            if set(batch.groups[row].tolist()) & set(batch.negative_groups[column, 0].tolist())
        }
        assert shared == {row for row in range(ROWS) if row // 6 == owner // 6}  # six rows have one topic
    # Without groups, the row alone that has the text; here each is the positive of a single row.
    found, _texts, miner = made(work, {"file": "mined.jsonl"})
    batch = miner.source.draw(np.arange(ROWS), 0)
    for column in range(ROWS):
        owner = positives.index(documents[found.first[column, 0]])
        shared = (batch.groups == batch.negative_groups[column, 0, 0]).any(axis=1)
        assert np.flatnonzero(shared).tolist() == [owner]


def test_a_document_that_is_an_anchor_s_text_is_no_negative_of_the_anchor_s_group(work):
    found, _texts, miner = made(work, {"every": 4, "documents": "documents.txt"}, {"group": "topic"})
    rows = lines_of(work / "pairs.jsonl")
    groups = miner.source.groups
    for place, text in enumerate(found.pairs.documents.texts):
        topics = {row["topic"] for row in rows if text in (row["anchor"], row["positive"])}
        shared = [row for row in range(ROWS) if set(groups[row].tolist()) & set(found.labels[place].tolist())]
        assert shared == [row for row in range(ROWS) if rows[row]["topic"] in topics], text


def test_no_row_is_given_a_negative_of_its_own_group(work):
    rows = lines_of(work / "pairs.jsonl")
    topic_of = {row["positive"]: row["topic"] for row in rows}
    met = []
    for data in ({}, {"group": "topic"}):
        found, _texts, miner = made(work, {"every": 4, "per_row": 4}, data)
        places = miner.at(0, 0)[0].hard_negatives.places
        topics = [[topic_of[found.pairs.documents.texts[place]] for place in own] for own in places]
        met.append(sum(row["topic"] in own for row, own in zip(rows, topics, strict=True)))
    assert met[0] > 0
    assert met[1] == 0


def test_the_share_of_masked_negatives_is_that_of_their_labels(work, tiny_model_folder):
    mined(tiny_model_folder)
    found, texts, _miner = made(work, {"file": "mined.jsonl"})
    assert train("trained", {"file": "mined.jsonl"}, batch_size=ROWS, max_steps=1, save_every=None) == 0
    positives = [found.pairs.documents.texts[place] for place in found.first[:, 0]]
    same = sum(
        (i != j) and (texts.anchors[i] == texts.anchors[j] or texts.positives[i] == texts.positives[j])
        for i in range(ROWS)
        for j in range(ROWS)
    )
    hard = sum(text in (texts.anchors[i], texts.positives[i]) for i in range(ROWS) for text in positives)
    assert hard >= ROWS  # each is the positive of a row
    share = (same + hard) / (ROWS * (ROWS - 1) + ROWS * ROWS)
    assert values(work / "trained", "masked_text_fraction")[1] == pytest.approx(share)


def test_near_equal_documents_are_masked_as_near_equal_texts_are(work, tiny_model_folder):
    rows = lines_of(work / "pairs.jsonl")
    rows[7]["positive"] = rows[16]["positive"] + "!"
    write_jsonl(work / "pairs.jsonl", rows)
    found, _texts, _miner = made(work, {"every": 4}, {"near_duplicates": 0.6})
    documents = list(found.pairs.documents.texts)
    own, other = (set(found.labels[documents.index(rows[row]["positive"])].tolist()) for row in (7, 16))
    assert own & other
    groups = _texts.groups
    for row in (7, 16):
        assert set(groups[row].tolist()) & own
        assert set(groups[row].tolist()) & other
    assert not set(groups[3].tolist()) & (own | other)


@pytest.mark.parametrize(
    ("documents", "change"),
    [(None, {"anchor": "When is a river wide?"}), (None, {"positive": "In spring."}), ("documents.txt", {})],
)
def test_a_file_mined_from_something_else_is_refused_with_its_line(work, tiny_model_folder, capsys, documents, change):
    mined(tiny_model_folder, documents=documents)
    rows = lines_of(work / "pairs.jsonl")
    write_jsonl(work / "pairs.jsonl", [*rows[:5], {**rows[5], **change}, *rows[6:]])
    advice = "was mined from other pairs or documents; mine again: textcl mine MODEL PAIRS --out mined.jsonl --force"
    assert refused(work, capsys, {"file": "mined.jsonl"}) == f"mined.jsonl:1: {advice}"
    if documents:
        assert train("run", {"file": "mined.jsonl", "documents": documents}, max_steps=1) == 0


def test_a_mined_file_that_was_changed_by_hand_is_refused(work, tiny_model_folder, capsys):
    mined(tiny_model_folder)
    lines = lines_of(work / "mined.jsonl")
    write_jsonl(work / "mined.jsonl", [*lines[:9], {**lines[9], "negative_1": "My own words."}, *lines[10:]])
    said = "mined.jsonl: 'My own words.' is a negative here and none of the documents; mine again"
    assert refused(work, capsys, {"file": "mined.jsonl"}) == said
    write_jsonl(work / "mined.jsonl", [*lines[:9], {**lines[9], "made_from": "0" * 16}, *lines[10:]])
    assert refused(work, capsys, {"file": "mined.jsonl"}).startswith("mined.jsonl:10: was mined from other pairs")
    assert refused(work, capsys, {"file": "none.jsonl"}) == "none.jsonl: no such file"
    said = "pairs.jsonl: no column 'negative_1'; it was not written by textcl mine"
    assert refused(work, capsys, {"file": "pairs.jsonl"}) == said


@pytest.mark.parametrize(
    ("negatives", "said"),
    [
        ({}, "negatives: needs a file of mined negatives, or in `every` how often to mine"),
        ({"every": 0}, "negatives.every: expected a number above 0, got 0"),
        ({"every": 4, "first_rank": 0}, "negatives.first_rank: expected a rank, counted from 1, got 0"),
        ({"every": 4, "per_row": 0}, "negatives.per_row: expected a number in 1 … 100, as many as there are ranks"),
        ({"every": 4, "margin": 3.0}, "negatives.margin: expected a difference of cosines in [0, 2], got 3.0"),
        ({"every": 4, "sampling": "best"}, "negatives.sampling: expected 'top' or 'random', got 'best'"),
        ({"every": 4, "documents": "none.txt"}, "none.txt: no such file"),
    ],
)
def test_negatives_that_cannot_be_are_named_with_their_section(work, capsys, negatives, said):
    assert refused(work, capsys, negatives).startswith(said)


@pytest.mark.parametrize("negatives", [{"every": 4}, {"file": "mined.jsonl"}])
def test_negatives_are_for_methods_that_take_them_and_data_without_others(work, capsys, negatives, tiny_corpus):
    byol = {"method": {"name": "byol", "projector": {"hidden": 8, "out": 8}}}
    (field,) = negatives
    said = f"negatives.{field}: the method byol takes no hard negatives"
    assert refused(work, capsys, negatives, (), byol) == said
    columns = {**DATA["columns"], "hard_negatives": ["topic"]}
    said = "recipe: negatives and data.columns.hard_negatives exclude each other"
    assert refused(work, capsys, negatives, {"columns": columns}) == said
    said = "recipe: negatives are mined for pairs: name their columns in data.columns"
    assert refused(work, capsys, negatives, {"columns": None, "column": "anchor"}) == said


# --- mined in training ----------------------------------------------------------------------------------------------


def recomputed(work, encoder, step, **settings):
    """The negatives that an encoder mines for a step, cut as in training."""
    encoder.max_seq_length = 24
    pairs = read_mining_pairs("pairs.jsonl")
    return mine_rows(encoder, pairs, MiningSettings(**settings, seed=key_of(0, "mine", step)))


@pytest.mark.parametrize("sampling", ["top", "random"])
def test_every_so_many_steps_the_encoder_as_it_is_mines_again(work, tiny_encoder, capsys, sampling):
    negatives = {"every": 3, "per_row": 2, "last_rank": 12, "sampling": sampling}
    settings = {name: value for name, value in negatives.items() if name != "every"}
    assert train("run", negatives) == 0
    assert "step 3: 48 hard negatives mined for 24 pairs" in capsys.readouterr().err
    files = sorted(path.name for path in (work / "run" / "negatives").iterdir())
    assert files == ["step-0.npy", "step-3.npy", "step-6.npy"]
    tables = [np.load(work / "run" / "negatives" / name) for name in files]
    assert (tables[0] != tables[1]).any()
    assert (tables[1] != tables[2]).any()
    expected = recomputed(work, tiny_encoder, 0, **settings)
    np.testing.assert_array_equal(tables[0], expected.negatives)
    saved = {int(path.name.removeprefix("step-")): path for path in checkpoints(work / "run" / "checkpoints")}
    state = torch.load(saved[6] / "state.pt")["method"]
    own = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    tiny_encoder.load_state_dict(own)
    expected = recomputed(work, tiny_encoder, 6, **settings)
    np.testing.assert_array_equal(tables[2], expected.negatives)
    # The journal says so at the first step that they are for.
    assert values(work / "run", "negatives/found_fraction") == {1: 1.0, 4: 1.0, 7: 1.0}
    score = values(work / "run", "negatives/score")
    assert list(score) == [1, 4, 7]
    assert score[7] == pytest.approx(float(expected.scores.mean()), abs=1e-5)
    own_score = values(work / "run", "negatives/positive_score")
    assert own_score[7] == pytest.approx(float(expected.positive_scores.mean()), abs=1e-5)


def test_the_first_negatives_are_the_file_s_and_later_ones_mined(work, tiny_model_folder):
    mined(tiny_model_folder, first_rank=5)
    assert train("run", {"file": "mined.jsonl", "every": 4}) == 0
    assert sorted(path.name for path in (work / "run" / "negatives").iterdir()) == ["step-4.npy", "step-8.npy"]
    assert list(values(work / "run", "negatives/score")) == [5, 9]
    assert train("plain", {"file": "mined.jsonl"}) == 0
    losses = [values(work / name, "loss") for name in ("run", "plain")]
    assert [losses[0][step] == losses[1][step] for step in range(1, 10)] == [True] * 4 + [False] * 5


def test_rows_without_a_negative_train_on_and_are_counted(work, tiny_encoder, tiny_model_folder):
    middle = float(np.median(recomputed(work, tiny_encoder, 0).scores))
    assert train("run", {"every": 20, "max_score": middle, "last_rank": 1}, max_steps=2) == 0
    found = values(work / "run", "negatives/found_fraction")[1]
    table = np.load(work / "run" / "negatives" / "step-0.npy")
    assert 0 < found < 1
    assert found == pytest.approx((table != ABSENT).mean())
    assert values(work / "run", "negatives/score")[1] <= middle
    more = {"encoder": {"model": str(tiny_model_folder), "dropout": 0}}
    assert train("none", {"every": 20, "max_score": -1.0}, more=more, max_steps=2) == 0
    assert values(work / "none", "negatives/found_fraction") == {1: 0.0}
    assert values(work / "none", "negatives/score") == {1: 0.0}
    assert train("off", None, more=more, max_steps=2) == 0
    assert values(work / "none", "loss") == pytest.approx(values(work / "off", "loss"), rel=1e-6)


@pytest.mark.slow
def test_workers_draw_the_new_negatives_too(work):
    for workers in (0, 1):
        assert train(f"run-{workers}", {"every": 2, "per_row": 2}, workers=workers, max_steps=5) == 0
    assert_close(weights(work / "run-1"), weights(work / "run-0"), rtol=0, atol=0)
    assert train("other", {"every": 4, "per_row": 2}, max_steps=5) == 0
    assert differ(weights(work / "other"), weights(work / "run-0"))


def stopped(work, out, step, negatives, **training):
    """What a kill behind a step leaves of a run; `whole` is the run that never stopped."""
    assert train("whole", negatives, **training) == 0
    shutil.copytree(work / "whole", work / out)
    (work / out / "manifest.json").unlink()
    shutil.rmtree(work / out / "model")
    for path in checkpoints(work / out / "checkpoints"):
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)


@pytest.mark.parametrize(
    ("every", "checkpoint"),
    [  # at a mining, between two, and none at all
        (3, 6),
        pytest.param(4, 6, marks=pytest.mark.slow),
        pytest.param(3, -1, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_has_the_bits_and_the_journal_of_one_that_never_stopped(work, every, checkpoint):
    stopped(work, "run", checkpoint, {"every": every, "per_row": 2}, save_every=3)
    assert [path.name for path in checkpoints(work / "run" / "checkpoints")] == (
        [] if checkpoint < 0 else [f"step-{checkpoint}"]
    )
    assert train("run", {"every": every, "per_row": 2}, words=["--resume"], save_every=3) == 0
    assert_close(weights(work / "run"), weights(work / "whole"), rtol=0, atol=0)
    journals = [journal_without_speed(work / name / "journal.jsonl") for name in ("run", "whole")]
    assert journals[0] == journals[1]
    for path in (work / "whole" / "negatives").iterdir():
        assert (work / "run" / "negatives" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (None, "is missing: the negatives that this step of the run was trained with; start the run again"),
        (b"", "is damaged; start the run again"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "is damaged; start the run again"),
        (b"some words", "is damaged; start the run again"),
        ("shape", "is damaged: not the negatives of these pairs; start the run again"),
        ("number", "is damaged: not the negatives of these pairs; start the run again"),
    ],
    ids=["missing", "empty", "cut", "words", "shape", "number"],
)
def test_mined_negatives_that_are_lost_or_damaged_end_a_resume_with_one_line(work, damage, said):
    _found, _texts, miner = made(work, {"every": 4})
    path = work / "run" / "negatives" / "step-4.npy"
    path.parent.mkdir()
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    elif damage == "shape":
        np.save(path, np.zeros((ROWS - 1, 1), dtype=np.int64))
    elif damage == "number":
        np.save(path, np.full((ROWS, 1), ROWS, dtype=np.int64))
    with pytest.raises(ArtifactError) as raised:
        miner.at(4, 6)
    assert str(raised.value) == f"{path}: {said}"
    assert "\n" not in str(raised.value)
    # Where the run stands at the mining itself, nothing is lost: it mines.
    source, numbers = miner.at(4, 4)
    assert set(numbers) == {"negatives/found_fraction", "negatives/score", "negatives/positive_score"}
    np.testing.assert_array_equal(miner.at(4, 6)[0].hard_negatives.places, source.hard_negatives.places)


def test_a_resume_that_lacks_its_negatives_exits_with_2(work, capsys):
    stopped(work, "run", 6, {"every": 4})
    (work / "run" / "negatives" / "step-4.npy").unlink()
    capsys.readouterr()
    assert train("run", {"every": 4}, words=["--resume"]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("textcl: "))
    assert line.startswith("textcl: run/negatives/step-4.npy: is missing: ")


def test_a_run_that_has_gone_back_forgets_what_was_mined_later(work, tiny_model_folder):
    mined(tiny_model_folder, first_rank=3)
    _found, _texts, miner = made(work, {"file": "mined.jsonl", "every": 2})
    begin, numbers = miner.at(0, 0)
    assert numbers == {}
    tables = {step: miner.at(step, step)[0].hard_negatives.places for step in (2, 4, 6)}
    assert not np.array_equal(tables[2], begin.hard_negatives.places)
    miner.forget(5)
    folder = work / "run" / "negatives"
    assert sorted(path.name for path in folder.iterdir()) == ["step-2.npy", "step-4.npy"]
    np.testing.assert_array_equal(miner.at(4, 5)[0].hard_negatives.places, tables[4])
    miner.forget(4)  # the next step mines for itself
    assert [path.name for path in folder.iterdir()] == ["step-2.npy"]
    miner.forget(0)
    assert list(folder.iterdir()) == []
    # Back at the begin the file's negatives are there again.
    np.testing.assert_array_equal(miner.at(0, 0)[0].hard_negatives.places, begin.hard_negatives.places)
    np.testing.assert_array_equal(miner.at(0, 1)[0].hard_negatives.places, begin.hard_negatives.places)


def test_a_rollback_mines_again_from_the_step_it_goes_back_to(work):
    """With these limits a look at step 3 finds a collapse each time; what was mined for step 3 on is made again."""
    health = {"every": 3, "policy": "rollback", "least_rank": 1.0, "least_spread": 1.0, "least_gap": 1.0}
    assert train("run", {"every": 2}, health=health, save_every=None) == 1
    lines = read_journal(work / "run" / "journal.jsonl")
    assert [(line["step"], line["value"]) for line in lines if line["name"] == "rollbacks"] == [(0, 3)]
    assert [line["step"] for line in lines if line["name"] == "negatives/score"] == [1, 3]
    assert sorted(path.name for path in (work / "run" / "negatives").iterdir()) == ["step-0.npy", "step-2.npy"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["pairs", "moco"])
def test_a_run_killed_between_two_minings_resumes_to_the_bits_of_one_that_never_stopped(work, method):
    chosen = {"name": method, **({"queue_size": 24, "momentum": 0.9} if method == "moco" else {})}
    more = {"method": chosen}
    negatives = {"every": 10, "per_row": 2, "sampling": "random", "last_rank": 15}
    loop = {"max_steps": 60, "epochs": 99, "save_every": 7, "workers": 1}
    kill_at = random.Random(method).randint(22, 55)
    assert train("whole", negatives, more=more, **loop) == 0
    kill_at_step(words_of("killed", negatives, more=more, **loop), work / "killed", kill_at)
    assert train("killed", negatives, more=more, words=["--resume"], **loop) == 0
    assert_close(weights(work / "killed"), weights(work / "whole"), rtol=0, atol=0)
    journals = [journal_without_speed(work / name / "journal.jsonl") for name in ("killed", "whole")]
    assert journals[0] == journals[1], kill_at
    for step in range(0, 60, 10):
        name = f"negatives/step-{step}.npy"
        assert (work / "killed" / name).read_bytes() == (work / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_two_processes_train_on_the_negatives_that_the_first_mines(work, tiny_model_folder):
    more = {"encoder": {"model": str(tiny_model_folder), "max_tokens": 24, "dropout": 0}}
    assert train("one", {"every": 3, "per_row": 2}, more=more) == 0
    two = words_of("two", {"every": 3, "per_row": 2}, more=more, batch_size=3)
    first, second = run_together(2, ["-m", "textcl", *two], work)
    assert first.count("hard negatives mined for 24 pairs") == 3
    assert second.strip() == ""
    name = "negatives/step-0.npy"
    assert (work / "two" / name).read_bytes() == (work / "one" / name).read_bytes()
    journals = [journal_without_speed(work / run / "journal.jsonl") for run in ("one", "two")]
    assert [(line["step"], line["name"]) for line in journals[0]] == [
        (line["step"], line["name"]) for line in journals[1]
    ]
    losses = [values(work / run, "loss") for run in ("one", "two")]
    assert [losses[1][step] for step in (1, 2, 3)] == pytest.approx([losses[0][step] for step in (1, 2, 3)], rel=1e-3)
