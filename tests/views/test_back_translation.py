from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from textcl.errors import ConfigError
from textcl.views.back_translation import BackTranslation, distinct


@dataclass
class Letters:
    """A translator of a protocol's few words: each text backwards, with the variant's number behind it."""

    source: str | None
    target: str | None
    most: int = 9
    facts: dict = field(default_factory=lambda: {"translator": "letters"})
    closed: bool = False
    notes: tuple = ()

    def check_variants(self, variants):
        if variants > self.most:
            raise ConfigError("variants", variants, f"at most {self.most}")

    def translate(self, texts, variants=1):
        return [[f"{text[::-1]}{'+' * number}" if text else "" for number in range(variants)] for text in texts]

    def close(self):
        self.closed = True


def test_each_pivot_is_brought_home_once_and_equal_ones_count_once():
    view = BackTranslation(Letters("eng", "spa"), Letters("spa", "eng"), variants=3)
    assert view.rewrite(["abc", "", " x"]) == [["abc", "+abc", "++abc"], [], ["x", "+ x", "++ x"]]
    assert BackTranslation(Letters("eng", "spa"), Letters("spa", "eng")).rewrite(["abc", "d"]) == [["abc"], ["d"]]
    assert view.rewrite([]) == []


@pytest.mark.parametrize("languages", [(("eng", "spa"), ("spa", "eng")), ((None, None), ("spa", "eng"))])
def test_languages_that_meet_or_that_nobody_names_are_taken(languages):
    there, back = languages
    assert BackTranslation(Letters(*there), Letters(*back)).variants == 1


@pytest.mark.parametrize(
    ("there", "back", "message"),
    [
        (
            ("en", "de"),
            ("fr", "en"),
            "back: the languages do not meet, fr is not de: the way back must read what the way",
        ),
        (
            ("en", "de"),
            ("de", "fr"),
            "back: the languages do not meet, fr is not en: the way back must write what the way",
        ),
    ],
)
def test_languages_that_do_not_meet_are_refused(there, back, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        BackTranslation(Letters(*there), Letters(*back))


@pytest.mark.parametrize("variants", [0, -1])
def test_no_variants_at_all_are_refused(variants):
    with pytest.raises(ConfigError, match=rf"^variants: expected a whole number above 0, got {variants}$"):
        BackTranslation(Letters("a", "b"), Letters("b", "a"), variants)


def test_more_variants_than_the_way_there_has_are_refused():
    with pytest.raises(ConfigError, match=r"^variants: expected at most 2, got 3$"):
        BackTranslation(Letters("a", "b", most=2), Letters("b", "a"), 3)


def test_the_facts_are_those_of_both_ways_and_closing_closes_both():
    there, back = Letters("a", "b"), Letters("b", "a", facts={"translator": "other"})
    view = BackTranslation(there, back, 2)
    assert view.facts == {"view": "back_translate", "there": there.facts, "back": back.facts, "variants": 2}
    view.close()
    assert there.closed
    assert back.closed


def test_what_both_translators_note_is_told_with_its_way():
    view = BackTranslation(Letters("a", "b", notes=("one was cut",)), Letters("b", "a", notes=("two were",)))
    assert view.notes == ["there: one was cut", "back: two were"]


def test_distinct_texts_keep_their_order():
    assert distinct(["b ", "a", "b", "", "  ", "a"]) == ["b", "a"]
