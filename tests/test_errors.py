from __future__ import annotations

from pathlib import Path

import pytest

from textcl.errors import (
    ArtifactError,
    ConfigError,
    ConfigErrors,
    DataError,
    MissingExtraError,
    PromiseError,
    ShapeError,
    TextclError,
)

ERRORS = [
    (ConfigError("rate", -1.0, "a chance in [0, 1)"), "rate: expected a chance in [0, 1), got -1.0"),
    (ConfigError("name", "x", "mask"), "name: expected mask, got 'x'"),
    (ConfigError("out", Path("a/b"), "a folder"), "out: expected a folder, got 'a/b'"),
    (ConfigError("out", problem="stands already; add --force"), "out: stands already; add --force"),
    (DataError("no texts"), "no texts"),
    (DataError("no texts", "a.txt"), "a.txt: no texts"),
    (DataError("not UTF-8", Path("a.txt"), 3), "a.txt:3: not UTF-8"),
    (ShapeError("positive", [2, 3], "(B, D)"), "positive: expected shape (B, D), got (2, 3)"),
    (ArtifactError("an/index", "is damaged"), "an/index: is damaged"),
    (MissingExtraError("the model", "demo"), "the model needs an optional package: pip install 'textcl[demo]'"),
    (PromiseError("the loss is not finite"), "the loss is not finite"),
]


@pytest.mark.parametrize(("error", "text"), ERRORS, ids=lambda value: getattr(value, "__class__", type(value)).__name__)
def test_every_error_is_one_whole_line_and_a_textcl_error(error, text):
    assert str(error) == text
    assert isinstance(error, TextclError)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (ConfigError("a", 1, "2"), ValueError),
        (ShapeError("a", (), "(B,)"), ValueError),
        (MissingExtraError("a", "b"), ImportError),
    ],
)
def test_errors_are_also_what_python_calls_them(error, builtin):
    assert isinstance(error, builtin)


def test_a_section_goes_before_the_field():
    inner = ConfigError("rate", 2, "a chance").within("0").within("views.first")
    assert (inner.field, str(inner)) == ("views.first.0.rate", "views.first.0.rate: expected a chance, got 2")
    assert str(ConfigError("out", problem="exists").within("run")) == "run.out: exists"


def test_several_faults_have_a_line_each_and_keep_their_facts():
    first, second = ConfigError("a", 1, "2"), ConfigError("b", problem="is unknown")
    both = ConfigErrors([first, second])
    assert str(both) == "a: expected 2, got 1\nb: is unknown"
    assert both.errors == (first, second)
    assert isinstance(both, ConfigError)


def test_errors_carry_the_facts_that_they_show():
    data, shape = DataError("bad", "a.txt", 3), ShapeError("x", [1, 2], "(B,)")
    assert (data.problem, data.file, data.line) == ("bad", "a.txt", 3)
    assert (shape.name, shape.shape, shape.expected) == ("x", (1, 2), "(B,)")
    assert ArtifactError("a", "b").path == "a"
    assert MissingExtraError("a", "b").extra == "b"
