from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from textcl.recipe.models import Recipe, TrainingRecipe
from textcl.recipe.views import ViewsRecipe


def test_a_recipe_needs_nothing_but_its_texts():
    recipe = Recipe.model_validate({"data": {"train": "texts.txt"}})
    assert recipe.seed == 0
    assert recipe.encoder.model == "all-MiniLM-L6-v2"
    assert recipe.views == ViewsRecipe()
    assert (recipe.method.name, recipe.method.temperature, recipe.method.symmetric) == ("pairs", 0.05, True)
    assert recipe.training == TrainingRecipe()
    assert recipe.evaluation is None


def test_a_recipe_cannot_be_changed():
    recipe = Recipe.model_validate({"data": {"train": "texts.txt"}})
    with pytest.raises(ValidationError, match="frozen"):
        recipe.seed = 1


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("data", "limit", "10"),
        ("data", "limit", 2.5),
        ("data", "train", 3),
        ("method", "symmetric", 1),
        ("method", "temperature", "0.05"),
        ("training", "batch_size", True),
        ("training", "epochs", "all"),
    ],
)
def test_nothing_is_converted(section, key, value):
    document = {"data": {"train": "texts.txt"}}
    document[section] = {**document.get(section, {}), key: value}
    with pytest.raises(ValidationError, match=key):
        Recipe.model_validate(document)


def test_a_whole_number_is_a_number():
    assert TrainingRecipe.model_validate({"epochs": 2, "learning_rate": 1}).epochs == 2.0


def test_every_setting_is_described_where_its_name_is_not_enough():
    schema = Recipe.model_json_schema()["$defs"]
    bare = {
        f"{section}.{name}"
        for section in ("TrainingRecipe", "EvaluationRecipe", "ProjectorRecipe")
        for name, facts in schema[section]["properties"].items()
        if not facts.get("description")
    }
    assert bare == set()
    assert json.dumps(schema)


NEGATIVES = {"file": "mined.jsonl"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"negatives": {**NEGATIVES, "margin": 0.1, "first_rank": 10}}, "first_rank, margin: for mining in training"),
        ({"negatives": {**NEGATIVES, "sampling": "random"}}, "sampling: for mining in training"),
        (
            {"training": {"unique_batches": True}, "method": {"name": "pairs", "positives": "group"}},
            "training.unique_batches keeps rows of a group apart",
        ),
    ],
)
def test_settings_that_would_do_nothing_are_refused(more, said):
    data = {"train": "a.jsonl", "columns": {"anchor": "a", "positive": "b"}, "group": "g"}
    with pytest.raises(ValidationError, match=said):
        Recipe.model_validate({"data": data, **more})


@pytest.mark.parametrize("more", [{"per_row": 2}, {"every": 10, "margin": 0.1}, {"margin": None, "first_rank": 1}])
def test_negatives_of_a_file_have_a_number_a_row_and_bounds_where_they_are_mined_again(more):
    data = {"train": "a.jsonl", "columns": {"anchor": "a", "positive": "b"}}
    recipe = Recipe.model_validate({"data": data, "negatives": {**NEGATIVES, **more}})
    assert Recipe.model_validate(recipe.model_dump()) == recipe
