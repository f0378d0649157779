from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import textcl

HEAVY = ("torch", "transformers", "sentence_transformers", "accelerate", "datasets", "faiss", "scipy")


def test_every_public_name_resolves_to_what_its_home_defines():
    assert textcl.__all__ == sorted(textcl.__all__)
    assert len(set(textcl.__all__)) == len(textcl.__all__)
    for name in textcl.__all__:
        found = getattr(textcl, name)
        assert found.__name__ == name
        assert found.__module__.startswith("textcl.")
        assert found.__doc__


def test_the_table_of_homes_is_the_list_of_names():
    assert sorted(textcl._HOMES) == textcl.__all__
    for name, home in textcl._HOMES.items():
        assert getattr(importlib.import_module(home), name).__module__ == home


@pytest.mark.parametrize("package", ["losses", "views", "methods", "evaluation", "index", "encoder"])
def test_packages_are_reached_as_attributes(package):
    found = getattr(textcl, package)
    assert found is importlib.import_module(f"textcl.{package}")
    assert all(hasattr(found, name) for name in getattr(found, "__all__", ()))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'textcl' has no attribute 'trian'$"):
        _ = textcl.trian


def loaded_after(statement):
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_textcl_takes_no_torch():
    loaded = loaded_after("import textcl")
    assert "textcl" in loaded
    assert not loaded & set(HEAVY)
    assert "faiss" in loaded_after("import textcl; textcl.Hit")  # shows that the check can fail


def test_the_command_line_shows_its_help_without_torch():
    loaded = loaded_after("from textcl.cli.app import run; run(['train', '--help'])")
    assert "textcl.cli.train" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("package", ["textcl.index.search", "textcl.index.build", "textcl.evaluation.retrieval"])
def test_index_and_evaluation_take_no_torch(package):
    loaded = loaded_after(f"import {package}")
    assert package in loaded
    assert not loaded & {"torch", "transformers", "sentence_transformers", "accelerate"}
