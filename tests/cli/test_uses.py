"""The commands that judge an encoder by other uses than search: what they print, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

import textcl as package
from tests.small_data import write_collection, write_jsonl, write_lines
from textcl.assemble import once
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import load_encoder
from textcl.evaluation.anomalies import score_anomalies
from textcl.evaluation.clusters import ClustersSettings, score_clusters
from textcl.evaluation.geometry import measure_geometry
from textcl.evaluation.grid import keep_dimensions, quantise
from textcl.evaluation.pairs import score_labelled_pairs
from textcl.evaluation.probe import ProbeSettings, score_probe
from textcl.evaluation.sts import score_sts


@pytest.fixture
def files(work, tiny_corpus):
    """The current folder with labelled pairs, labelled texts, a reference set, known duplicates and graded pairs."""
    pairs = [
        {
            "sentence1": text,
            "sentence2": tiny_corpus[(i * 7 + 1) % 60] if i % 3 else text.lower(),
            "label": int(i % 3 == 0),
            "split": "test" if i < 20 else "dev",
        }
        for i, text in enumerate(tiny_corpus[:30])
    ]
    write_jsonl(work / "pairs.jsonl", pairs)
    labelled = [f"{text}\t{'abc'[i % 3]}\t{'test' if i % 4 == 0 else 'train'}" for i, text in enumerate(tiny_corpus)]
    write_lines(work / "labelled.tsv", ["text\tlabel\tsplit", *labelled])
    write_lines(work / "odd.tsv", ["text\tlabel", *(f"{text}\t{i % 2}" for i, text in enumerate(tiny_corpus[:20]))])
    write_lines(work / "normal.txt", tiny_corpus[20:40])
    write_jsonl(work / "texts.jsonl", [{"_id": f"t{i}", "text": text} for i, text in enumerate(tiny_corpus[:15])])
    write_lines(work / "known.csv", ["id1,id2", "t1,t0", "t3,t9"])
    graded = [f"{text}\t{tiny_corpus[(7 * i) % 60]}\t{i % 5}" for i, text in enumerate(tiny_corpus[:12])]
    write_lines(work / "sts.tsv", ["sentence1\tsentence2\tscore", *graded])
    return work


@pytest.fixture
def said(textcl, files, tiny_model_folder):
    """Runs `evaluate COMMAND MODEL ... --json`, and returns the one object on standard output."""

    def command(name, *words):
        answer = textcl("evaluate", name, tiny_model_folder, *words, "--json")
        assert answer.code == 0, answer.err
        assert answer.out.count("\n") == 1
        return json.loads(answer.out)

    return command


@pytest.fixture
def shown(textcl, files, tiny_model_folder):
    def command(name, *words):
        answer = textcl("evaluate", name, tiny_model_folder, *words)
        assert answer.code == 0, answer.err
        return answer.out

    return command


@pytest.fixture
def refused_by(refused, files, tiny_model_folder):
    """Runs `evaluate COMMAND MODEL ...`, which must be refused, and returns its one fault."""

    def command(name, *words):
        (fault,) = refused("evaluate", name, tiny_model_folder, *words)
        return fault

    return command


@pytest.fixture
def vectors(tiny_encoder):
    return lambda texts: embed_texts(tiny_encoder, texts).vectors


def near(found, expected):
    """Whether two JSON objects agree to the rounding of embeddings."""
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        return all(near(found[name], value) for name, value in expected.items())
    return found == pytest.approx(expected, abs=1e-4)


def test_pairs_are_scored_by_the_cosines_of_their_rows(said, shown, vectors, files):
    rows = [json.loads(line) for line in (files / "pairs.jsonl").read_text().splitlines()]
    first, second = (vectors([row[name] for row in rows]) for name in ("sentence1", "sentence2"))
    expected = score_labelled_pairs(first, second, [row["label"] for row in rows]).to_json()
    assert near(said("pairs", "pairs.jsonl")["measures"], expected)
    assert said("pairs", "pairs.jsonl", "--split", "test")["measures"]["pairs"] == 20
    out = shown("pairs", "pairs.jsonl")
    assert out.splitlines()[0] == "measure                value   95 % interval"
    assert out.endswith("30 pairs, 10 of them labelled 1; thresholds were chosen on these pairs\n")


def test_names_of_columns_and_words_for_yes_and_no_can_be_chosen(said, files):
    rows = [json.loads(line) for line in (files / "pairs.jsonl").read_text().splitlines()]
    other = [{"a": row["sentence1"], "b": row["sentence2"], "same": bool(row["label"])} for row in rows]
    write_jsonl(files / "other.jsonl", other)
    found = said("pairs", "other.jsonl", "--columns", "a,b,same")
    assert found["measures"] == said("pairs", "pairs.jsonl")["measures"]


def test_probe_trains_on_random_or_given_splits(said, shown, vectors, tiny_corpus):
    embedded, labels = vectors(tiny_corpus), ["abc"[i % 3] for i in range(60)]
    settings = ProbeSettings(repeats=3, seed=1)
    expected = score_probe(embedded, labels, settings=settings).to_json()
    found = said("probe", "labelled.tsv", "--repeats", "3", "--seed", "1")["measures"]
    assert near(found, json.loads(json.dumps(expected)))
    test = np.arange(60) % 4 == 0
    expected = score_probe(embedded, labels, test=test, settings=ProbeSettings(scaling="unit", c=10.0)).to_json()
    words = ("--test-split", "test", "--scaling", "unit", "--c", "10")
    assert near(said("probe", "labelled.tsv", *words)["measures"], json.loads(json.dumps(expected)))
    assert "3 labels, 45 texts to train on, 15 to test on, 1 splits; the most" in shown("probe", "labelled.tsv", *words)


def test_clusters_are_compared_with_labels(said, shown, vectors, tiny_corpus):
    labels = ["abc"[i % 3] for i in range(60)]
    expected = score_clusters(vectors(tiny_corpus), labels, settings=ClustersSettings(4, 3, 2)).to_json()
    words = ("labelled.tsv", "--clusters", "4", "--repeats", "3", "--seed", "2")
    assert near(said("clusters", *words)["measures"], json.loads(json.dumps(expected)))
    assert shown("clusters", *words).endswith("60 texts with 3 labels in 4 clusters; over 3 starts\n")
    assert said("clusters", "labelled.tsv", "--split", "test")["measures"]["texts"] == 15


def test_anomalies_lie_far_from_the_reference(said, shown, vectors, tiny_corpus):
    labels = [i % 2 for i in range(20)]
    expected = score_anomalies(vectors(tiny_corpus[:20]), labels, vectors(tiny_corpus[20:40]), k=3).to_json()
    words = ("odd.tsv", "--reference", "normal.txt", "-k", "3")
    assert near(said("anomalies", *words)["measures"], expected)
    assert shown("anomalies", *words).endswith("20 texts, 10 of them labelled 1; 3 nearest of 20 texts\n")


def test_a_text_that_stands_in_the_reference_too_is_counted(textcl, files, tiny_model_folder, tiny_corpus):
    write_collection(files / "dev", tiny_corpus[18:40])
    answer = textcl("evaluate", "anomalies", tiny_model_folder, "odd.tsv", "--reference", "dev")
    assert answer.code == 0
    assert "2 texts of odd.tsv stand in dev too, at a distance of 0 from themselves" in answer.err


def test_paraphrases_are_shown_written_and_compared_with_known_ones(said, shown, files, vectors, tiny_corpus):
    found = said("paraphrases", "texts.jsonl", "--duplicates", "known.csv", "--show", "3", "--out", "mined/pairs.jsonl")
    assert (found["mined"], found["measures"]["known"], found["measures"]["found"]) == (105, 2, 2)
    written = [json.loads(line) for line in (files / "mined" / "pairs.jsonl").read_text().splitlines()]
    assert len(written) == 105
    assert written[:3] == found["pairs"]
    embedded = vectors(tiny_corpus[:15])
    for row in written:
        first, second = int(row["id1"][1:]), int(row["id2"][1:])
        assert (row["text1"], row["text2"]) == (tiny_corpus[first], tiny_corpus[second])
        assert row["score"] == pytest.approx(float(embedded[first] @ embedded[second]), abs=1e-5)
    out = shown("paraphrases", "texts.jsonl", "--limit", "4", "--show", "1", "--duplicates", "known.csv")
    assert out.splitlines()[2] == "4 pairs of 15 texts"
    assert " of 2 known pairs are among them" in out


def test_geometry_is_measured_on_all_texts_or_a_sample(said, shown, textcl, tiny_model_folder, tiny_encoder, files):
    rows = [json.loads(line) for line in (files / "pairs.jsonl").read_text().splitlines()]
    first, second = (embed_texts(tiny_encoder, [row[name] for row in rows]) for name in ("sentence1", "sentence2"))
    expected = measure_geometry(first.vectors, partners=second.vectors, lengths=first.lengths).to_json()
    found = said("geometry", "pairs.jsonl", "--column", "sentence1", "--partner", "sentence2")["measures"]
    assert near(found, expected)
    assert found["length_spread"] > 0.001  # the tiny encoder does not scale its embeddings
    assert "alignment                not measured" in shown("geometry", "texts.jsonl")
    answer = textcl("evaluate", "geometry", tiny_model_folder, "labelled.tsv", "--column", "text", "--sample", "30")
    assert "30 of 60 texts, drawn at random" in answer.err
    assert "texts                              30" in answer.out


def test_lengths_are_those_of_the_encoder_before_they_are_scaled(tiny_encoder, tiny_corpus):
    raw = tiny_encoder.encode(tiny_corpus, convert_to_numpy=True, normalize_embeddings=False)
    found = embed_texts(tiny_encoder, tiny_corpus)
    np.testing.assert_allclose(found.lengths, np.linalg.norm(raw, axis=1), rtol=1e-5)


def test_a_grid_on_graded_pairs_correlates_what_is_left_of_the_vectors(said, shown, vectors, files):
    lines = [line.split("\t") for line in (files / "sts.tsv").read_text().splitlines()[1:]]
    first, second = (vectors([line[side] for line in lines]) for side in (0, 1))
    grades = np.array([float(line[2]) for line in lines])
    cells = said("grid", "sts.tsv")["cells"]
    assert [cell["bytes"] for cell in cells[:4]] == [128, 64, 32, 4]
    assert [cell["dimension"] for cell in cells[::4]] == [32, 16, 8, 4]
    for cell in cells:
        stored = quantise(keep_dimensions(second, cell["dimension"]), cell["quantisation"])
        expected = score_sts(keep_dimensions(first, cell["dimension"]), stored, grades).spearman
        if cell["quantisation"] != "binary":  # a sign may turn where a value is 0 to rounding
            assert cell["measures"] == {"spearman": pytest.approx(expected, abs=0.02)}
    out = shown("grid", "sts.tsv", "--dimensions", "32,8", "--quantisations", "int8")
    assert [line.split()[:3] for line in out.splitlines()[1:3]] == [["32", "int8", "32"], ["8", "int8", "8"]]


def test_a_grid_on_a_collection_starts_from_what_retrieval_measures(said, files, tiny_corpus):
    write_collection(files / "dev", tiny_corpus[:30])
    (full,) = said("grid", "dev", "--dimensions", "32", "--quantisations", "float32", "--measures", "mrr@10")["cells"]
    expected = said("retrieval", "dev", "--measures", "mrr@10")["measures"]["mrr@10"]["mean"]
    assert full["measures"] == {"mrr@10": pytest.approx(expected, abs=1e-9)}


def test_sts_prints_its_intervals(said, shown):
    found = said("sts", "sts.tsv")["measures"]
    assert found["intervals"]["spearman"][0] < found["spearman"] < found["intervals"]["spearman"][1]
    low, high = found["intervals"]["pearson"]
    assert f"pearson {found['pearson']:.4f} ({low:.4f} to {high:.4f})  12 pairs\n" in shown("sts", "sts.tsv")


def test_a_text_that_stands_in_several_pairs_is_encoded_once(monkeypatch, files, tiny_encoder, tiny_corpus):
    counts = []

    def counted(encoder, texts, **more):
        counts.append(len(texts))
        return embed_texts(encoder, texts, **more)

    monkeypatch.setattr(once, "embed_texts", counted)
    sides = [[tiny_corpus[0], tiny_corpus[1], tiny_corpus[0]], [tiny_corpus[1], tiny_corpus[2], tiny_corpus[2]]]
    first, second = once.embed_sides(tiny_encoder, sides)
    assert counts == [3]
    expected = embed_texts(tiny_encoder, [*sides[0], *sides[1]])
    np.testing.assert_allclose(np.concatenate([first.vectors, second.vectors]), expected.vectors, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([first.lengths, second.lengths]), expected.lengths, rtol=1e-5)


def test_the_same_from_python(said, files, tiny_model_folder):
    encoder = load_encoder(tiny_model_folder)
    assert near(package.pairs_use("pairs.jsonl").of(encoder).to_json(), said("pairs", "pairs.jsonl")["measures"])
    mined = package.paraphrases_use(files / "texts.jsonl", limit=7).of(encoder)
    assert (len(mined.pairs), mined.result, len(mined.rows(2))) == (7, None, 2)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["a b\tc\t1", "d\te\tmaybe"], "bad.tsv:3: column 'label': expected a label of 0 or 1, got 'maybe'"),
        (["a b\tc\t1", "d\te\t2"], "bad.tsv:3: column 'label': expected a label of 0 or 1, got '2'"),
        (["a b\tc\t1", "d\te\t"], "bad.tsv:3: no label in column 'label'; fill it or remove the row"),
        (["a b\tc\t1", "d\te\t1"], "bad.tsv: all 2 labels in column 'label' are 1; nothing can be told apart"),
        (["a b\tc\t0"], "bad.tsv: all 1 labels in column 'label' are 0; "),
        (["a b\tc\t1", "d\t\t0"], "bad.tsv:3: no text in column 'sentence2'; fill it or remove the row"),
    ],
)  # fmt: skip
def test_pairs_without_labels_of_both_kinds(refused_by, files, rows, fault):
    write_lines(files / "bad.tsv", ["sentence1\tsentence2\tlabel", *rows])
    assert refused_by("pairs", "bad.tsv").startswith(fault)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("pairs", "none.tsv"), "none.tsv: no such file"),
        (("pairs", "sts.tsv"), "sts.tsv: no column 'label'; there are: sentence1, sentence2, score"),
        (("pairs", "pairs.jsonl", "--columns", "a,b"), "columns: expected three names separated by commas"),
        (("pairs", "pairs.jsonl", "--split", "train"), "pairs.jsonl: no row of split 'train'; there are: dev, test"),
        (("probe", "odd.tsv", "--columns", "text"), "columns: expected two names separated by commas"),
        (("probe", "odd.tsv", "--columns", "txt,label"), "odd.tsv: no column 'txt'; did you mean text? there are: "),
        (("probe", "odd.tsv", "--test-split", "test"), "odd.tsv: no column 'split'"),
        (("probe", "odd.tsv", "--repeats", "0"), "repeats: expected a whole number of at least 1, got 0"),
        (("probe", "odd.tsv", "--scaling", "half"), "scaling: expected one of standard, unit, got 'half'"),
        (("clusters", "odd.tsv", "--clusters", "21"), "odd.tsv: only 20 texts for 21 clusters; ask for fewer, or"),
        (("clusters", "odd.tsv", "--clusters", "1"), "clusters: expected a whole number of at least 2, got 1"),
        (("anomalies", "labelled.tsv", "--reference", "normal.txt"), "labelled.tsv:2: column 'label': expected a la"),
        (("anomalies", "odd.tsv", "--reference", "none.txt"), "none.txt: no such file"),
        (("anomalies", "odd.tsv", "--reference", "normal.txt", "-k", "21"), "k: expected a number of neighbours"),
        (("geometry", "texts.jsonl", "--partner", "other"), "texts.jsonl: no column 'other'; there are: _id, text"),
        (("geometry", "labelled.tsv", "--column", "text", "--sample", "5"), "sample: expected at least 12 texts"),
        (("paraphrases", "texts.jsonl", "--limit", "0"), "limit: expected a whole number of at least 1, got 0"),
        (("paraphrases", "texts.jsonl", "--show", "-1"), "show: expected a number of pairs, got -1"),
        (("paraphrases", "texts.jsonl", "--out", "."), "out: . is a folder; name a file"),
        (("paraphrases", "texts.jsonl", "--duplicates", "sts.tsv"), "sts.tsv: no column 'id1'"),
        (("grid", "sts.tsv", "--dimensions", "33"), "dimensions: expected a number from 1 to 32, the encoder's own"),
        (("grid", "sts.tsv", "--dimensions", "many"), "dimensions: expected whole numbers separated by commas"),
        (("grid", "sts.tsv", "--quantisations", "int4"), "quantisations: expected one of float32, float16, int8, bin"),
        (("grid", "sts.tsv", "--measures", "ndgc"), "measures: "),
        (("grid", "."), ".: is a folder without corpus.jsonl or corpus.jsonl.gz; name a BEIR folder or a file"),
    ],
)  # fmt: skip
def test_what_an_evaluation_cannot_take_is_named(refused_by, words, fault):
    assert refused_by(*words).startswith(fault)


@pytest.mark.parametrize("command", ["probe", "clusters"])
def test_one_label_alone(refused_by, files, command):
    write_lines(files / "bad.tsv", ["text\tlabel", "a\tx", "b\tx", "c\tx"])
    fault = "bad.tsv: all 3 labels are 'x'; nothing can be told apart without a second one"
    assert refused_by(command, "bad.tsv") == fault


def test_fewer_different_texts_than_clusters(refused_by, files):
    write_lines(files / "bad.tsv", ["text\tlabel", "a\tx", "a\ty", "a\tz"])
    assert refused_by("clusters", "bad.tsv") == "bad.tsv: only 1 different embeddings for 3 clusters; ask for fewer"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("t0,t99", "known.csv:4: column 'id2': texts.jsonl has no text with id 't99'"),
        ("t4,t4", "known.csv:4: text 't4' is said to be a duplicate of itself"),
    ],
)
def test_known_pairs_that_are_none(refused_by, files, line, fault):
    write_lines(files / "known.csv", ["id1,id2", "t1,t0", "t3,t9", line])
    assert refused_by("paraphrases", "texts.jsonl", "--duplicates", "known.csv") == fault


def test_too_few_texts(refused_by, files):
    write_lines(files / "one.txt", ["a"])
    assert refused_by("paraphrases", "one.txt") == "one.txt: has a single text; a pair needs two"
    assert refused_by("geometry", "one.txt") == "one.txt: has 1 texts; how they lie can be told of 12 or more"


def test_a_model_whose_embeddings_are_no_numbers(refused_by, files, tiny_encoder, refused):
    import torch

    with torch.no_grad():
        tiny_encoder[0].auto_model.embeddings.word_embeddings.weight.fill_(float("nan"))
    tiny_encoder.save_pretrained(str(files / "broken"), create_model_card=False)
    for command, words, fault in (
        ("pairs", ("pairs.jsonl",), "pairs.jsonl: pair 1: the embedding of its first sentence is 0 or not finite"),
        ("probe", ("odd.tsv",), "odd.tsv: text 1: its embedding is 0 or not finite; encode it again"),
        ("clusters", ("odd.tsv",), "odd.tsv: text 1: its embedding is 0 or not finite; encode it again"),
        ("geometry", ("texts.jsonl",), "text 1: its embedding is 0 or not finite; encode it again"),
        ("paraphrases", ("texts.jsonl",), "text 1: its embedding is 0 or not finite; encode it again"),
        ("grid", ("sts.tsv",), "text 1: its embedding is 0 or not finite; encode it again"),
    ):
        (found,) = refused("evaluate", command, "broken", *words)
        assert found.startswith(fault)
