from __future__ import annotations

import pytest

from textcl.errors import ConfigError
from textcl.views import Fields

RECORDS = {"question": ["how?", "why?"], "answer": ["so", "because"], "topic": ["a", "b"]}


def test_fields_take_one_column_a_side():
    assert Fields("question", "answer")(RECORDS) == (["how?", "why?"], ["so", "because"])


def test_each_side_is_the_column_that_was_named():
    assert Fields("answer", "question")(RECORDS) == (["so", "because"], ["how?", "why?"])
    assert Fields("question", "topic")(RECORDS) == (["how?", "why?"], ["a", "b"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("title", "answer"), r"^anchor: expected one of the columns answer, question, topic, got 'title'$"),
        (("question", "text"), r"^positive: expected one of the columns answer, question, topic, got 'text'$"),
    ],
)
def test_a_column_that_is_not_there_is_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        Fields(*fields)(RECORDS)


def test_a_column_is_no_pair_with_itself():
    with pytest.raises(ConfigError, match=r"^positive: expected another column than the anchor's, got 'text'$"):
        Fields("text", "text")
