from __future__ import annotations

import gzip
import json
import re

import datasets
import pytest

from textcl.corpus.beir_files import is_collection
from textcl.corpus.collection import Collection, read_collection, read_qrels, reduced
from textcl.corpus.documents import read_texts
from textcl.errors import DataError

CORPUS = [
    {"_id": "d1", "title": "Cats", "text": "purr. "},
    {"_id": "d2", "title": "", "text": "Dogs bark."},
    {"_id": "d3", "text": "Birds sing."},
    {"_id": "d4", "title": "Only a title", "text": ""},
]
QUERIES = [{"_id": "q1", "text": "who purrs?"}, {"_id": "q2", "text": "unjudged"}, {"_id": "q3", "text": "who sings?"}]
HEADER = "query-id\tcorpus-id\tscore\n"
QRELS = HEADER + "q3\td3\t2\nq3\td1\t0\nq1\td1\t1\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


@pytest.fixture
def folder(tmp_path):
    """A small BEIR folder."""
    path = tmp_path / "pets"
    (path / "qrels").mkdir(parents=True)
    write_lines(path / "corpus.jsonl", CORPUS)
    write_lines(path / "queries.jsonl", QUERIES)
    (path / "qrels" / "test.tsv").write_text(QRELS)
    return path


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_collection_holds_the_documents_and_the_judged_queries_in_the_files_order(folder):
    collection = read_collection(folder)
    assert collection.doc_ids == ["d1", "d2", "d3", "d4"]
    assert collection.documents == ["Cats purr.", "Dogs bark.", "Birds sing.", "Only a title"]
    assert (collection.query_ids, collection.queries) == (["q1", "q3"], ["who purrs?", "who sings?"])
    assert collection.qrels == {"q3": {"d3": 2, "d1": 0}, "q1": {"d1": 1}}
    assert (collection.name, collection.unjudged_queries) == ("pets", 1)
    assert (collection.missing_documents, collection.missing_queries) == (0, 0)


def test_compressed_files_give_the_same_collection(folder):
    plain = read_collection(folder)
    for path in [folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels" / "test.tsv"]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert read_collection(folder) == plain


def test_a_split_is_chosen_by_name(folder):
    (folder / "qrels" / "dev.tsv").write_text(HEADER + "q2\td2\t1\n")
    assert read_collection(folder, "dev").query_ids == ["q2"]


def test_a_missing_split_lists_those_that_exist(folder):
    (folder / "qrels" / "dev.tsv.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match=r"qrels/train\.tsv: no such file, nor with \.gz; splits here: dev, test$"):
        read_collection(folder, "train")


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"pets/{re.escape(name)}: no such file"):
        read_collection(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none: no such folder"):
        read_collection(tmp_path / "none")


def test_a_query_whose_judgements_are_all_0_is_kept(folder):
    (folder / "qrels" / "test.tsv").write_text(HEADER + "q2\td2\t0\n")
    assert read_collection(folder).query_ids == ["q2"]


def test_trec_qrels_of_four_columns_are_read_too(folder):
    expected = read_qrels(folder / "qrels" / "test.tsv")
    (folder / "qrels" / "test.tsv").write_text("q3 0 d3 2\nq3 0\td1  0\n\nq1 Q0 d1 1\n")
    assert read_qrels(folder / "qrels" / "test.tsv") == expected == read_collection(folder).qrels


def test_document_ids_with_spaces_survive_in_beir_qrels(tmp_path):
    (tmp_path / "a.tsv").write_text(HEADER + "q 1\td 1\t1\n")
    assert read_qrels(tmp_path / "a.tsv") == {"q 1": {"d 1": 1}}


def test_negative_scores_stay(tmp_path):
    (tmp_path / "a.txt").write_text("q1 0 d1 -2\n")
    assert read_qrels(tmp_path / "a.txt") == {"q1": {"d1": -2}}


QREL_FAULTS = {
    "score": (HEADER + "q1\td1\t1\nq1\td2\thigh\n", "test.tsv:3: invalid score 'high'; expected a whole number"),
    "half": (HEADER + "q1\td1\t0.5\n", "test.tsv:2: invalid score '0.5'; expected a whole number"),
    "fields": (HEADER + "q1\td1\n", "test.tsv:2: expected 3 fields with tabs between, got 2 fields"),
    "no header": (
        "q1\td1\t1\n",
        "test.tsv:1: expected the header query-id corpus-id score, or TREC's 4 columns, got 3",
    ),
    "empty": ("", "test.tsv: has no judgement; expected at least one"),
    "only header": (HEADER, "test.tsv: has no judgement below its header; expected at least one"),
    "disagree": (
        HEADER + "q1\td1\t1\nq1\td2\t1\nq1\td1\t0\n",
        "test.tsv:4: query 'q1' and document 'd1' have score 0 here and 1 on line 2; keep one",
    ),
}


@pytest.mark.parametrize("fault", QREL_FAULTS)
def test_faulty_judgements_name_file_and_line(folder, fault):
    content, expected = QREL_FAULTS[fault]
    path = folder / "qrels" / "test.tsv"
    path.write_text(content)
    for read in (lambda: read_qrels(path), lambda: read_collection(folder)):
        with pytest.raises(DataError, match=re.escape(f"{path.parent}/{expected}")) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_judgements_given_twice_alike_count_once(tmp_path):
    (tmp_path / "a.tsv").write_text(HEADER + "q1\td1\t1\nq1\td1\t1\n")
    assert read_qrels(tmp_path / "a.tsv") == {"q1": {"d1": 1}}


def test_missing_qrels_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.tsv: no such file$"):
        read_qrels(tmp_path / "none.tsv")


def test_all_unknown_names_are_reported_at_once_with_the_first_line(folder):
    lines = "".join(f"q1\tx{number}\t1\n" for number in range(7))
    (folder / "qrels" / "test.tsv").write_text(QRELS + lines + "q9\td1\t1\n")
    with pytest.raises(DataError) as caught:
        read_collection(folder)
    assert str(caught.value) == (
        f"{folder}/qrels/test.tsv:5: 7 judged documents not in the corpus: 'x0', 'x1', 'x2', 'x3', 'x4', … and "
        "1 judged queries not in the query file: 'q9'; mend the files, or add --allow-missing to count what is missing "
        "as not found"
    )


def test_allowed_missing_documents_stay_in_the_judgements_and_are_counted_once(folder):
    (folder / "qrels" / "test.tsv").write_text(QRELS + "q1\tx1\t1\nq3\tx1\t1\n")
    collection = read_collection(folder, allow_missing=True)
    assert collection.missing_documents == 1
    assert collection.qrels["q1"] == {"d1": 1, "x1": 1}


def test_allowed_missing_queries_stay_in_the_judgements_and_are_counted(folder):
    (folder / "qrels" / "test.tsv").write_text(QRELS + "q9\td1\t1\n")
    collection = read_collection(folder, allow_missing=True)
    assert (collection.missing_queries, collection.query_ids) == (1, ["q1", "q3"])
    assert collection.qrels["q9"] == {"d1": 1}


def test_a_collection_without_a_judged_query_is_refused_even_if_what_is_missing_is_allowed(folder):
    (folder / "qrels" / "test.tsv").write_text(HEADER + "q9\td1\t1\n")
    with pytest.raises(DataError, match=r"test\.tsv: no judged query: none of its query ids is in .*queries\.jsonl$"):
        read_collection(folder, allow_missing=True)


def test_repeated_document_ids_are_refused(folder):
    write_lines(folder / "corpus.jsonl", [*CORPUS, CORPUS[1]])
    with pytest.raises(DataError, match=r"corpus\.jsonl:5: duplicate id 'd2', first on line 2"):
        read_collection(folder)


def test_documents_need_ids_of_their_own(folder):
    write_lines(folder / "corpus.jsonl", [{"text": "a"}])
    with pytest.raises(DataError, match=r"corpus\.jsonl: no column '_id'"):
        read_collection(folder)


def test_a_query_without_text_is_refused(folder):
    write_lines(folder / "queries.jsonl", [*QUERIES, {"_id": "q4", "text": " "}])
    with pytest.raises(DataError, match=r"queries\.jsonl:4: no text in column 'text'"):
        read_collection(folder)


def test_a_folder_is_a_collection_if_it_has_a_corpus(folder, tmp_path):
    assert is_collection(folder)
    assert is_collection(str(folder))
    assert not is_collection(tmp_path)
    assert not is_collection(folder / "corpus.jsonl")


def test_texts_of_a_collection_are_its_documents(folder):
    texts = read_texts(folder, limit=2)
    assert (texts.ids, texts.texts, texts.source) == (["d1", "d2"], ["Cats purr.", "Dogs bark."], str(folder))
    assert read_texts(folder, column="text", limit=2).texts == ["purr. ", "Dogs bark."]


def test_texts_of_a_file_are_its_text_column(tmp_path):
    (tmp_path / "a.csv").write_text("id,body,other\nx,one,1\ny,two,2\n")
    texts = read_texts(tmp_path / "a.csv", column="body")
    assert (texts.ids, texts.texts) == (["x", "y"], ["one", "two"])
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    assert read_texts(tmp_path / "a.txt", cache=tmp_path / "own").ids == ["0", "1"]
    assert list((tmp_path / "own").glob("*.arrow"))


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"is a folder without corpus\.jsonl or corpus\.jsonl\.gz; name a file or a BEIR"
    ):
        read_texts(tmp_path)


def test_a_reduced_collection_has_queries_with_their_judged_documents_and_others():
    doc_ids = [f"d{i}" for i in range(200)]
    qrels = {f"q{i}": {f"d{2 * i}": 1, f"d{2 * i + 1}": 0, "gone": 1} for i in range(40)}
    texts = [f"text {i}" for i in range(200)]
    whole = Collection(doc_ids, texts, list(qrels), [f"ask {i}" for i in range(40)], qrels, "c", 1, 0)
    assert reduced(whole, None) is whole
    assert reduced(whole, 240) is whole
    part = reduced(whole, 100)
    assert len(part.documents) + len(part.queries) == 100
    assert len(part.queries) == 16  # with two judged documents each, 48 of the 50 texts that are half
    assert part.qrels == {query_id: qrels[query_id] for query_id in part.query_ids}
    assert {one for own in part.qrels.values() for one in own} <= {*part.doc_ids, "gone"}
    kept = dict(zip(part.doc_ids, part.documents, strict=True))
    assert kept == {doc_id: texts[int(doc_id[1:])] for doc_id in kept}
    assert part.queries == [f"ask {query_id[1:]}" for query_id in part.query_ids]
    assert reduced(whole, 100) == part
    assert len(reduced(whole, 2).queries) == 1  # one at least, with its documents
