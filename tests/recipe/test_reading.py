from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcl.errors import ConfigError, ConfigErrors, DataError
from textcl.recipe.models import Recipe
from textcl.recipe.reading import parse_overrides, read_recipe, write_recipe

DATA = "data: {train: texts.txt}\n"


def fault(text, overrides=None):
    """The text of the error that a recipe raises."""
    with pytest.raises(ConfigError) as caught:
        read_recipe(text, overrides)
    return str(caught.value)


def test_defaults_are_filled_in():
    recipe = read_recipe(DATA)
    assert recipe == Recipe.model_validate({"data": {"train": "texts.txt"}})


def test_an_unknown_recipe_key_names_itself_and_its_neighbour():
    found = fault(f"{DATA}method: {{name: simclr, temprature: 0.05}}")
    assert found == "method.temprature: unknown key of simclr; did you mean temperature?"


def test_an_unknown_key_far_from_all_others_lists_them():
    assert fault(f"{DATA}extra: 1") == (
        "extra: unknown key; the keys are "
        "seed, encoder, data, negatives, views, method, training, development, evaluation"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("encoder: {pooling: [mean]}", "encoder.pooling: expected a text, got ['mean']"),
        ("encoder: {dropout: high}", "encoder.dropout: expected a number, got 'high'"),
        ("encoder: {prompts: {querry: x}}", "encoder.prompts.querry: unknown key; did you mean query?"),
        ("views: {mask: 3}", "views.mask: unknown key; the keys are pair, first, second, store, judge"),
        ("views: {first: [{name: msk}]}", "views.first.0.name: unknown name 'msk'; did you mean mask?"),
        ("views: {pair: {}}", "views.pair.name: is missing; it says which one is meant"),
        ("views: {first: [{rate: 1}]}", "views.first.0.name: is missing; it says which one is meant"),
        ("views: {second: [{name: mask, rat: 1}]}", "views.second.0.rat: unknown key; did you mean rate?"),
        ("views: {second: [{name: mask, rate: x}]}", "views.second.0.rate: expected a number, got 'x'"),
        ("views: {second: [{name: dropout, rate: 1}]}", "views.second.0.rate: unknown key; the keys are name"),
        ("views: {first: {name: mask}}", "views.first: expected a list, got {'name': 'mask'}"),
        ("views: {pair: {name: cloze}}", "views.pair.name: expected one of 'inverse_cloze', 'neighbours', got 'cloze'"),
        (
            "method: {name: simclr, projector: {hidden: 8}}",
            "method.projector.out: is missing; put it into the recipe or use --set",
        ),
        ("method: {symmetric: 1}", "method.symmetric: expected true or false, got 1"),
        ("method: simclr", "method: expected a section with keys of its own, got 'simclr'"),
        ("training: {batch_size: 0}", "training.batch_size: expected a number above 0, got 0"),
        ("training: {batch_size: 2.5}", "training.batch_size: expected a whole number, got 2.5"),
        ("training: {warmup_fraction: 2}", "training.warmup_fraction: expected a number of at most 1.0, got 2"),
        ("training: {weight_decay: -1}", "training.weight_decay: expected a number of at least 0.0, got -1"),
        ("training: {epochs: .inf}", "training.epochs: expected a finite number, got inf"),
        ("training: {learning_rate: .nan}", "training.learning_rate: expected a finite number, got nan"),
        ("training: {schedule: x}", "training.schedule: expected 'linear', 'cosine' or 'constant', got 'x'"),
        ("evaluation: {collection: d, measures: []}", "evaluation.measures: expected a list of at least 1, got []"),
        ("evaluation: {collection: d, measures: [1, map]}", "evaluation.measures.0: expected a text, got 1"),
    ],
)
def test_a_wrong_value_names_its_field_what_it_is_and_what_was_expected(text, message):
    assert fault(DATA + text) == message


def test_a_missing_file_of_texts_is_named_with_what_to_do():
    for empty in ("", "data:", "data: {}", "seed: 3"):
        assert fault(empty) == "data.train: is missing; put it into the recipe or use --set"


def test_combinations_that_exclude_each_other_are_refused():
    both = "data: {train: x, column: a, columns: {anchor: a, positive: b}}"
    assert fault(both) == "data: column and columns exclude each other: single texts or pairs"
    found = fault("data: {train: x, columns: {anchor: a, positive: b}}\nviews: {pair: {name: inverse_cloze}}")
    assert found == "recipe: views.pair makes a pair from one text, but data.columns names two: remove one of them"
    found = fault(f"{DATA}evaluation: {{collection: dev/, keep: best}}")
    assert found == "recipe: evaluation.keep is best, so training.evaluate_every must say how often to measure"


def test_all_faults_are_reported_together_one_line_each():
    with pytest.raises(ConfigErrors) as caught:
        read_recipe("sed: 1\nmethod: {temperature: hot}\ntraining: {epochs: 0, worker: 2}")
    assert str(caught.value).splitlines() == [
        "data.train: is missing; put it into the recipe or use --set",
        "method.temperature: expected a number, got 'hot'",
        "training.epochs: expected a number above 0.0, got 0",
        "training.worker: unknown key; did you mean workers?",
        "sed: unknown key; did you mean seed?",
    ]
    assert [error.field for error in caught.value.errors] == [
        "data.train", "method.temperature", "training.epochs", "training.worker", "sed",
    ]  # fmt: skip


@pytest.mark.parametrize("number", ["2e-5", "2E-5", "2.0e-5", "0.00002", "+2e-05"])
def test_a_number_is_a_number_in_every_notation(number):
    assert read_recipe(f"{DATA}training: {{learning_rate: {number}}}").training.learning_rate == 2e-5
    assert parse_overrides([f"training.learning_rate={number}"]) == {"training.learning_rate": 2e-5}


def test_an_exponent_needs_no_sign():
    assert read_recipe(f"{DATA}training: {{epochs: 1e2}}").training.epochs == 100


@pytest.mark.parametrize("word", ["e5", "1e", "texts-2e5.txt", "2e5.txt"])
def test_a_word_with_an_e_stays_a_word(word):
    assert read_recipe(f"data: {{train: {word}}}").data.train == word


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("data: {train: x}\nseed: 1\nseed: 2\n")
    with pytest.raises(DataError) as caught:
        read_recipe(path)
    assert str(caught.value) == f"{path}:3: not a recipe: seed stands twice"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "recipe: not a recipe: expected sections such as `data:` and `training:`"),
        ("a: [", "recipe:1: not a recipe: expected the node content, but found '<stream end>'"),
        (
            "seed: 0\ndata: {train: {{path}}}",
            "recipe:2: not a recipe: a key must be a word; put quotes around a value that starts with { or [",
        ),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_line(text, message):
    with pytest.raises(DataError) as caught:
        read_recipe(text)
    assert str(caught.value) == message


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(DataError) as caught:
        read_recipe(tmp_path / "none.yaml")
    assert str(caught.value) == f"{tmp_path / 'none.yaml'}: no such recipe"


def test_a_recipe_that_is_no_utf8_is_named_in_one_line(tmp_path):
    (tmp_path / "recipe.yaml").write_bytes(b"data: {train: \xff}")
    with pytest.raises(DataError, match=r"recipe\.yaml: cannot be read as a recipe: .*utf-8[^\n]*$"):
        read_recipe(tmp_path / "recipe.yaml")


def test_overrides_stand_over_the_file_and_make_sections():
    overrides = parse_overrides(
        ["data.train=b.txt", "training.batch_size=8", "evaluation.collection=dev/", "encoder.pooling=null", "seed=7"]
    )
    recipe = read_recipe("data: {train: a.txt, limit: 5}\nencoder: {pooling: cls}\nevaluation: null", overrides)
    assert (recipe.data.train, recipe.data.limit, recipe.training.batch_size, recipe.seed) == ("b.txt", 5, 8, 7)
    assert (recipe.encoder.pooling, recipe.evaluation.collection) == (None, "dev/")


def test_an_override_may_hold_a_list_or_a_section():
    overrides = parse_overrides(
        ["views.first=[{name: mask, rate: 0.3}]", "method={name: simclr, projector: {hidden: 8, out: 4}}"]
    )
    recipe = read_recipe(DATA, overrides)
    assert (recipe.views.first[0].name, recipe.views.first[0].rate) == ("mask", 0.3)
    assert (recipe.method.projector.hidden, recipe.method.projector.out) == (8, 4)


def test_an_override_of_an_unknown_key_is_refused():
    assert fault(DATA, {"training.batchsize": 8}) == "training.batchsize: unknown key; did you mean batch_size?"


def test_a_value_may_hold_an_equals_sign():
    assert parse_overrides(["data.train=a=b.txt"]) == {"data.train": "a=b.txt"}


@pytest.mark.parametrize("pair", ["seed", "=3", ""])
def test_an_override_without_a_key_or_a_value_is_refused(pair):
    with pytest.raises(ConfigError) as caught:
        parse_overrides([pair])
    assert str(caught.value) == f"set: expected key=value, such as training.batch_size=32, got {pair!r}"


def test_an_override_that_is_no_yaml_is_refused():
    with pytest.raises(ConfigError) as caught:
        parse_overrides(["training.epochs=[1"])
    assert str(caught.value) == "training.epochs: expected a YAML value, got '[1'"


def test_the_resolved_recipe_reads_back_equal_with_every_default_written_out():
    recipe = read_recipe(
        "data: {train: 'ä: b.txt', columns: {anchor: q, positive: a}, group: topic}\n"
        "views: {second: [{name: crop}, {name: mask, rate: 0.3}, {name: dropout}]}\n"
        "method: {name: simclr, projector: {hidden: 8, out: 4}}\n"
        "training: {evaluate_every: 50}\n"
        "evaluation: {collection: dev/, measures: [mrr@10], keep: best}"
    )
    written = write_recipe(recipe)
    assert read_recipe(written) == recipe
    assert "learning_rate: 2.0e-05" in written
    assert "max_fraction: 0.5" in written
    assert "ä: b.txt" in written


@given(
    st.builds(
        lambda seed, rate, epochs, limit, model: {
            "seed": seed,
            "encoder": {"model": model},
            "data": {"train": model, "limit": limit},
            "training": {"learning_rate": rate, "epochs": epochs},
        },
        seed=st.integers(0, 2**63),
        rate=st.floats(1e-300, 1e300),
        epochs=st.floats(1e-9, 1e9),
        limit=st.none() | st.integers(1, 10**12),
        model=st.text(min_size=1).filter(lambda text: text.isprintable()),
    )
)
def test_any_recipe_survives_being_written(document):
    recipe = Recipe.model_validate(document)
    assert read_recipe(write_recipe(recipe)) == recipe
