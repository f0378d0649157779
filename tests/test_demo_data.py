from __future__ import annotations

import gzip
import json
from importlib.resources import files
from pathlib import Path

import datasets
import pytest

from benchmarks.make_demo_data import MAX_BYTES, Sizes, files_of, normalised, read_pairs, usable
from textcl.corpus.collection import read_collection
from textcl.corpus.readers import column_texts, read_records

DATA = Path(str(files("textcl").joinpath("demo_data")))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def groups(cache):
    """Topics, questions and answers of each group, normalised."""
    train = read_records(DATA / "train.jsonl.gz", cache=cache)
    found = {
        "train": [{normalised(text) for text in column_texts(train, name)} for name in ("topic", "question", "answer")]
    }
    for split in ("dev", "test"):
        collection = read_collection(DATA / split, split, cache=cache)
        topics = column_texts(read_records(DATA / split / "queries.jsonl.gz", cache=cache), "topic")
        texts = (topics, collection.queries, collection.documents)
        found[split] = [{normalised(text) for text in part} for part in texts]
    return found


def test_the_demo_data_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) <= MAX_BYTES == 2_000_000


@pytest.mark.parametrize(("first", "second"), [("train", "dev"), ("train", "test"), ("dev", "test")])
def test_no_topic_question_or_answer_is_in_two_groups(groups, first, second):
    for left, right in zip(groups[first], groups[second], strict=True):
        assert left
        assert right
        assert not left & right


def test_the_groups_have_the_sizes_that_the_demo_needs(groups):
    answers = {name: len(parts[2]) for name, parts in groups.items()}
    assert 1900 <= answers["test"] <= 2100
    assert 650 <= answers["dev"] <= 750
    assert answers["train"] >= 3000


@pytest.mark.parametrize("split", ["dev", "test"])
def test_every_query_and_every_document_of_a_group_is_judged(cache, split):
    collection = read_collection(DATA / split, split, cache=cache)
    assert collection.unjudged_queries == 0
    assert {doc_id for judged in collection.qrels.values() for doc_id in judged} == set(collection.doc_ids)
    assert len({normalised(text) for text in collection.documents}) == len(collection.documents)
    assert len({normalised(text) for text in collection.queries}) == len(collection.queries)


def test_the_attribution_names_authors_paper_repository_licence_and_changes():
    text = (DATA / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for needed in (
        "MedQuAD",
        "Asma Ben Abacha",
        "Dina Demner-Fushman",
        "A Question-Entailment Approach to Question Answering",
        "10.1186/s12859-019-3119-4",
        "github.com/abachaa/MedQuAD",
        "CC BY 4.0",
        "creativecommons.org/licenses/by/4.0/",
        "National Institutes of Health",
        "What was changed",
    ):
        assert needed in text


def pair(topic: str, question: str, answer: str) -> dict[str, str]:
    return {"text1": question, "text2": answer, "focus": topic, "type": "information", "source": "made"}


@pytest.fixture
def medquad(tmp_path):
    """A folder like MedQuAD's: 30 topics of 4 pairs, and rows that must be left out."""
    rows = [pair(f"Topic {t}", f"Question {q} on {t}?", f"Answer {q} on {t}.") for t in range(30) for q in range(4)]
    rows += [
        pair("topic 3 ", "Question 0  on 3?", "answer 0 on 3."),  # a repetition but for case and white space
        pair("Topic 5", "Question 0 on 5?", "A second answer on 5."),  # one query, two documents
        pair("Topic 6", "Another question on 6?", "Answer 0 on 6."),  # two queries, one document
        pair("Topic 7", "A question of two topics?", "Left out 7."),
        pair("Topic 8", "A question of two topics?", "Left out 8."),
        pair("", "A question without a topic?", "Left out 9."),
    ]
    with gzip.open(tmp_path / "pairs.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files as make_demo_data does."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")

    def write_files(contents: dict[str, bytes]) -> Path:
        for name, data in contents.items():
            path = tmp_path / "out" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path / "out"

    return write_files


def test_unusable_pairs_are_left_out(medquad):
    kept = usable(read_pairs(medquad))
    assert len(kept) == 122
    assert not [one for one in kept if one.answer.startswith("Left out") or one.row == 121]


def test_the_same_pairs_give_the_same_bytes(medquad):
    sizes = Sizes(test_answers=20, dev_answers=20, train_pairs=20)
    first, second = (files_of(usable(read_pairs(medquad)), sizes) for _time in range(2))
    assert first == second
    assert {data[4:8] for name, data in first.items() if name.endswith(".gz")} == {bytes(4)}  # gzip's time field


def test_equal_answers_are_one_document_and_equal_questions_one_query(medquad, write):
    out = write(files_of(usable(read_pairs(medquad)), Sizes(test_answers=122, dev_answers=0, train_pairs=0)))
    collection = read_collection(out / "test")
    assert (len(collection.documents), len(collection.queries)) == (121, 121)
    by_question = {
        question: {collection.documents[collection.doc_ids.index(name)] for name in collection.qrels[query_id]}
        for query_id, question in zip(collection.query_ids, collection.queries, strict=True)
    }
    assert by_question["Question 0 on 5?"] == {"Answer 0 on 5.", "A second answer on 5."}
    assert by_question["Another question on 6?"] == by_question["Question 0 on 6?"] == {"Answer 0 on 6."}


def test_training_pairs_fill_the_bytes_that_are_left(medquad):
    kept = usable(read_pairs(medquad))
    whole = files_of(kept, Sizes(test_answers=20, dev_answers=20))
    size = sum(map(len, whole.values()))
    limit = size - len(whole["train.jsonl.gz"]) // 3
    less = files_of(kept, Sizes(test_answers=20, dev_answers=20, max_bytes=limit))
    assert limit - 200 <= sum(map(len, less.values())) <= limit
    assert gzip.decompress(whole["train.jsonl.gz"]).count(b"\n") > gzip.decompress(less["train.jsonl.gz"]).count(b"\n")
