"""Wrong input costs nothing: one line a fault that names it, exit code 2, and nothing written or overwritten."""

from __future__ import annotations

import os
import shutil

import pytest
import torch

from tests.small_data import write_collection, write_jsonl, write_lines


@pytest.fixture
def collection(work, tiny_corpus):
    return write_collection(work / "dev", tiny_corpus)


# --- recipes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("train",), ("recipe", "check")])
def test_an_unknown_recipe_key(refused, recipe, command):
    assert refused(*command, recipe, "--set", "method.temprature=0.1") == [
        "method.temprature: unknown key of pairs; did you mean temperature?"
    ]


def test_several_faults_have_a_line_each(refused, recipe):
    wrong = ["method.temprature=0.1", "training.epochs=0", "sed=1"]
    assert refused("train", recipe, *(word for pair in wrong for word in ("--set", pair))) == [
        "method.temprature: unknown key of pairs; did you mean temperature?",
        "training.epochs: expected a number above 0.0, got 0",
        "sed: unknown key; did you mean seed?",
    ]


@pytest.mark.parametrize("temperature", ["0", "-0.5", "0.0"])
def test_a_temperature_that_is_not_above_zero(refused, recipe, temperature):
    (fault,) = refused("train", recipe, "--set", f"method.temperature={temperature}")
    assert fault == f"method.temperature: expected a number above 0, got {float(temperature)}"


def test_faults_of_several_components_come_together(refused, recipe):
    wrong = [
        "encoder.max_tokens=1",
        "views.first=[{name: crop, min_fraction: 0}]",
        "views.second=[{name: dropout}, {name: mask, rate: 1.5}]",
        "views.pair={name: inverse_cloze, keep_rate: 2}",
        "method.temperature=0",
    ]
    assert refused("train", recipe, *(word for pair in wrong for word in ("--set", pair))) == [
        "encoder.max_tokens: expected a number of tokens, at least 3, got 1",
        "views.first.0.min_fraction: expected a share in (0, 1], got 0.0",
        "views.second.1.rate: expected a chance in [0, 1), got 1.5",
        "views.pair.keep_rate: expected a chance in [0, 1], got 2.0",
        "method.temperature: expected a number above 0, got 0.0",
    ]


@pytest.mark.parametrize(
    ("pair", "start"),
    [
        ("training.batch_size=1", "training.batch_size: expected at least 2"),
        (
            "method={name: simclr, projector: {hidden: 0, out: 4}}",
            "method.projector.hidden: expected a width of at least 1, got 0",
        ),
        (
            "method={name: moco, queue_size: 4}",
            "method.queue_size: expected at least 8, the pairs of a step, or 0 for no queue, got 4",
        ),
        ("method={name: moco, queue_size: -1}", "method.queue_size: expected at least 1 row, got -1"),
        (
            "training.chunk_rows=17",
            "training.chunk_rows: expected at most 16, the trained token rows of a batch, got 17",
        ),
        (
            "training={chunk_rows: 4, chunk_tokens: 64}",
            "training: chunk_rows and chunk_tokens exclude each other: chunks are counted in rows or in tokens",
        ),
        ("training.chunk_tokens=0", "training.chunk_tokens: expected "),
        ("method={name: moco, momentum: 1.5}", "method.momentum: expected a share in [0, 1], got 1.5"),
        ("method={name: byol, momentum: -0.1}", "method.momentum: expected a share in [0, 1], got -0.1"),
        ("method={name: pairs, predictor: {hidden: 8}}", "method.predictor: unknown key of pairs; "),
        ("method={name: simsiam, predictor: null}", "method.predictor: expected a section with keys of its own"),
        ("method={name: mocoo}", "method.name: unknown name 'mocoo'; did you mean moco?"),
        ("method.temperature={learned: 5.0}", "method.temperature.learned: expected a number in [0.01, 1.0], got 5.0"),
        ("encoder.freeze_layers=3", "encoder.freeze_layers: expected a number of layers in 0 … 2, got 3"),
        ("encoder.lora={rank: 0}", "encoder.lora.rank: expected a rank of at least 1, got 0"),
        ("encoder={lora: {rank: 2}, freeze_layers: 1}", "encoder: freeze_layers and lora exclude each other: "),
        ("training.average=1.0", "training.average: expected a share in [0, 1), got 1.0"),
        ("training.layer_decay=0.0", "training.layer_decay: expected a factor in (0, 1], got 0.0"),
        ("training.health.policy=shrug", "training.health.policy: expected 'warn', 'stop' or 'rollback', got 'shrug'"),
        ("data.columns={anchor: text, positive: text}", "data.columns.positive: expected another column"),
        ("encoder.pooling=sum", "encoder.pooling: expected one of mean, cls, last, weighted_mean, got 'sum'"),
        ("encoder.dropout=1", "encoder.dropout: expected a chance in [0, 1), got 1.0"),
        ("encoder.max_tokens=999", "encoder.max_tokens: expected at most 128"),
        ("encoder.model=./none", "./none: no such folder"),
        ("encoder.model=''", "encoder.model: expected a folder or a hub name, got ''"),
        ("data.group=topic", "texts.txt: no column 'topic'; there are: text"),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_section(refused, recipe, pair, start):
    (fault,) = refused("train", recipe, "--set", pair)
    assert fault.startswith(start)


def test_a_measure_that_nobody_knows(refused, recipe, collection):
    words = ["--set", "evaluation.collection=dev", "--set", "evaluation.measures=[ndgc@10]"]
    (fault,) = refused("train", recipe, *words)
    assert fault.startswith("evaluation.measures: ")
    assert "ndgc@10" in fault


# --- files ----------------------------------------------------------------------------------------------------------


def commands_on(name, model):
    """Every command that reads a file of texts, on the file called `name`."""
    return {
        "train": ["train", "recipe.yaml", "--set", f"data.train={name}", "--out", "made"],
        "encode": ["encode", model, name, "--out", "made"],
        "index": ["index", "build", model, name, "--out", "made"],
    }


ON_TEXTS = pytest.mark.parametrize("command", ["train", "encode", "index"])


@ON_TEXTS
def test_a_missing_file(refused, recipe, tiny_model_folder, command):
    (fault,) = refused(*commands_on("none.txt", tiny_model_folder)[command])
    assert fault == "none.txt: no such file"


@ON_TEXTS
def test_a_file_with_invalid_utf8(refused, recipe, work, tiny_model_folder, command):
    (work / "latin.txt").write_bytes("fine\ncaf\xe9\n".encode("latin-1"))
    (fault,) = refused(*commands_on("latin.txt", tiny_model_folder)[command])
    assert fault == "latin.txt:2: invalid UTF-8 (byte 0xe9 at offset 3 of the line); save the file as UTF-8"


@ON_TEXTS
@pytest.mark.parametrize("content", ["", "\n \n\n"])
def test_an_empty_corpus(refused, recipe, work, tiny_model_folder, command, content):
    (work / "empty.txt").write_text(content)
    (fault,) = refused(*commands_on("empty.txt", tiny_model_folder)[command])
    assert fault == "empty.txt: has no rows; expected at least one"


@ON_TEXTS
def test_a_row_without_the_named_column(refused, recipe, work, tiny_model_folder, command):
    write_jsonl(work / "rows.jsonl", [{"body": "one"}, {"body": "two"}, {"other": "three"}])
    named = ["--set", "data.column=body"] if command == "train" else ["--column", "body"]
    (fault,) = refused(*commands_on("rows.jsonl", tiny_model_folder)[command], *named)
    assert fault == "rows.jsonl:3: no text in column 'body'; fill it or remove the row"


@ON_TEXTS
def test_a_column_that_no_row_has(refused, recipe, work, tiny_model_folder, command):
    write_jsonl(work / "rows.jsonl", [{"body": "one", "title": "1"}])
    named = ["--set", "data.column=bodi"] if command == "train" else ["--column", "bodi"]
    (fault,) = refused(*commands_on("rows.jsonl", tiny_model_folder)[command], *named)
    assert fault == "rows.jsonl: no column 'bodi'; did you mean body? there are: body, title"


def test_a_pair_without_its_second_side(refused, recipe, work):
    write_lines(work / "pairs.csv", ["question,answer", "why?,because", "when?,"])
    words = ["--set", "data.train=pairs.csv", "--set", "data.columns={anchor: question, positive: answer}"]
    assert refused("train", recipe, *words) == [
        "pairs.csv:3: no text in column 'answer'; fill it or remove the row"
    ]  # fmt: skip


def test_a_single_training_text(refused, recipe, work):
    write_lines(work / "one.txt", ["alone"])
    (fault,) = refused("train", recipe, "--set", "data.train=one.txt")
    assert fault.startswith("one.txt: 1 training pairs are too few")


def test_a_missing_recipe(refused):
    assert refused("train", "none.yaml") == ["none.yaml: no such recipe"]


def test_a_missing_model(refused, texts):
    (fault,) = refused("encode", "./none", texts.name, "--out", "made")
    assert fault == "./none: no such folder"


def test_a_limit_of_zero(refused, texts, tiny_model_folder):
    (fault,) = refused("encode", tiny_model_folder, texts.name, "--out", "made", "--limit", "0")
    assert fault == "limit: expected a whole number above 0, got 0"


# --- collections ----------------------------------------------------------------------------------------------------


def evaluating(model, *, through):
    """The commands that read a judged collection."""
    if through == "train":
        return ["train", "recipe.yaml", "--set", "evaluation.collection=dev", "--out", "made"]
    return ["evaluate", "retrieval", model, "dev", "--run", "made.trec"]


ON_COLLECTIONS = pytest.mark.parametrize("through", ["train", "evaluate"])


@ON_COLLECTIONS
def test_a_query_set_with_no_judged_query(refused, recipe, collection, tiny_model_folder, through):
    write_lines(collection / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore"])
    (fault,) = refused(*evaluating(tiny_model_folder, through=through))
    assert fault == "dev/qrels/test.tsv: has no judgement below its header; expected at least one"


@ON_COLLECTIONS
def test_judgements_that_name_unknown_documents(refused, recipe, collection, tiny_model_folder, through):
    with (collection / "qrels" / "test.tsv").open("a") as file:
        file.write("q0\tnone\t1\nq1\tnowhere\t1\n")
    (fault,) = refused(*evaluating(tiny_model_folder, through=through))
    assert fault.startswith("dev/qrels/test.tsv:8: 2 judged documents not in the corpus: 'none', 'nowhere'; ")
    assert "--allow-missing" in fault


def test_judgements_of_unknown_queries_alone(refused, collection, tiny_model_folder):
    write_lines(collection / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", "x\td0\t1"])
    (fault,) = refused("evaluate", "retrieval", tiny_model_folder, "dev", "--allow-missing")
    assert fault.startswith("dev/qrels/test.tsv: no judged query")


@ON_COLLECTIONS
def test_a_missing_collection(refused, recipe, tiny_model_folder, through):
    (fault,) = refused(*evaluating(tiny_model_folder, through=through))
    assert fault.startswith("dev: no such folder")


def test_a_split_that_is_not_there(refused, collection, tiny_model_folder):
    (fault,) = refused("evaluate", "retrieval", tiny_model_folder, "dev", "--split", "train")
    assert fault == "dev/qrels/train.tsv: no such file, nor with .gz; splits here: test"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--columns", "a,b"], "columns: expected three names separated by commas, such as sentence1,sentence2,score"),
        (["--columns", "sentence1,sentence2,grade"], "sts.tsv: no column 'grade'"),
        (["--split", "dev"], "sts.tsv: no column 'split'"),
    ],
)
def test_graded_pairs_without_what_is_asked_for(refused, work, tiny_model_folder, words, fault):
    write_lines(work / "sts.tsv", ["sentence1\tsentence2\tscore", "a b\ta c\t2"])
    (found,) = refused("evaluate", "sts", tiny_model_folder, "sts.tsv", *words)
    assert found.startswith(fault)


@pytest.mark.parametrize("grade", ["high", "nan", "inf", ""])
def test_a_grade_that_is_no_number(refused, work, tiny_model_folder, grade):
    write_lines(work / "sts.tsv", ["sentence1\tsentence2\tscore", "a b\ta c\t2", f"a\tb\t{grade}"])
    assert refused("evaluate", "sts", tiny_model_folder, "sts.tsv") == [
        f"sts.tsv:3: column 'score': expected a number, got {grade!r}"
    ]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["a\tb\t1"], "sts.tsv: has a single pair; a correlation needs at least 2"),
        (["a\tb\t1", "c\td\t1"], "sts.tsv: all 2 gold scores are 1; a correlation needs values that differ"),
    ],
)
def test_graded_pairs_that_have_no_correlation(refused, work, tiny_model_folder, rows, fault):
    write_lines(work / "sts.tsv", ["sentence1\tsentence2\tscore", *rows])
    assert refused("evaluate", "sts", tiny_model_folder, "sts.tsv") == [fault]


# --- folders --------------------------------------------------------------------------------------------------------


@ON_TEXTS
def test_an_existing_folder_is_not_overwritten(refused, recipe, texts, work, tiny_model_folder, command):
    (work / "made").mkdir()
    (work / "made" / "precious.txt").write_text("mine")
    words = commands_on(texts.name, tiny_model_folder)[command]
    assert refused(*words) == ["out: made exists already; name another folder, or add --force to replace it"]
    assert refused(*words, "--force") == ["out: made was not written by textcl, so --force does not replace it"]


@ON_TEXTS
@pytest.mark.parametrize("out", ["", ".", ".."])
def test_the_current_folder_is_no_place_for_results(refused, recipe, texts, tiny_model_folder, command, out):
    words = [out if word == "made" else word for word in commands_on(texts.name, tiny_model_folder)[command]]
    (fault,) = refused(*words, "--force")
    assert fault.startswith("out: expected the name of a new folder, not the current one or one above it, got ")


def commands_that_write(place, model):
    """Every command that writes, with its result at `place`."""
    made = {name: [*words[:-1], place] for name, words in commands_on("texts.txt", model).items()}
    return {
        **made,
        "evaluate": ["evaluate", "retrieval", model, "dev", "--run", place],
        "search": ["search", "index", "--queries", "texts.txt", "--run", place],
    }


THAT_WRITE = pytest.mark.parametrize("command", ["train", "encode", "index", "evaluate", "search"])


@THAT_WRITE
def test_a_place_below_a_file(refused, index, recipe, collection, tiny_model_folder, work, command):
    (fault,) = refused(*commands_that_write("texts.txt/made", tiny_model_folder)[command])
    field = "run" if command in ("evaluate", "search") else "out"
    reason = f"cannot be made, since {work / 'texts.txt'} is a file; name another place"
    assert fault == f"{field}: texts.txt/made {reason}"


@THAT_WRITE
def test_a_place_that_may_not_be_written_to(
    refused, index, recipe, collection, tiny_model_folder, work, monkeypatch, command
):
    # The system's answer is set here: a test run as root may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, _mode: path != work)
    (fault,) = refused(*commands_that_write("new/made", tiny_model_folder)[command])
    assert fault.endswith(f": new/made cannot be made, since {work} is read-only; name another place")


@pytest.mark.parametrize("command", ["evaluate", "search"])
def test_a_run_file_that_is_a_folder(refused, index, collection, tiny_model_folder, command):
    fault = "run: dev is a folder; name a file"
    assert refused(*commands_that_write("dev", tiny_model_folder)[command]) == [fault]


@ON_TEXTS
def test_force_replaces_what_textcl_wrote(textcl, recipe, texts, work, tiny_model_folder, command):
    words = commands_on(texts.name, tiny_model_folder)[command]
    assert textcl(*words).code == 0
    (work / "made" / "stale.txt").write_text("from the run before")
    assert textcl(*words).code == 2
    assert textcl(*words, "--force").code == 0
    assert not (work / "made" / "stale.txt").exists()


@ON_TEXTS
def test_wrong_input_leaves_the_old_folder_with_force(textcl, refused, recipe, texts, tiny_model_folder, command):
    assert textcl(*commands_on(texts.name, tiny_model_folder)[command]).code == 0
    refused(*commands_on("none.txt", tiny_model_folder)[command], "--force")


@pytest.fixture
def index(textcl, texts, tiny_model_folder, work):
    model = shutil.copytree(tiny_model_folder, work / "encoder")
    assert textcl("index", "build", model, texts.name, "--out", "index").code == 0
    return "index"


@pytest.fixture
def other_model(tiny_encoder, tmp_path):
    """The same encoder but for one number."""
    with torch.no_grad():
        next(tiny_encoder.parameters())[5, 0] += 0.01
    tiny_encoder.save_pretrained(str(tmp_path / "other"), create_model_card=False)
    return tmp_path / "other"


def test_an_index_of_another_encoder(refused, index, other_model, work, collection):
    (fault,) = refused("search", index, "bees", "--model", other_model)
    assert fault.startswith("index: was built with another encoder")
    shutil.rmtree(work / "encoder")
    assert len(refused("search", index, "bees")) == 1
    assert len(refused("evaluate", "retrieval", index, "dev")) == 1


def test_vectors_of_another_encoder(textcl, refused, texts, tiny_model_folder, other_model, work):
    assert textcl("encode", other_model, texts.name, "--out", "vectors").code == 0
    (fault,) = refused("index", "build", tiny_model_folder, "vectors", "--out", "index")
    assert fault.startswith("vectors: was encoded by another model")


def test_a_part_of_the_vectors(textcl, refused, texts, tiny_model_folder):
    assert textcl("encode", tiny_model_folder, texts.name, "--out", "vectors").code == 0
    for name, value in (("limit", "5"), ("column", "text")):
        assert refused("index", "build", tiny_model_folder, "vectors", "--out", "index", f"--{name}", value) == [
            f"{name}: vectors holds vectors, which are taken whole; give {name} to textcl encode"
        ]


def test_an_index_that_is_none(refused, texts, collection):
    assert refused("search", "dev", "bees") == ["dev: no index here (manifest.json is missing)"]
    assert refused("index", "info", "none") == ["none: no index here (manifest.json is missing)"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--json"], "query: --json needs a question, or --queries with a file of them"),
        (["bees", "--all"], "all: goes with --at-least, the lowest score, and one question at a time"),
        (["bees", "--filter", "topic"], "filter: expected field=value, got 'topic'"),
        (
            ["bees", "--filter", "topic=a"],
            "filter: the documents have no field 'topic'; fields: none; build the index with fields to have some",
        ),
        (["bees", "--queries", "texts.txt"], "query: give one question, or --queries with a file of them"),
        (["--queries", "texts.txt"], "run: --queries needs --run, the file to write the answers to"),
        ([" "], "query: give one question, or --queries with a file of them"),
        (["bees", "--run", "made.trec"], "run: is written for --queries; leave it out for one question"),
        (["bees", "-k", "0"], "k: expected a whole number of at least 1, got 0"),
    ],
)
def test_a_search_that_does_not_say_what(refused, index, words, fault):
    assert refused("search", index, *words) == [fault]


def test_a_resume_of_nothing(refused, recipe):
    assert refused("train", recipe, "--resume") == ["out: --resume needs --out, the folder of the run to continue"]
    (fault,) = refused("train", recipe, "--resume", "--out", "made")
    assert fault.startswith("made: no run to continue here")


def test_a_resume_with_another_recipe_or_of_a_complete_run(textcl, refused, recipe, work):
    assert textcl("train", recipe, "--out", "made").code == 0
    (fault,) = refused("train", recipe, "--out", "made", "--resume")
    assert fault == "made: this run is complete; there is nothing to continue"
    (work / "made" / "manifest.json").unlink()
    (fault,) = refused("train", recipe, "--out", "made", "--resume", "--set", "seed=1")
    assert fault.startswith("made/recipe.yaml: differs from the recipe given; continue with the same one: ")


def test_words_that_no_command_knows(refused, recipe):
    assert len(refused("trian")) == 1
    assert len(refused("train", recipe, "--ou", "x")) == 1
    assert len(refused("train")) == 1
