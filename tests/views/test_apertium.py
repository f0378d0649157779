"""Apertium itself, on English and Spanish: the package apertium-eng-spa of Debian, which CI installs."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textcl.errors import ConfigError, MissingExtraError
from textcl.views import Apertium
from textcl.views.apertium import MODES, ApertiumStoppedError

installed = pytest.mark.skipif(
    not (MODES / "eng-spa.mode").exists() or shutil.which("lt-proc") is None, reason="apertium-eng-spa is not installed"
)


@pytest.fixture(scope="module")
def there():
    translator = Apertium("eng", "spa")
    yield translator
    translator.close()


def translated(translator, *texts):
    return [found for (found,) in translator.translate(texts)]


@installed
def test_sentences_are_translated_with_their_ends(there):
    texts = ["Playing a guitar.", "hello world", "What now?", 'He said "no".', "I have ten dogs.", "I like it"]
    assert translated(there, *texts) == [
        "Tocando una guitarra.",
        "hola Mundo",
        "Qué ahora?",
        'Dijo "no".',
        "Tengo diez perros.",
        "Me gusta",
    ]


@installed
def test_unknown_words_and_the_signs_of_the_stream_format_stay(there):
    texts = ["the flurbix", "a [3] b", "x^y", "<tag> {b} @home", "back\\slash $ /", "日本語", "*x #y"]
    found = translated(there, *texts)
    assert found == [
        "El flurbix",
        "Un [3] b",
        "x^y",
        "<Etiqueta> {b} @casa",
        "Cuchillada\\posterior $ /",
        "日本語",
        "*x #y",
    ]


@installed
def test_blank_texts_come_back_blank_and_nulls_are_spaces(there):
    assert translated(there, "", "  \n\t", "\0", "the\0house") == ["", "", "", "La casa"]


GARBAGE = st.text(alphabet=st.one_of(st.characters(), st.sampled_from('^$/<>[]{}@~\\*#+"\0\n. the')), max_size=30)


@installed
@settings(max_examples=60)
@given(st.lists(GARBAGE, min_size=1, max_size=6), st.randoms(use_true_random=False))
@example(['^"', "hello"], __import__("random").Random(0))
def test_whatever_stands_around_a_text_its_translation_is_the_same(there, texts, random):
    together = translated(there, *texts)
    order = list(range(len(texts)))
    random.shuffle(order)
    assert len(together) == len(texts)
    assert translated(there, *(texts[place] for place in order)) == [together[place] for place in order]
    assert translated(there, texts[-1]) == together[-1:]


@installed
def test_more_texts_than_fit_into_the_pipes_come_back_in_order(there):
    texts = [f"The house number {number} is old and stands at the river near the mill." for number in range(2000)]
    found = translated(there, *texts)
    assert [f" {number} " in answer for number, answer in enumerate(found)] == [True] * 2000


@installed
def test_a_text_that_the_pipeline_chokes_on_is_given_up_and_the_others_are_not(there, tmp_path, monkeypatch):
    # A stage that swallows one word with everything behind it, as a damaged dictionary or a bug in Apertium would.
    stage = tmp_path / "choke"
    stage.write_text("#!/bin/sh\nexec sed -z -u 's/^choke.*//; /^$/d'\n")
    stage.chmod(0o755)
    (tmp_path / "eng-spa.mode").write_text(f"'{stage}'")
    monkeypatch.setattr("textcl.views.apertium._PATIENCE_S", 0.5)
    translator = Apertium("eng", "spa", modes=tmp_path)
    try:
        assert translator.notes == []
        assert translated(translator, "one", "choke", "two", "three") == ["one", "", "two", "three"]
        assert translator.notes == ["1 texts stop Apertium's pipeline and have no view"]
    finally:
        translator.close()


@installed
def test_a_pipeline_that_stands_still_with_its_pipe_full_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "stand").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "stand").chmod(0o755)
    (tmp_path / "eng-spa.mode").write_text(f"'{tmp_path / 'stand'}'")
    monkeypatch.setattr("textcl.views.apertium._PATIENCE_S", 0.3)
    with pytest.raises(ApertiumStoppedError, match="gives no answer"):
        Apertium("eng", "spa", modes=tmp_path).translate(["word " * 100_000])


@installed
def test_a_pipeline_that_answers_nothing_says_which_and_what_to_do(tmp_path):
    (tmp_path / "eng-spa.mode").write_text("true")
    with pytest.raises(
        ApertiumStoppedError, match=r"eng-spa\.mode gives no answer; check that `apertium eng-spa` runs"
    ):
        Apertium("eng", "spa", modes=tmp_path).translate(["hello"])


@installed
@pytest.mark.parametrize("stage", [0, 4, -1])
def test_a_process_that_is_killed_is_started_again(stage):
    translator = Apertium("eng", "spa")
    translator.translate(["hello"])
    translator._processes[stage].kill()
    assert translated(translator, "hello", "The house.") == ["hola", "La casa."]
    translator.close()


@installed
def test_facts_name_the_direction_and_every_file_of_rules(there):
    facts = there.facts
    assert (facts["translator"], facts["source"], facts["target"]) == ("apertium", "eng", "spa")
    files = ("eng-spa.automorf.bin", "eng-spa.autobil.bin", "eng-spa.prob")
    assert {f"apertium-eng-spa/{name}" for name in files} <= facts["data"].keys()
    assert facts["stages"].startswith("lt-proc -z | apertium-tagger -z -g | ")
    assert facts == Apertium("eng", "spa").facts != Apertium("spa", "eng").facts


@installed
def test_one_variant_is_all_that_there_is(there):
    with pytest.raises(ConfigError, match=r"^variants: expected 1: Apertium has one translation of a text, got 2$"):
        there.translate(["hello"], 2)


def test_a_pair_that_is_not_installed_names_the_package(tmp_path):
    message = r"^translation from eng to tlh by Apertium needs an optional package: apt-get install apertium-eng-tlh$"
    with pytest.raises(MissingExtraError, match=message):
        Apertium("eng", "tlh")
    with pytest.raises(MissingExtraError, match="apertium-eng-spa"):
        Apertium("spa", "eng", modes=tmp_path)


def test_apertium_without_its_programs_names_the_package(monkeypatch, tmp_path):
    (tmp_path / "eng-spa.mode").write_text("lt-proc x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="apt-get install apertium-eng-spa"):
        Apertium("eng", "spa", modes=tmp_path)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("English", "spa", r"^source: expected a language code of Apertium, such as eng or spa, got 'English'$"),
        ("eng", "../x", r"^target: expected a language code of Apertium, such as eng or spa, got '\.\./x'$"),
        ("eng", "eng", r"^target: expected another language than the source, got 'eng'$"),
    ],
)
def test_codes_that_are_none_are_refused(source, target, message):
    with pytest.raises(ConfigError, match=message):
        Apertium(source, target)
