"""Several sources in one run, sources that are streamed, and labels of near-equal texts."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from tests.end_to_end.kills import kill_at_step
from tests.end_to_end.outcomes import assert_same_journals, differ, values, weights
from tests.journals import journal_without_speed
from tests.launch import run_together
from tests.small_data import write_collection, write_jsonl, write_lines, write_recipe
from tests.views.test_apertium import installed
from textcl.assemble.components import make_components
from textcl.assemble.given import read_given
from textcl.assemble.loop import make_batches
from textcl.assemble.processes import make_accelerator
from textcl.assemble.sources import StreamSource, make_sources
from textcl.assemble.texts import read_training_texts
from textcl.cli.app import run
from textcl.methods.method import ABSENT
from textcl.progress import quiet
from textcl.recipe.reading import read_recipe
from textcl.training.batches import draw_from
from textcl.training.order import Mixed

PAIRS = {"name": "faq", "train": "pairs.jsonl", "columns": {"anchor": "q", "positive": "a"}}
TRIPLETS = {
    "name": "nli",
    "train": "triplets.jsonl",
    "columns": {"anchor": "q", "positive": "a", "hard_negatives": ["other", "third"]},
}
TEXTS = {"name": "web", "train": "texts.txt"}
LOOP = {
    "batch_size": 6, "max_steps": 7, "learning_rate": 1.0e-3, "log_every": 1, "save_every": None, "health": None,
    "precision": "fp32",
}  # fmt: skip


@pytest.fixture
def work(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder):
    """A folder with 24 pairs, 20 triplets and 16 single texts, all different, and a recipe of four steps."""
    monkeypatch.chdir(tmp_path)
    said = [f"{first} {second}" for first in tiny_corpus[:8] for second in tiny_corpus[8:32]]
    rows = [dict(zip(("q", "a", "other", "third"), said[4 * i : 4 * i + 4], strict=True)) for i in range(44)]
    write_jsonl(
        tmp_path / "pairs.jsonl", [{"q": row["q"], "a": row["a"], "topic": i} for i, row in enumerate(rows[:24])]
    )
    write_jsonl(tmp_path / "triplets.jsonl", rows[24:])
    write_lines(tmp_path / "texts.txt", tiny_corpus[40:56])
    write_recipe(tmp_path, tiny_model_folder, "texts.txt")
    return tmp_path


def words_of(out, data, more=(), **training):
    sets = [f"data={json.dumps(data)}", f"training={json.dumps({**LOOP, **training})}", "views={}", *more]
    return ["train", "recipe.yaml", *(word for pair in sets for word in ("--set", pair)), "--out", out]


def train(out, data, more=(), words=(), **training):
    return run([*words_of(out, data, more, **training), *words])


def given(work, data, more=None, **training):
    """The texts and sources of a recipe, and the batches of one process."""
    recipe = read_recipe(
        work / "recipe.yaml",
        {"data": data, "views": {}, "training": {**LOOP, **training}, **(more or {})},
    )
    texts = read_training_texts(recipe.data, quiet)
    parts = make_components(recipe, "cpu")
    sources, _longer, _notes = make_sources(texts, parts, recipe, quiet)
    return recipe, texts, parts, sources


def last_fault(capsys):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("textcl: ")]
    assert len(lines) == 1, lines
    return lines[0].removeprefix("textcl: ")


# --- several sources ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batches", "weights_", "shares"),
    [
        # 24, 20 and 16 rows: two of five batches of 6, a third, and the rest
        ("one_source", (None, None, None), None),
        ("one_source", (3.0, 1.0, 2.0), (3, 1, 2)),
        ("mixed", (None, None, None), None),
        ("mixed", (3.0, 1.0, 2.0), (3, 1, 2)),
    ],
)
def test_each_source_gives_its_share_of_rows_and_the_journal_says_how_many(work, capsys, batches, weights_, shares):
    parts = [{**one, "weight": weight} for one, weight in zip((PAIRS, TRIPLETS, TEXTS), weights_, strict=True)]
    assert train("run", {"sources": parts, "batches": batches}, epochs=1, max_steps=None) == 0
    said = capsys.readouterr().err
    assert "24 training pairs from pairs.jsonl" in said
    assert "20 training pairs from triplets.jsonl" in said
    assert "16 training texts from texts.txt" in said
    facts = json.loads((work / "run" / "manifest.json").read_text())
    assert facts["steps"] == 10  # an epoch of 60 rows, 6 a batch
    share = np.array(shares or (24, 20, 16)) / sum(shares or (24, 20, 16))
    rows = [values(work / "run", f"rows/{name}") for name in ("faq", "nli", "web")]
    for step in range(1, 11):
        found = np.array([one[step] for one in rows])
        assert found.sum() == 6 * step
        unit = 6 if batches == "one_source" else 1
        assert (np.abs(found - share * 6 * step) <= unit).all(), (step, found)
        assert (found % unit == 0).all()
    # What the journal says is what was drawn.
    assert all(np.diff([one[step] for step in range(1, 11)]).max() > 0 for one in rows)


@pytest.mark.parametrize("batches", ["one_source", "mixed"])
def test_a_batch_of_triplets_pairs_and_texts_holds_each_as_it_is(work, tiny_tokenizer, batches):
    data = {"sources": [PAIRS, TRIPLETS, TEXTS], "batches": batches}
    recipe, texts, _parts, sources = given(work, data)
    mixed = batches == "mixed"
    order = Mixed([24, 20, 16], [24, 20, 16], 12, 5, recipe.seed)
    seen = set()
    for number in range(5):
        rows = order.batch(number)
        rows = rows if mixed else rows[rows[:, 0] == number % 3]
        batch = draw_from(sources, rows)
        assert batch.sides == (4 if mixed or number % 3 == 1 else 2)
        for place, (source, row, _epoch) in enumerate(rows.tolist()):
            held = [column[row] for column in (texts[source].anchors, texts[source].positives)]
            held += [column[row] for column in texts[source].hard_negatives]
            for side in range(batch.sides):
                ids = batch.tokens.row(side * len(batch) + place).tolist()
                if side < len(held):
                    assert ids == tiny_tokenizer(held[side], truncation=True, max_length=24)["input_ids"]
                else:
                    assert len(ids) == 3  # one token holds the place
                if side >= 2:
                    assert (batch.negative_groups[place, side - 2] == ABSENT).all() == (side >= len(held))
            seen.add(source)
    assert seen == {0, 1, 2}


def test_rows_of_one_source_alone_have_the_columns_of_a_mixed_batch(work):
    """A process may have just these, and another one the triplets."""
    for streamed in (None, 5):
        sources = [{**one, "stream": streamed} for one in (PAIRS, TRIPLETS, TEXTS)]
        _recipe, _texts, _parts, made = given(work, {"sources": sources, "batches": "mixed"})
        alone = [source.draw(np.arange(3, 6), 0) for source in made]
        assert [batch.sides for batch in alone] == [4, 4, 4]
        assert [(batch.negative_groups == ABSENT).all() for batch in alone] == [True, False, True]
    near = {"sources": [PAIRS, TRIPLETS, TEXTS], "batches": "mixed", "near_duplicates": 0.9}
    _recipe, _texts, _parts, made = given(work, near)
    assert [source.draw(np.arange(2), 0).negative_groups.shape for source in made] == [(2, 2, 2)] * 3


def test_a_source_without_hard_negatives_beside_one_with_them_trains_as_if_alone(work):
    """What holds the places of missing hard negatives is nobody's negative."""
    quiet_third = {**TRIPLETS, "columns": {"anchor": "q", "positive": "a"}}
    losses = []
    for second in (TRIPLETS, quiet_third):
        # of 60 rows 20 are triplets, but with this weight none stands in the first batch
        data = {"sources": [{**PAIRS, "weight": 1000.0}, {**second, "weight": 1.0}], "batches": "mixed"}
        assert train(f"run-{len(losses)}", data, ["encoder.dropout=0"], max_steps=1) == 0
        losses.append(values(work / f"run-{len(losses)}", "loss")[1])
        assert values(work / f"run-{len(losses) - 1}", "rows/nli")[1] == 0
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    data["sources"][0]["weight"], data["sources"][1] = 1.0, {**TRIPLETS, "weight": 1.0}
    assert train("both", data, ["encoder.dropout=0"], max_steps=1) == 0
    data["sources"][1] = {**quiet_third, "weight": 1.0}
    assert train("none", data, ["encoder.dropout=0"], max_steps=1) == 0
    assert values(work / "both", "loss")[1] > values(work / "none", "loss")[1] + 0.01


@pytest.mark.slow
def test_batches_of_one_source_and_mixed_ones_train_differently(work):
    runs = []
    for batches in ("one_source", "mixed", "mixed"):
        runs.append(f"run-{len(runs)}")
        assert train(runs[-1], {"sources": [PAIRS, TEXTS], "batches": batches}) == 0
    one, mixed, again = (weights(work / name) for name in runs)
    assert differ(one, mixed)
    assert_close(mixed, again, rtol=0, atol=0)


@pytest.mark.parametrize("streamed", [None, 6])
def test_groups_belong_to_their_source_and_a_row_without_one_is_alone(work, streamed):
    rows = [json.loads(line) for line in (work / "pairs.jsonl").read_text().splitlines()]
    write_jsonl(work / "pairs.jsonl", [{**row, "topic": i % 3 or None} for i, row in enumerate(rows)])
    grouped = {**PAIRS, "group": "topic", "stream": streamed}
    other = {**grouped, "name": "again", "columns": {"anchor": "a", "positive": "q"}}
    _recipe, texts, _parts, sources = given(work, {"sources": [grouped, other, {**TEXTS, "stream": streamed}]})
    assert texts[0].kinds == ("text", "text", "group")
    labels = [source.draw(np.arange(len(source)), 0).groups[:, 2].tolist() for source in sources]
    for own in labels[:2]:
        for row, label in enumerate(own):
            alike = {place for place, one in enumerate(own) if one == label}
            assert alike == ({row} if row % 3 == 0 else {place for place in range(24) if place % 3 == row % 3})
    assert len(set(labels[2])) == 16
    assert not set(labels[0]) & set(labels[1])
    assert not (set(labels[0]) | set(labels[1])) & set(labels[2])


def test_other_groups_are_other_data(work):
    found = []
    for group in (None, "topic"):
        recipe = read_recipe(work / "recipe.yaml", {"data": {**ONE, "group": group}, "views": {}})
        out = work / f"run-{group}"
        found.append(
            read_given(recipe, make_accelerator(recipe.training), out, resume=False, force=False, progress=quiet)
        )
        assert not out.exists()
    assert found[0].fingerprint != found[1].fingerprint


def test_single_texts_have_the_prompt_of_documents_beside_pairs(work, tiny_model_folder, tiny_tokenizer):
    prompts = {"query": "what is ", "document": "the moon "}
    more = {"encoder": {"model": str(tiny_model_folder), "max_tokens": 24, "dropout": 0.1, "prompts": prompts}}
    for streamed in (None, 5):
        sources = [{**one, "stream": streamed} for one in (PAIRS, TEXTS)]
        _recipe, _texts, _parts, (pairs, single) = given(work, {"sources": sources}, more)
        for source, begins in ((pairs, ("what is ", "the moon ")), (single, ("the moon ", "the moon "))):
            batch = source.draw(np.arange(3), 0)
            for side, begin in enumerate(begins):
                prefix = tiny_tokenizer(begin)["input_ids"][:-1]
                assert all(batch.tokens.row(3 * side + row).tolist()[: len(prefix)] == prefix for row in range(3))


def order_of(work, data):
    recipe, texts, parts, sources = given(work, data)
    return make_batches(sources, texts, recipe, parts.method, make_accelerator(recipe.training)).order


def test_two_sources_of_equal_length_are_in_different_orders(work):
    for batches in ("one_source", "mixed"):
        sources = [PAIRS, {**PAIRS, "name": "again", "columns": {"anchor": "a", "positive": "q"}}]
        order = order_of(work, {"sources": sources, "batches": batches})
        tables = np.concatenate([order.batch(number) for number in range(order.per_epoch)])
        first, second = (tables[tables[:, 0] == source, 1].tolist() for source in (0, 1))
        assert sorted(first) == sorted(second) == list(range(24))
        if batches == "one_source":
            assert first != second
        else:  # rows of a batch are shuffled; which ones are in it
            assert set(first[:3]) != set(second[:3])


@pytest.mark.parametrize("batches", [None, "one_source", "mixed"])
def test_rows_of_a_stream_come_block_by_block(work, batches):
    stream = {**PAIRS, "stream": 6}
    if batches is None:
        data = {key: value for key, value in stream.items() if key != "name"}
    else:
        data = {"sources": [stream, TEXTS], "batches": batches}
    order = order_of(work, data)
    table = np.concatenate([order.batch(number) for number in range(order.per_epoch)])
    rows = table[(table[:, 0] == 0) & (table[:, 2] == 0), 1]
    assert len(rows) >= 18
    blocks = (rows // 6).tolist()
    if batches == "mixed":  # in a batch the rows of two blocks may stand side by side, in any order
        assert all(len({row // 6 for row in batch[batch[:, 0] == 0, 1]}) <= 2 for batch in map(order.batch, range(5)))
        changes = [len(set(blocks[: 6 * number])) for number in (1, 2, 3)]
        assert all(found <= number + 1 for number, found in zip((1, 2, 3), changes, strict=True))
    else:
        assert all(len(set(blocks[start : start + 6])) == 1 for start in range(0, len(blocks), 6))
    assert rows.tolist() != sorted(rows.tolist())


# --- streams --------------------------------------------------------------------------------------------------------

MASKED = 'views={"first": [{"name": "mask", "rate": 0.3}], "second": [{"name": "delete", "rate": 0.3}]}'


def test_a_block_of_all_rows_trains_to_the_bits_of_rows_in_memory_and_a_smaller_one_to_others(work):
    for name, block in (("memory", None), ("whole", 20), ("larger", 1000), ("small", 5)):
        data = {**TRIPLETS, "group": None, "stream": block}
        del data["name"]
        assert train(name, data, [MASKED], epochs=9) == 0
    memory, whole, larger, small = (weights(work / name) for name in ("memory", "whole", "larger", "small"))
    assert_close(whole, memory, rtol=0, atol=0)
    assert_close(larger, memory, rtol=0, atol=0)
    assert differ(small, memory)


@pytest.mark.parametrize("batches", [pytest.param("one_source", marks=pytest.mark.slow), "mixed"])
def test_streams_train_to_the_same_bits_with_and_without_workers(work, batches):
    sources = [{**PAIRS, "stream": 7}, {**TRIPLETS, "stream": 6}, {**TEXTS, "stream": 5}]
    for workers in (0, 2):
        data = {"sources": sources, "batches": batches}
        assert train(f"run-{workers}", data, [MASKED], workers=workers, max_steps=12) == 0
    assert_close(weights(work / "run-2"), weights(work / "run-0"), rtol=0, atol=0)
    journals = [journal_without_speed(work / name / "journal.jsonl") for name in ("run-0", "run-2")]
    assert journals[0] == journals[1]


def test_a_row_of_a_stream_is_the_row_in_memory_in_the_same_views(work):
    views = {"views": {"first": [{"name": "mask", "rate": 0.3}], "second": [{"name": "delete", "rate": 0.3}]}}
    made = []
    for block in (None, 7):
        data = {key: value for key, value in PAIRS.items() if key != "name"}
        _recipe, _texts, _parts, (source,) = given(work, {**data, "group": "topic", "stream": block}, views)
        made.append(source)
    assert isinstance(made[1], StreamSource)
    assert [len(source) for source in made] == [24, 24]
    for rows in ([23, 0, 8, 7, 14, 6], [13, 13, 20]):
        memory, stream = (source.draw(np.array(rows), 3, 0.5) for source in made)
        assert stream.rows.tolist() == memory.rows.tolist() == rows
        np.testing.assert_array_equal(stream.tokens.ids, memory.tokens.ids)
        np.testing.assert_array_equal(stream.tokens.offsets, memory.tokens.offsets)
        np.testing.assert_array_equal(stream.groups, memory.groups)


def test_a_stream_is_gone_through_block_by_block_each_row_once_an_epoch(work):
    data = {key: value for key, value in PAIRS.items() if key != "name"}
    _recipe, _texts, _parts, (source,) = given(work, {**data, "stream": 6})
    from textcl.training.order import Shuffled

    order = Shuffled(24, 6, 0, 6)
    read = []
    real = source.texts.read
    object.__setattr__(source, "texts", _Noting(source.texts, read))
    for number in range(8):
        batch = source.draw(order.batch(number)[:, 1], number // 4)
        assert len({row // 6 for row in batch.rows.tolist()}) == 1
    assert len(real(3)) == 6
    assert sorted(read[:4]) == sorted(read[4:]) == [0, 1, 2, 3]


class _Noting:
    """Texts that note which blocks were read."""

    def __init__(self, texts, read):
        self.texts, self.noted = texts, read

    @property
    def block(self):
        return self.texts.block

    def read(self, number):
        self.noted.append(number)
        return self.texts.read(number)


@pytest.mark.parametrize("stream", [None, 5])
def test_what_is_said_of_the_data_is_said_of_a_stream_too(work, capsys, tiny_corpus, stream):
    """Its rows, its blank lines and what of it is evaluated on; texts that are cut are counted in memory alone."""
    write_lines(work / "web.txt", ["", *tiny_corpus[:8], " ", *tiny_corpus[30:36]])
    write_collection(work / "dev", tiny_corpus[:20], queries=6)
    sources = [{**PAIRS, "limit": 20}, {"name": "web", "train": "web.txt", "stream": stream}]
    evaluation = 'evaluation={"collection": "dev"}'
    assert train("run", {"sources": sources, "batches": "mixed"}, [evaluation], max_steps=1) == 0
    said = capsys.readouterr().err
    assert "20 training pairs from pairs.jsonl, the first ones there (data.limit)" in said
    assert "14 training texts from web.txt\n" in said
    assert "2 blank lines of web.txt were left out" in said
    rows = [json.loads(line) for line in (work / "pairs.jsonl").read_text().splitlines()[:20]]
    assert not any(text in tiny_corpus for row in rows for text in (row["q"], row["a"]))
    assert "6 of 34 training rows hold a text that is evaluated on" in said
    assert f"of {40 if stream else 54} training texts are longer than 24 tokens" in said


@pytest.mark.slow
@pytest.mark.parametrize("batches", ["one_source", "mixed"])
def test_a_killed_run_of_streams_resumes_to_the_bits_of_one_that_never_stopped(work, batches):
    sources = [{**PAIRS, "stream": 7, "weight": 2.0}, {**TRIPLETS, "stream": 6, "weight": 1.0}]
    data = {"sources": [*sources, {**TEXTS, "weight": 1.0}], "batches": batches}
    loop = {"max_steps": 60, "epochs": 99, "save_every": 7, "workers": 1, "accumulate_steps": 2}
    kill_at = random.Random(batches).randint(8, 55)
    assert train("whole", data, [MASKED], **loop) == 0
    kill_at_step(words_of("killed", data, [MASKED], **loop), work / "killed", kill_at)
    assert train("killed", data, [MASKED], ["--resume"], **loop) == 0
    assert_close(weights(work / "killed"), weights(work / "whole"), rtol=0, atol=0)
    journals = [journal_without_speed(work / name / "journal.jsonl") for name in ("killed", "whole")]
    assert journals[0] == journals[1], kill_at
    assert list(values(work / "killed", "rows/faq")) == list(range(1, 61))


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [None, 7])
def test_two_processes_train_on_mixed_batches_what_one_trains(work, tiny_model_folder, streamed):
    """Batches of three pairs a process: often one has rows of a source that the other has not."""
    sources = [{**one, "stream": streamed, "weight": weight} for one, weight in ((PAIRS, 5.0), (TRIPLETS, 1.0))]
    data, off = {"sources": sources, "batches": "mixed"}, ["encoder.dropout=0"]
    assert train("one", data, off, max_steps=12, epochs=9) == 0
    two = words_of("two", data, off, max_steps=12, epochs=9, batch_size=3)
    first, second = run_together(2, ["-m", "textcl", *two], work)
    assert "two" in first
    assert second.strip() == ""
    assert_same_journals(work / "one", work / "two")
    base, one = load_file(tiny_model_folder / "model.safetensors"), weights(work / "one")
    moved = max((one[name] - base[name]).abs().max().item() for name in base)
    for name, value in weights(work / "two").items():
        if not name.endswith("key.bias"):  # see test_processes.py
            assert_close(value, one[name], rtol=0, atol=moved / 20)


# --- near-duplicates ------------------------------------------------------------------------------------------------


@pytest.fixture
def near(work, tiny_corpus):
    """Eight pairs; the anchors of the first two, and a positive and an anchor in other sources, are nearly equal."""
    said = [f"{tiny_corpus[i]} {tiny_corpus[i + 20]}" for i in range(20)]
    rows = [{"q": said[i], "a": said[i + 8]} for i in range(8)]
    rows[1]["q"] = said[0].replace("river", "stream")
    write_jsonl(work / "near.jsonl", rows)
    write_jsonl(work / "more.jsonl", [{"q": said[16], "a": said[8] + "!"}, {"q": said[17], "a": said[18]}])
    return work


def test_near_equal_texts_are_no_negatives_of_each_other_and_the_journal_says_what_share(near, capsys):
    data = {"train": "near.jsonl", "columns": {"anchor": "q", "positive": "a"}}
    shares = []
    for threshold in (None, 0.99, 0.6):
        out = f"run-{threshold}"
        assert train(out, {**data, "near_duplicates": threshold}, batch_size=8, epochs=2) == 0
        said = capsys.readouterr().err
        assert ("1 of 16 different texts are near-duplicates of another, at 0.6" in said) == (threshold == 0.6)
        assert ("0 of 16 different texts are near-duplicates of another, at 0.99" in said) == (threshold == 0.99)
        shares.append(values(near / out, "masked_near_duplicate_fraction"))
        assert set(values(near / out, "masked_text_fraction").values()) == {0.0}
    # Each of the two has one candidate of seven masked, of all eight rows.
    assert shares[0] == {}
    assert shares[1] == {1: 0.0, 2: 0.0}
    assert shares[2] == pytest.approx({1: 2 / 56, 2: 2 / 56})


def test_near_equal_texts_are_found_across_sources_and_columns(near):
    columns = {"anchor": "q", "positive": "a"}
    sources = [{"name": "one", "train": "near.jsonl", "columns": columns}, {"name": "two", "train": "more.jsonl"}]
    sources[1]["columns"] = columns
    data = {"sources": sources, "near_duplicates": 0.6, "batches": "mixed"}
    _recipe, (first, second), _parts, _sources = given(near, data)
    assert first.kinds == ("text", "text", "near_duplicate", "near_duplicate")
    labels = [set(row[2:].tolist()) for row in (*first.groups, *second.groups)]
    alike = {(i, j) for i in range(10) for j in range(i) if labels[i] & labels[j]}
    assert alike == {(1, 0), (8, 0)}  # two anchors; a positive of each source
    # Equal texts alone share none of the other labels.
    assert len(np.unique(np.concatenate([first.groups[:, :2], second.groups[:, :2]]))) == 20


def test_a_hard_negative_that_is_nearly_the_positive_of_another_row_is_none_of_that_row(near):
    rows = [json.loads(line) for line in (near / "near.jsonl").read_text().splitlines()]
    for place, row in enumerate(rows):
        row["bad"] = rows[place - 1]["a"] + "." if place else "The moon has no air."
    write_jsonl(near / "near.jsonl", rows)
    columns = {"anchor": "q", "positive": "a", "hard_negatives": ["bad"]}
    data = {"train": "near.jsonl", "columns": columns}
    _recipe, (texts,), _parts, (source,) = given(near, {**data, "near_duplicates": 0.6})
    batch = source.draw(np.arange(8), 0)
    shared = [
        {row for row in range(8) if set(batch.groups[row].tolist()) & set(batch.negative_groups[column, 0].tolist())}
        for column in range(8)
    ]
    assert shared[0] == set()
    assert all(place - 1 in shared[place] and place not in shared[place] for place in range(1, 8))
    assert len(texts.notes) == 1


# --- what is refused ------------------------------------------------------------------------------------------------


def refused(work, capsys, data, *more, **training):
    before = sorted(path.name for path in work.iterdir())
    capsys.readouterr()
    assert train("new", data, more, **training) == 2
    assert sorted(path.name for path in work.iterdir()) == before
    return last_fault(capsys)


ONE = {key: value for key, value in PAIRS.items() if key != "name"}


def test_a_blank_text_in_the_middle_of_a_stream_is_found_before_the_first_step(work, capsys):
    lines = (work / "triplets.jsonl").read_text().splitlines()
    for column, blank in (("a", " "), ("third", ""), ("q", None)):
        lines_now = [*lines[:13], json.dumps({**json.loads(lines[13]), column: blank}), *lines[14:]]
        write_lines(work / "hole.jsonl", lines_now)
        stream = {**TRIPLETS, "train": "hole.jsonl", "stream": 4}
        said = f"hole.jsonl:14: no text in column '{column}'; fill it or remove the row"
        assert refused(work, capsys, {"sources": [PAIRS, stream]}) == said
        del stream["name"]
        assert refused(work, capsys, stream, max_steps=1) == said


def test_a_hard_negative_that_some_rows_lack_is_refused_with_its_line(work, capsys):
    rows = [json.loads(line) for line in (work / "triplets.jsonl").read_text().splitlines()]
    del rows[8]["third"]
    write_jsonl(work / "triplets.jsonl", rows)
    said = "triplets.jsonl:9: no text in column 'third'; fill it or remove the row"
    assert refused(work, capsys, {"sources": [PAIRS, TRIPLETS]}) == said


@pytest.mark.parametrize("stream", [None, 5])
@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ("7", "column 'topic' holds a string here and a number before; groups need values of one type"),
        (True, "column 'topic' holds a boolean here and a number before; groups need values of one type"),
        (2.5, None),
        (None, None),
    ],
)
def test_groups_of_several_types_are_refused_with_the_line_of_the_second(work, capsys, stream, odd, said):
    rows = [json.loads(line) for line in (work / "pairs.jsonl").read_text().splitlines()]
    write_jsonl(work / "pairs.jsonl", [*rows[:17], {**rows[17], "topic": odd}, *rows[18:]])
    data = {**ONE, "group": "topic", "stream": stream}
    if said is None:
        assert train("run", data, max_steps=1) == 0
    else:
        assert refused(work, capsys, data) == f"pairs.jsonl:18: {said}"


STORED = {"name": "back_translate", "translator": {"name": "apertium"}}
GUIDED = 'method={"name": "pairs", "false_negatives": {"margin": 0.1, "guide": "none"}}'


@pytest.mark.parametrize(
    ("more", "training", "near", "said"),
    [
        (
            ['views={"second": [{"name": "keywords"}]}'],
            {},
            None,
            "views.second: keywords and stored views need all texts at once, which data.stream does not hold",
        ),
        (
            ['views={"first": [{"name": "chain", "of": [{"name": "keywords"}]}]}'],
            {},
            None,
            "views.first: keywords and stored views need all texts at once, which data.stream does not hold",
        ),
        ([], {}, 0.8, "recipe: data.near_duplicates compares all texts, which data.stream does not hold"),
        (
            [],
            {"unique_batches": True},
            None,
            "recipe: training.unique_batches needs all rows at once, which data.stream does not hold",
        ),
        (
            [GUIDED],
            {},
            None,
            "method.false_negatives.guide: embeds all texts once, which data.stream does not hold; leave the guide "
            "out, and the model judges",
        ),
        (
            ['negatives={"every": 4}'],
            {},
            None,
            "recipe: negatives are mined for one source of pairs that is held in memory",
        ),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_what_needs_all_texts_at_once_is_refused_for_a_stream(work, capsys, more, training, near, said, several):
    data = {"sources": [TEXTS, {**PAIRS, "stream": 5}]} if several else {**ONE, "stream": 5}
    assert refused(work, capsys, {**data, "near_duplicates": near}, *more, **training) == said


@installed
def test_stored_views_need_all_texts_at_once(work, capsys):
    views = f'views={{"store": "store", "second": [{json.dumps(STORED)}]}}'
    said = "views.second: keywords and stored views need all texts at once, which data.stream does not hold"
    assert refused(work, capsys, {"sources": [TEXTS, {**PAIRS, "stream": 5}]}, views) == said


@installed
def test_stored_views_are_built_for_all_sources_and_their_hard_negatives(work, capsys):
    data = {"sources": [PAIRS, TRIPLETS, TEXTS], "batches": "mixed"}
    views = f'views={{"store": "store", "second": [{json.dumps(STORED)}]}}'
    sets = [word for one in (f"data={json.dumps(data)}", views) for word in ("--set", one)]
    assert run(["views", "build", "recipe.yaml", *sets]) == 0
    assert train("run", data, [views], max_steps=1) == 0
    capsys.readouterr()
    assert run(["views", "show", "recipe.yaml", *sets, "-n", "1"]) == 0
    assert "of 3 sources, these are the views of the first, faq" in capsys.readouterr().err


@pytest.mark.parametrize("stream", [None, 5])
def test_single_texts_whose_sides_would_be_equal_are_refused(work, capsys, stream):
    data = {"train": "texts.txt", "stream": stream}
    said = "views: both sides see the same text and the encoder drops nothing; set encoder.dropout, or name a view"
    assert refused(work, capsys, data, "encoder.dropout=0") == said
    assert refused(work, capsys, {"sources": [PAIRS, {**TEXTS, "stream": stream}]}, "encoder.dropout=0") == said
    assert train("run", data, ["encoder.dropout=0", MASKED], max_steps=1) == 0


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([PAIRS, {**TRIPLETS, "name": "faq"}], "data: sources: each needs a name of its own"),
        ([PAIRS, {**TEXTS, "weight": 2.0}], "data: sources: give all of them a weight, or none"),
        ([PAIRS], "data: sources: two or more"),
        ([PAIRS, {**TEXTS, "weight": 0.0}], "data.sources.1.weight: expected a number above 0"),
        ([PAIRS, {**TEXTS, "stream": 0}], "data.sources.1.stream: expected a number above 0"),
        ([PAIRS, {"train": "texts.txt"}], "data.sources.1.name: "),
        ([PAIRS, {**TEXTS, "train": "none.txt"}], "none.txt: no such file"),
        ([PAIRS, {**TEXTS, "column": "body"}], "texts.txt: no column 'body'; there are: text"),
        (
            [PAIRS, {**PAIRS, "name": "b", "columns": {"anchor": "q", "positive": "q"}}],
            "data.sources.1.columns.positive: expected another column",
        ),
        (
            [PAIRS, {**TEXTS, "column": "text", "columns": {"anchor": "q", "positive": "a"}}],
            "data.sources.1: column and columns exclude each other: single texts or pairs",
        ),
        ([PAIRS, {**PAIRS, "name": "b", "group": "tropic"}], "pairs.jsonl: no column 'tropic'; did you mean topic?"),
        (
            [PAIRS, {**TEXTS, "limit": 5}],
            "texts.txt: has 5 rows, fewer than the 6 pairs of a step; take data.batches: mixed, or less",
        ),
    ],
)
def test_sources_that_cannot_be_are_named_with_their_number(work, capsys, sources, said):
    assert train("new", {"sources": sources}) == 2
    assert not (work / "new").exists()
    faults = [line for line in capsys.readouterr().err.splitlines() if line.startswith("textcl: ")]
    assert faults[0].startswith(f"textcl: {said}")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({**TEXTS, "colum": "text"}, "data.sources.1.colum: unknown key; did you mean column?"),
        ({**TEXTS, "weight": 0.0}, "data.sources.1.weight: expected a number above 0.0, got 0.0"),
    ],
)
def test_a_fault_in_one_of_the_sources_is_one_line(work, capsys, source, said):
    assert refused(work, capsys, {"sources": [PAIRS, source]}) == said


def test_other_things_that_sources_cannot_be(work, capsys, tiny_corpus):
    byol = 'method={"name": "byol", "projector": {"hidden": 8, "out": 8}}'
    said = "data.sources.1.columns.hard_negatives: the method byol takes none; leave them out, or use pairs, siglip, "
    assert refused(work, capsys, {"sources": [PAIRS, TRIPLETS]}, byol) == f"{said}simcse or moco"
    write_collection(work / "dev", tiny_corpus)
    said = "stream: a BEIR folder's documents are read whole; name its fields in columns"
    assert refused(work, capsys, {"train": "dev", "stream": 5}) == f"data.{said}"
    folder = {"name": "dev", "train": "dev", "stream": 5}
    assert refused(work, capsys, {"sources": [PAIRS, folder]}) == f"data.sources.1.{said}"
    said = "recipe: training.unique_batches needs batches of one source: data.batches: one_source"
    mixed = {"sources": [PAIRS, TEXTS], "batches": "mixed"}
    assert refused(work, capsys, mixed, unique_batches=True) == said
    said = "recipe: negatives are mined for one source of pairs that is held in memory"
    assert refused(work, capsys, {"sources": [PAIRS, TEXTS]}, 'negatives={"every": 4}') == said
    for threshold in (0.0, 1.0):
        said = f"data.near_duplicates: expected a similarity in (0, 1), got {threshold}"
        assert refused(work, capsys, {**ONE, "near_duplicates": threshold}) == said


def test_too_few_pairs_of_all_sources_name_their_files(work, capsys):
    few = [{**PAIRS, "limit": 1}, {**TEXTS, "limit": 2}]
    assert train("run", {"sources": few, "batches": "mixed"}, epochs=2) == 0
    assert "training.batch_size is 3, since there are no more pairs for a process" in capsys.readouterr().err
    assert values(work / "run", "rows/web") == {1: 2.0, 2: 4.0}
    assert refused(work, capsys, {**ONE, "limit": 1}) == (
        "pairs.jsonl: 1 training pairs are too few: contrastive training needs 2 a process or more"
    )
