from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.assemble.one_of_two import main
from tests.launch import run_together
from textcl.assemble.processes import check_same_data, check_same_recipe, of_the_first, together
from textcl.errors import DataError
from textcl.recipe.reading import read_recipe


def test_alone_together_is_the_work_itself():
    done = []
    value = object()
    assert together(lambda: done.append(1) or value) is value
    assert done == [1]
    assert together(lambda: None) is None
    assert of_the_first(value) is value
    check_same_recipe(read_recipe("data: {train: a.txt}"))
    check_same_data("abc")


@pytest.mark.parametrize("error", [DataError("is empty", "a.txt"), KeyError("x")])
def test_alone_an_error_of_the_work_is_raised_as_it_is(error):
    def work():
        raise error

    with pytest.raises(type(error)) as raised:
        together(work)
    assert raised.value is error


def test_one_process_agrees_with_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = main()
    assert found["first first"] == ["returned", ""]
    assert found["first fails"] == ["DataError", "a.txt:3: is empty"]
    assert found["well"] == ["returned", 10]
    assert found["of the first"] == ["returned", "run-0"]
    assert found["wrong on 0"] == ["DataError", "a.txt:3: is empty"]
    assert {found[name][0] for name in ("wrong on 1", "same recipe", "other recipe", "other data")} == {"returned"}


@pytest.mark.slow
def test_two_processes_agree_or_both_hear_why_not(tmp_path):
    root = str(Path(__file__).parents[2])
    code = f"import sys; sys.path.insert(0, {root!r}); from tests.assemble.one_of_two import show; show()"
    first, second = (json.loads(output.splitlines()[-1]) for output in run_together(2, ["-c", code], tmp_path))
    assert [first["first first"], second["first first"]] == [["returned", ""], ["returned", "0"]]
    assert [first["first fails"], second["first fails"]] == [first["wrong on 0"], second["wrong on 0"]]
    assert second["second fails"] == ["DataError", "a.txt:3: is empty"]
    assert first["second fails"] == ["TextclError", "process 1: a.txt:3: is empty"]
    assert [first["well"], second["well"]] == [["returned", 10], ["returned", 11]]
    assert [first["well again"], second["well again"]] == [["returned", 20], ["returned", 21]]
    assert first["of the first"] == second["of the first"] == ["returned", "run-0"]
    assert first["wrong on 0"] == ["DataError", "a.txt:3: is empty"]
    assert second["wrong on 0"] == ["TextclError", "process 0: a.txt:3: is empty"]
    faults = ["first: expected a text, got 1", "second: expected a text, got 2"]
    assert second["wrong on 1"] == ["ConfigErrors", "\n".join(faults)]
    assert first["wrong on 1"] == ["TextclError", "\n".join(f"process 1: {line}" for line in faults)]
    assert second["a bug on 1"] == ["KeyError", "'x'"]
    assert first["a bug on 1"] == ["TextclError", "process 1: KeyError: 'x'"]
    for both in (first, second):
        assert both["same recipe"] == both["same data"] == ["returned", None]
        kind, said = both["other recipe"]
        assert kind == "ConfigError"
        seeds = "process 0 has `seed: 0`, process 1 has `seed: 1`"
        assert said == f"recipe: differs between processes: {seeds}; start all with the same"
        said = "data.train: process 1 has read other texts or groups than process 0; give all the same files"
        assert both["other data"] == ["ConfigError", said]
