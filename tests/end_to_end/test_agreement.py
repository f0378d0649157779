"""What is wrong on one process ends all of them, with exit code 2 and a line each: none waits for another."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.end_to_end.ranks import start_ranks
from tests.small_data import write_collection, write_jsonl, write_lines, write_recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def folders(tmp_path, tiny_corpus, tiny_model_folder):
    """A folder for each of two processes, with the same texts, pairs and recipe."""
    made = [tmp_path / "first", tmp_path / "second"]
    for folder in made:
        folder.mkdir()
        write_lines(folder / "texts.txt", tiny_corpus)
        rows = [{"anchor": tiny_corpus[i], "positive": tiny_corpus[i + 30], "topic": i // 2} for i in range(20)]
        write_jsonl(folder / "pairs.jsonl", rows)
        write_recipe(folder, tiny_model_folder, "texts.txt")
    return made


TRAIN = ["train", "recipe.yaml"]


def listing(folders):
    return [sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) for folder in folders]


def refused(words, folders):
    """The last line of each process, all of which end with 2 and write nothing."""
    before = listing(folders)
    outputs, codes = start_ranks(words, folders)
    assert codes == [2] * len(words), outputs
    assert listing(folders) == before
    said = []
    for output in outputs:
        assert "Traceback" not in output
        (line,) = (line for line in output.splitlines() if line.startswith("textcl: "))
        said.append(line.removeprefix("textcl: "))
    return said


def test_different_recipes(folders):
    words = [[*TRAIN, "--set", f"training.learning_rate={rate}", "--out", "run"] for rate in (1e-3, 2e-3)]
    said = refused(words, folders)
    values = "process 0 has `learning_rate: 0.001`, process 1 has `learning_rate: 0.002`"
    assert said == [f"recipe: differs between processes: {values}; start all with the same"] * 2


@pytest.mark.parametrize(
    ("rank", "change", "said"),
    [
        (0, "missing", "recipe.yaml: no such recipe"),
        (1, "broken", "recipe.yaml:1: not a recipe: "),
        (1, "unknown key", "sed: unknown key; did you mean seed?"),
    ],
)
def test_a_recipe_that_one_cannot_read(folders, rank, change, said):
    recipe = folders[rank] / "recipe.yaml"
    words = [[*TRAIN, "--out", "run"] for _folder in folders]
    if change == "missing":
        recipe.unlink()
    elif change == "broken":
        recipe.write_text("data: [")
    else:
        words[rank] += ["--set", "sed=1"]
    found = refused(words, folders)
    assert found[rank].startswith(said)
    assert found[1 - rank] == f"process {rank}: {found[rank]}"


def test_other_texts(folders, tiny_corpus):
    write_lines(folders[1] / "texts.txt", [*tiny_corpus[:9], "Another one.", *tiny_corpus[10:]])
    said = "data.train: process 1 has read other texts or groups than process 0; give all the same files"
    assert refused([[*TRAIN, "--out", "run"]] * 2, folders) == [said] * 2


@pytest.mark.parametrize(("rank", "stream"), [(0, "null"), (1, "7")])
def test_data_that_one_cannot_read(folders, tiny_corpus, rank, stream):
    data = f"data={{train: pairs.jsonl, columns: {{anchor: anchor, positive: positive}}, stream: {stream}}}"
    rows = [{"anchor": text, "positive": text[:10] if place != 13 else " "} for place, text in enumerate(tiny_corpus)]
    write_jsonl(folders[rank] / "pairs.jsonl", rows)
    found = refused([[*TRAIN, "--set", data, "--set", "views={}", "--out", "run"]] * 2, folders)
    assert found[rank] == "pairs.jsonl:14: no text in column 'positive'; fill it or remove the row"
    assert found[1 - rank] == f"process {rank}: {found[rank]}"


@pytest.mark.parametrize("seeds", [[], ["--seeds", "2"]])
def test_a_folder_that_is_there_already(folders, seeds):
    (folders[0] / "run").mkdir()
    (folders[0] / "run" / "mine.txt").write_text("mine")
    shutil.rmtree(folders[1])
    folders[1] = folders[0]
    found = refused([[*TRAIN, *seeds, "--out", "run"]] * 2, folders)
    said = "out: run exists already; name another folder, or add --force to replace it"
    assert found == [said, f"process 0: {said}"]
    assert (folders[0] / "run" / "mine.txt").read_text() == "mine"


def test_seeds_to_resume_that_are_not_there(folders):
    found = refused([[*TRAIN, "--seeds", "2", "--out", "run", "--resume"]] * 2, folders)
    assert found[0] == "run: no runs to continue here; start them without --resume"
    assert found[1] == f"process 0: {found[0]}"


def test_seeds_of_different_recipes(folders):
    words = [[*TRAIN, "--seeds", "2", "--out", "run", "--set", f"seed={seed}"] for seed in (1, 2)]
    found = refused(words, folders)
    values = "process 0 has `seed: 1`, process 1 has `seed: 2`"
    assert found == [f"recipe: differs between processes: {values}; start all with the same"] * 2


def test_mined_negatives_that_one_has_not(folders, tiny_model_folder, tiny_corpus):
    columns = "data={train: pairs.jsonl, columns: {anchor: anchor, positive: positive}}"
    words = [*TRAIN, "--set", columns, "--set", "negatives={file: mined.jsonl}", "--set", "views={}", "--out", "run"]
    write_lines(folders[0] / "mined.jsonl", [json.dumps({"anchor": tiny_corpus[0]})])
    found = refused([words] * 2, folders)
    assert found[0].startswith("mined.jsonl: no column 'positive'; it was not written by textcl mine")
    assert found[1] == "mined.jsonl: no such file"


def test_judged_data_that_one_has_not(folders, tiny_corpus):
    write_collection(folders[0] / "dev", tiny_corpus[:20])
    words = [*TRAIN, "--set", "evaluation={collection: dev}", "--out", "run"]
    found = refused([words] * 2, folders)
    assert found[1].startswith("dev: no such folder")
    assert found[0] == f"process 1: {found[1]}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["training.batch_size=1"], "training.batch_size: expected at least 2"),
        (["views={}", "encoder.dropout=0"], "views: both sides see the same text and the encoder drops nothing"),
    ],
)
def test_what_all_find_is_one_line_of_each(folders, words, said):
    sets = [word for one in words for word in ("--set", one)]
    found = refused([[*TRAIN, *sets, "--out", "run"]] * 2, folders)
    assert all(line.startswith(said) for line in found)
