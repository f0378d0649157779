from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.methods.every import EVERY, fresh_method, section
from textcl.assemble.loop import _check_chunks, _trained_sides, make_settings
from textcl.errors import ConfigError
from textcl.recipe.reading import read_recipe


def recipe_of(method, **training):
    return read_recipe("data: {train: none.txt}", {"method": section(method), "training": training})


def sources_of(*sides):
    """Sources whose batches have so many sides."""
    return [SimpleNamespace(draw=lambda rows, epoch, n=n: SimpleNamespace(sides=n)) for n in sides]


@pytest.mark.parametrize("name", EVERY)
def test_a_recipe_tells_how_many_sides_its_method_trains(tiny_model_folder, name):
    method = fresh_method(name, tiny_model_folder)
    for sides in (2, 3, 5):
        assert _trained_sides(recipe_of(name).method, sides) == method.trained_sides(sides)


@pytest.mark.parametrize(
    ("name", "sides", "rows"), [("pairs", (2,), 16), ("pairs", (2, 5, 3), 40), ("moco", (4,), 8), ("simclr", (2,), 16)]
)
def test_a_chunk_is_no_larger_than_the_trained_rows_of_a_batch(name, sides, rows):
    _check_chunks(sources_of(*sides), recipe_of(name, chunk_rows=rows), 8)
    with pytest.raises(ConfigError, match=rf"^training\.chunk_rows: expected at most {rows}, .*, got {rows + 1}$"):
        _check_chunks(sources_of(*sides), recipe_of(name, chunk_rows=rows + 1), 8)


@pytest.mark.parametrize("training", [{}, {"chunk_tokens": 100_000}])
def test_a_budget_of_tokens_can_be_larger_than_a_batch(training):
    _check_chunks([], recipe_of("pairs", **training), 8)  # nothing is drawn for it


@pytest.mark.parametrize("limits", [{"chunk_rows": 5}, {"chunk_tokens": 40}, {}])
def test_the_limits_of_chunks_reach_the_loop(limits):
    settings = make_settings(recipe_of("pairs", **limits), 10)
    assert (settings.chunk_rows, settings.chunk_tokens) == (limits.get("chunk_rows"), limits.get("chunk_tokens"))
