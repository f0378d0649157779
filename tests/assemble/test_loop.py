from __future__ import annotations

import pytest

from tests.methods.every import fresh_method, section
from tests.training.token_sources import hard_source
from textcl.assemble.loop import _check_chunk, make_settings
from textcl.errors import ConfigError
from textcl.recipe.reading import read_recipe


def recipe_of(method, **training):
    return read_recipe("data: {train: none.txt}", {"method": section(method), "training": training})


@pytest.mark.parametrize(
    ("name", "columns", "rows"),
    [
        ("pairs", (0,), 16),
        ("pairs", (0, 3, 1), 40),
        ("moco", (2,), 8),
        ("moco_symmetric", (2,), 16),
        ("byol", (0,), 16),
    ],
)
def test_a_chunk_is_no_larger_than_the_trained_rows_of_a_batch(tiny_model_folder, name, columns, rows):
    method = fresh_method(name, tiny_model_folder)
    sources = [hard_source(columns=count) for count in columns]
    _check_chunk(rows, sources, method, 8)
    with pytest.raises(ConfigError, match=rf"^training\.chunk_rows: expected at most {rows}, .*, got {rows + 1}$"):
        _check_chunk(rows + 1, sources, method, 8)


@pytest.mark.parametrize("limits", [{"chunk_rows": 5}, {"chunk_tokens": 40}, {}])
def test_the_limits_of_chunks_reach_the_loop(limits):
    settings = make_settings(recipe_of("pairs", **limits), 10)
    assert (settings.chunk_rows, settings.chunk_tokens) == (limits.get("chunk_rows"), limits.get("chunk_tokens"))
