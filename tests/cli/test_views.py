"""`textcl views show`, `audit` and `build`, and what they and a training refuse."""

from __future__ import annotations

import json
import shutil
import sqlite3

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tests.views.test_apertium import installed
from textcl.training.journal import read_journal
from textcl.views import Apertium, BackTranslation

BUILD = "textcl views build RECIPE (with the same --set, if any)"
APERTIUM = "{name: back_translate, translator: {name: apertium}}"


def coming_home_unchanged(texts, read=str):
    """How many texts are the same after Apertium's round trip."""
    view = BackTranslation(Apertium("eng", "spa"), Apertium("spa", "eng"))
    try:
        pairs = zip(texts, view.rewrite(texts), strict=True)
        return sum(read(text) in map(read, found) for text, found in pairs)
    finally:
        view.close()


def with_views(recipe, *more):
    """The words that put `views.first` and so on over a recipe."""
    return [recipe, "--set", "views.store=store", *(word for pair in more for word in ("--set", pair))]


def test_show_prints_each_text_beside_its_two_views(textcl, recipe):
    answer = textcl("views", "show", recipe, "-n", 3, "--set", "views.first=[{name: delete, rate: 0.4}]", "--json")
    assert answer.code == 0, answer.err
    pairs = json.loads(answer.out)["pairs"]
    assert len(pairs) == 3
    for pair in pairs:
        (text, same), (first, _second) = pair["text"], pair["views"]
        assert text == same
        assert len(first) < len(text)
    assert any("[MASK]" in pair["views"][1] for pair in pairs)
    table = textcl("views", "show", recipe, "-n", 3)
    assert "[MASK]" in table.out
    assert "\x1b" not in table.out


def test_show_colours_what_is_gone_and_what_is_new(textcl, recipe, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    out = textcl("views", "show", recipe, "-n", 5).out
    assert "\x1b[32m" in out  # green, the mask token
    assert "\x1b[9;31m" in out  # red and struck, the words that it hides


def test_show_shows_what_training_sees(textcl, recipe):
    one, two = (json.loads(textcl("views", "show", recipe, "-n", 4, "--json").out) for _ in range(2))
    assert one == two
    other = json.loads(textcl("views", "show", recipe, "-n", 4, "--json", "--set", "seed=1").out)
    assert other != one


def test_show_has_both_texts_of_a_pair(textcl, work, recipe):
    (work / "pairs.jsonl").write_text(
        "".join(json.dumps({"q": f"why {n}", "a": f"because {n}"}) + "\n" for n in range(4))
    )
    sets = ["data.train=pairs.jsonl", "data.columns={anchor: q, positive: a}", "views={}"]
    answer = textcl("views", "show", *with_views(recipe, *sets), "--json")
    for pair in json.loads(answer.out)["pairs"]:
        assert pair["text"] == pair["views"]
        assert pair["text"][0].startswith("why")
        assert pair["text"][1].startswith("because")


def test_audit_measures_each_view_alone_and_each_side_as_a_whole(textcl, recipe):
    views = (
        "views.first=[{name: choice, of: [{name: word_delete, rate: 0.5}, {name: dropout}]}, {name: mask, rate: 0.3}]"
    )
    answer = textcl("views", "audit", recipe, "-n", 40, "--worst", 2, "--set", views, "--json")
    assert answer.code == 0, answer.err
    audits = {one["name"]: one for one in json.loads(answer.out)["views"]}
    names = ["first.0.of.0 word_delete", "first.0.of.1 dropout", "first.1 mask", "first, as a whole", "second.0 mask"]
    assert list(audits) == names
    dropout, mask, delete = (audits[name] for name in ("first.0.of.1 dropout", "first.1 mask", names[0]))
    assert (dropout["unchanged"], dropout["token_overlap"], dropout["length_ratio"]) == (1, 1, 1)
    assert dropout["cosine"] == pytest.approx(1, abs=1e-5)
    assert mask["length_ratio"] == 1
    assert mask["token_overlap"] < 0.7
    assert 0.3 < delete["length_ratio"] < 0.7
    for one in audits.values():
        assert one["texts"] == 40
        assert one["empty"] == 0
        quantiles = list(one["quantiles"].values())
        assert quantiles == sorted(quantiles)
        cosines = [example["cosine"] for example in one["worst"]]
        assert len(cosines) == 2
        assert cosines == sorted(cosines)
    table = textcl("views", "audit", recipe, "-n", 5).out
    assert table.splitlines()[1].startswith("second.0 mask")


def test_a_strength_that_moves_is_shown_and_measured_at_the_moment_that_is_asked_for(textcl, refused, recipe):
    words = with_views(recipe, "views.second=[{name: mask, rate: {start: 0.0, end: 0.9}}]")

    def unchanged(*more):
        (audit,) = json.loads(textcl("views", "audit", *words, "-n", 20, *more, "--json").out)["views"]
        return audit["unchanged"]

    def masks(*more):
        return textcl("views", "show", *words, "-n", 5, *more, "--json").out.count("[MASK]")

    assert (unchanged(), masks()) == (1, 0)
    assert unchanged("--done", 1.0) == 0
    assert 0 < masks("--done", 0.3) < masks("--done", 1.0)
    assert refused("views", "audit", *words, "--done", 1.5) == [
        "done: expected a share of the training in [0, 1], got 1.5"
    ]


@installed
def test_audit_of_a_stored_view_leaves_out_the_texts_that_have_none(textcl, recipe, tiny_corpus):
    words = with_views(recipe, f"views.second=[{APERTIUM[:-1]}, min_similarity: 0.97}}]")
    assert textcl("views", "build", *words).code == 0
    (audit,) = json.loads(textcl("views", "audit", *words, "-n", 60, "--worst", 1, "--json").out)["views"]
    assert audit["name"] == "second.0 back_translate"
    assert 0 < audit["texts"] < 60
    # The texts without a view are no views that kept everything; what is the same in small letters is.
    assert audit["unchanged"] * audit["texts"] == pytest.approx(coming_home_unchanged(tiny_corpus, str.lower))


def test_audit_measures_a_pair_view_on_both_sides(textcl, recipe):
    sets = ["views.pair={name: inverse_cloze}", "views.second=[]"]
    answer = textcl("views", "audit", *with_views(recipe, *sets), "-n", 10, "--json")
    names = [one["name"] for one in json.loads(answer.out)["views"]]
    assert names == ["pair inverse_cloze, first side", "pair inverse_cloze, second side"]


def test_audit_without_a_view_has_nothing_to_measure(refused, recipe):
    assert refused("views", "audit", *with_views(recipe, "views.second=[]")) == [
        "views: the recipe has none; nothing to measure"
    ]


def test_audit_asks_the_judge_that_is_named(textcl, recipe, work, tiny_model_folder, tiny_hf_folder):
    def cosine(*more):
        return json.loads(textcl("views", "audit", recipe, "-n", 30, "--json", *more).out)["views"][-1]["cosine"]

    own = cosine()
    assert cosine("--judge", tiny_model_folder) == own
    (fault,) = textcl("views", "audit", recipe, "--judge", "./none").faults
    assert fault == "./none: no such folder"


@installed
def test_build_then_train_on_stored_views(textcl, work, recipe, tiny_corpus):
    words = with_views(recipe, f"views.second=[{APERTIUM}]")
    built = textcl("views", "build", *words, "--json")
    assert built.code == 0, built.err
    made = json.loads(built.out)
    assert made["store"] == "store/views.sqlite"
    row = {"place": "views.second.0", "name": "back_translate", "texts": 60, "written": 60, "empty": 0}
    assert made["views"] == [{**row, "unchanged": coming_home_unchanged(tiny_corpus)}]
    again = textcl("views", "build", *words)
    assert again.out.startswith("views.second.0 (back_translate): 0 of 60 texts written now")
    trained = textcl("train", *words, "--out", "run")
    assert trained.code == 0, trained.err
    assert [line["step"] for line in read_journal(work / "run/journal.jsonl") if line["name"] == "loss"] == [1, 2, 3, 4]
    (used,) = json.loads((work / "run/manifest.json").read_text())["stored_views"]
    assert used["place"] == "views.second.0"
    assert used["made_by"]["there"]["target"] == "spa"


@installed
def test_the_texts_that_fall_back_are_counted_and_reported(textcl, recipe):
    words = with_views(recipe, f"views.second=[{APERTIUM[:-1]}, min_similarity: 0.97, otherwise: [{{name: typos}}]}}]")
    assert textcl("views", "build", *words).code == 0
    said = textcl("train", *words, "--out", "run").err
    (line,) = [line for line in said if "min_similarity" in line]
    assert "of 60 stored views are below min_similarity and are not used" in line
    assert line.endswith("of 60 texts have none and fall back to typos")


# --- what is refused --------------------------------------------------------------------------------------------------


@installed
@pytest.mark.parametrize("command", [("train",), ("views", "show"), ("views", "audit")])
def test_a_stored_view_that_was_not_built(refused, recipe, command):
    assert refused(*command, *with_views(recipe, f"views.second=[{APERTIUM}]")) == [
        f"views.second.0: 60 of 60 texts have no stored view; run: {BUILD}"
    ]


@installed
def test_a_stored_view_made_with_other_settings_says_which(textcl, refused, recipe, work):
    assert textcl("views", "build", *with_views(recipe, f"views.second=[{APERTIUM}]")).code == 0
    base = sqlite3.connect(work / "store" / "views.sqlite")
    base.execute('UPDATE makers SET key = \'other\', facts = replace(facts, \'"source": "eng"\', \'"source": "cat"\')')
    base.commit()
    base.close()
    (fault,) = refused("train", *with_views(recipe, f"views.second=[{APERTIUM}]"))
    assert fault == (
        "views.second.0: 60 of 60 texts have no stored view; store/views.sqlite has views made with other settings: "
        f"there.source was cat, is eng; run: {BUILD}"
    )


@installed
def test_texts_that_came_later_are_counted(textcl, refused, recipe, work):
    words = with_views(recipe, f"views.second=[{APERTIUM}]")
    assert textcl("views", "build", *words).code == 0
    with (work / "texts.txt").open("a") as file:
        file.write("A text that nobody has translated.\n")
    assert refused("train", *words) == [f"views.second.0: 1 of 61 texts have no stored view; run: {BUILD}"]


@installed
def test_a_threshold_without_measured_similarities(textcl, refused, recipe):
    assert textcl("views", "build", *with_views(recipe, f"views.second=[{APERTIUM}]")).code == 0
    (fault,) = refused("train", *with_views(recipe, f"views.second=[{APERTIUM[:-1]}, min_similarity: 0.5}}]"))
    assert fault.startswith("views.second.0.min_similarity: not all stored views have been compared with their texts")


@installed
def test_a_damaged_store(textcl, refused, recipe, work):
    words = with_views(recipe, f"views.second=[{APERTIUM}]")
    assert textcl("views", "build", *words).code == 0
    path = work / "store" / "views.sqlite"
    path.write_bytes(path.read_bytes()[:100] + b"x" * 5000)
    (fault,) = refused("train", *words)
    assert fault.startswith("store/views.sqlite: cannot be used as a store of views (")
    assert fault.endswith("remove it and build the views again")


def test_a_recipe_without_stored_views_has_nothing_to_build(refused, recipe):
    (fault,) = refused("views", "build", recipe)
    assert fault == "views: the recipe has no stored view (back_translate, generate); nothing to build"


def test_a_mask_view_on_a_tokenizer_without_a_mask_token(refused, recipe, work, tiny_model_folder, tmp_path):
    model = tmp_path / "no_mask"
    shutil.copytree(tiny_model_folder, model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    bare = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]", sep_token="[SEP]"
    )
    bare.save_pretrained(model)
    for view in ("mask", "span_mask"):
        words = with_views(recipe, f"encoder.model={model}", f"views.second=[{{name: {view}}}]")
        assert refused("train", *words) == [
            f"views.second.0.name: expected another view: the encoder's tokenizer has no mask token, got '{view}'"
        ]


@pytest.mark.parametrize(
    ("view", "fault"),
    [
        ("{name: mask, rate: 1}", "0.rate: expected a chance in [0, 1), got 1.0"),
        ("{name: mask, rate: -0.1}", "0.rate: expected a chance in [0, 1), got -0.1"),
        ("{name: mask, rate: {start: 0.1, end: 1}}", "0.rate: expected a chance in [0, 1), got '0.1 to 1.0'"),
        (
            "{name: mask, rate: {start: 0, end: 0.2, until: 0}}",
            "0.rate.until: expected a share of the training in (0, 1]",
        ),
        ("{name: mask, random_fraction: 0.6, kept_fraction: 0.6}", "0.kept_fraction: expected a share in [0, 0.4]"),
        ("{name: delete, rate: 1.5}", "0.rate: expected a chance in [0, 1), got 1.5"),
        ("{name: shuffle, distance: -1}", "0.distance: expected a number of at least 0, got -1.0"),
        ("{name: keywords, min_words: 3, max_words: 2}", "0.max_words: expected a number of words, at least 3, got 2"),
        ("{name: letter_case, cases: [camel]}", "0.cases: expected some of lower, upper, title, got ['camel']"),
        ("{name: choice, of: []}", "0.of: a choice needs at least one view"),
        ("{name: choice, of: [{name: mask}], weights: [1, 2]}", "0.weights: expected 1 numbers, one a view, got"),
        ("{name: chain, of: [{name: mask, rate: 2}]}", "0.of.0.rate: expected a chance in [0, 1), got 2.0"),
        (
            "{name: mask}, {name: typos}",
            "1: typos works on text, a view before it on tokens; put one stored view first",
        ),
    ],
)
@pytest.mark.parametrize("command", [("train",), ("views", "build")])
def test_views_that_cannot_be(refused, recipe, command, view, fault):
    (found,) = refused(*command, *with_views(recipe, f"views.second=[{view}]"))
    assert found.startswith(f"views.second.{fault}")


@installed
@pytest.mark.parametrize(
    ("view", "fault"),
    [
        (
            "{name: back_translate, translator: {name: apertium, pivot: tlh}}",
            "translation from eng to tlh by Apertium needs an optional package: apt-get install apertium-eng-tlh",
        ),
        (
            "{name: back_translate, translator: {name: apertium}, variants: 3}",
            "views.second.0.variants: expected 1: Apertium has one translation of a text, got 3",
        ),
        (
            "{name: back_translate, translator: {name: apertium, pivot: eng}}",
            "views.second.0.translator.pivot: expected another language than the source, got 'eng'",
        ),
        (
            "{name: back_translate, translator: {name: marian, there: ./none}}",
            "./none: no such folder",
        ),
        (
            f"{{name: typos}}, {APERTIUM}",
            "views.second.1: back_translate works on stored texts, a view before it on text",
        ),
        (
            f"{APERTIUM}, {APERTIUM}",
            "views.second.1: back_translate works on stored texts, a view before it on stored texts",
        ),
    ],
)
def test_translators_that_cannot_be(refused, recipe, view, fault):
    (found,) = refused("train", *with_views(recipe, f"views.second=[{view}]"))
    assert found.startswith(fault)


def test_a_text_view_beside_a_pair_view(refused, recipe):
    sets = ["views.pair={name: neighbours}", "views.second=[{name: typos}]"]
    assert refused("train", *with_views(recipe, *sets)) == [
        "views.second.0: works on text, but views.pair cuts tokens first; use views of tokens"
    ]


@pytest.mark.parametrize("command", ["show", "audit"])
def test_no_texts_at_all(refused, recipe, command):
    assert refused("views", command, recipe, "-n", 0) == ["n: expected a number of texts, at least 1, got 0"]


def test_the_fields_of_a_beir_folder_are_columns(textcl, refused, recipe, work):
    (work / "docs").mkdir()
    rows = [{"_id": letter, "title": f"title {letter}", "text": f"the text of {letter}"} for letter in "abcdefghi"]
    (work / "docs" / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = with_views(recipe, "data={train: docs, columns: {anchor: title, positive: text}}", "views.second=[]")
    pairs = json.loads(textcl("views", "show", *words, "--json").out)["pairs"]
    assert {tuple(pair["text"]) for pair in pairs} == {(row["title"], row["text"]) for row in rows}
    rows[4]["title"] = ""
    (work / "docs" / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (fault,) = refused("train", *words)
    assert fault == "docs/corpus.jsonl:5: no text in column 'title'; fill it or remove the row"
