"""The `method` section of a recipe: each key matters, and a wrong one is named."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from tests.methods.batches import make_batch
from tests.methods.every import SMALL, new_method
from textcl.assemble.methods import make_method
from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError
from textcl.losses import Learned
from textcl.recipe.methods import METHODS
from textcl.recipe.reading import read_recipe

HEAD = {"hidden": 24, "out": 16}
BATCH_HEAD = {**HEAD, "norm": "batch"}
# Two settings of each key, beside what SMALL has.
KEYS = {
    "uniformity": ({}, {"uniformity": {"weight": 0.1}}),
    "distillation": ({}, {"distillation": {"weight": 0.5}}),
    "temperature": ({"temperature": 0.05}, {"temperature": 0.2}),
    "decoupled": ({}, {"decoupled": True}),
    "label_smoothing": ({}, {"label_smoothing": 0.1}),
    "hardness": ({}, {"hardness": 0.5}),
    "false_negatives": ({}, {"false_negatives": {"margin": 0.05}}),
    "positives": ({"positives": "own"}, {"positives": "group"}),
    "symmetric": ({"symmetric": False}, {"symmetric": True}),
    "same_side": ({"same_side": False}, {"same_side": True}),
    "head": ({}, {"head": False}),
    "matryoshka": ({"projector": None}, {"projector": None, "matryoshka": {"dimensions": [8]}}),
    "bias": ({}, {"bias": -1.0}),
    "queue_size": ({}, {"queue_size": 2}),
    "momentum": ({}, {"momentum": 0.1}),
    "rise": ({}, {"rise": False}),
    "projector": ({"projector": BATCH_HEAD}, {"projector": {**BATCH_HEAD, "out": 8}}),
    "predictor": ({}, {"predictor": {"hidden": 12}}),
    "stop_gradient": ({}, {"stop_gradient": False}),
    "off_diagonal_weight": ({}, {"off_diagonal_weight": 0.5}),
    "scale": ({}, {"scale": 0.01}),
    "invariance": ({}, {"invariance": 1.0}),
    "variance": ({}, {"variance": 1.0}),
    "covariance": ({}, {"covariance": 20.0}),
}
SPECIAL = {
    ("simcse", "matryoshka"): ({"head": False}, {"head": False, "matryoshka": {"dimensions": [8]}}),
    ("pairs", "matryoshka"): ({}, {"matryoshka": {"dimensions": [8]}}),
    ("siglip", "matryoshka"): ({}, {"matryoshka": {"dimensions": [8]}}),
}
SECTIONS = {name: model for name, model in METHODS.items() if model is not None and "name" in model.model_fields}
NAMED = list(SECTIONS)
EACH_KEY = [(name, key) for name, model in SECTIONS.items() for key in model.model_fields if key != "name"]


def inner(section, first, second):
    """A section with one thing in it that differs."""
    return {section: first}, {section: {**first, **second}}


INNER_KEYS = {
    "projector.hidden": ("simclr", *inner("projector", HEAD, {"hidden": 12})),
    "projector.out": ("simclr", *inner("projector", HEAD, {"out": 8})),
    "projector.layers": ("simclr", *inner("projector", HEAD, {"layers": 3})),
    "projector.norm": ("simclr", *inner("projector", HEAD, {"norm": "none"})),
    "projector.norm_out": ("simclr", *inner("projector", HEAD, {"norm_out": True})),
    "predictor.hidden": ("simsiam", *inner("predictor", {"hidden": 8}, {"hidden": 12})),
    "predictor.layers": ("simsiam", *inner("predictor", {"hidden": 8}, {"layers": 3})),
    "predictor.norm": ("simsiam", *inner("predictor", {"hidden": 8}, {"norm": "none"})),
    "predictor": ("byol", {}, {"predictor": None}),
    "uniformity.weight": ("pairs", *inner("uniformity", {"weight": 0.1}, {"weight": 0.2})),
    "uniformity.t": ("pairs", *inner("uniformity", {"weight": 0.1}, {"t": 1.0})),
    "distillation.weight": ("pairs", *inner("distillation", {"weight": 0.1}, {"weight": 0.2})),
    "distillation.temperature": ("pairs", *inner("distillation", {"weight": 0.1}, {"temperature": 0.5})),
    "matryoshka.dimensions": ("pairs", *inner("matryoshka", {"dimensions": [8, 16]}, {"dimensions": [4, 16]})),
    "matryoshka.weights": ("pairs", *inner("matryoshka", {"dimensions": [8, 16]}, {"weights": [1.0, 2.0]})),
    "false_negatives.above": ("pairs", *inner("false_negatives", {"above": 1.0}, {"above": 0.1})),
    "false_negatives.margin": ("pairs", *inner("false_negatives", {"margin": -1.0}, {"margin": 0.1})),
    "temperature.start": ("pairs", *inner("temperature", {"start": 0.2, "end": 0.1}, {"start": 0.05})),
    "temperature.end": ("pairs", *inner("temperature", {"start": 0.2, "end": 0.1}, {"end": 0.05})),
    "temperature.learned": ("pairs", *inner("temperature", {"learned": 0.2}, {"learned": 0.1})),
    "temperature.least": ("pairs", *inner("temperature", {"learned": 0.2}, {"least": 0.1})),
    "temperature.most": ("pairs", *inner("temperature", {"learned": 0.2}, {"most": 0.5})),
}


@pytest.fixture(scope="module")
def run(tiny_model_folder, tiny_corpus):
    """The losses of two steps of a method, half way through a run, and at the bounds of a learned temperature."""
    encoder = load_encoder(tiny_model_folder, dropout=0.0)
    batches = [
        replace(
            make_batch(encoder, tiny_corpus[first : first + 4], tiny_corpus[first + 4 : first + 8], groups),
            kinds=("text", "group"),
        )
        for first, groups in ((0, [[0, 50], [1, 51], [2, 50], [3, 53]]), (8, [[10, 60], [11, 61], [12, 60], [13, 63]]))
    ]
    known = {}

    def losses(name, options):
        if (name, str(options)) in known:
            return known[name, str(options)]
        method = new_method(name, copy.deepcopy(encoder), labels=2, **options).train()
        optimizer = torch.optim.SGD([one for one in method.parameters() if one.requires_grad], lr=0.05)
        found = []
        for step, batch in enumerate([*batches, batches[0]], start=1):
            method.before_update(0.5)
            optimizer.zero_grad()
            output = method(batch)
            output.loss.backward()
            found.append(output.loss.item())
            optimizer.step()
            method.after_update(step)
        for learned in (module for module in method.modules() if isinstance(module, Learned)):
            for far in (-99.0, 99.0):
                learned.logarithm.data.fill_(far)
                found.append(method(batches[0]).loss.item())
        return known.setdefault((name, str(options)), found)

    return losses


@pytest.mark.parametrize(("name", "key"), EACH_KEY)
def test_each_key_of_each_method_matters(run, name, key):
    first, second = SPECIAL.get((name, key), KEYS[key])
    assert run(name, first) != pytest.approx(run(name, second), rel=1e-4)


@pytest.mark.parametrize("key", INNER_KEYS)
def test_each_key_of_a_section_inside_of_a_method_matters(run, key):
    name, first, second = INNER_KEYS[key]
    assert run(name, first) != pytest.approx(run(name, second), rel=1e-4)


def test_equal_settings_have_equal_losses(run, tiny_model_folder):
    """Shows that the tests above can fail."""
    for name in NAMED:
        assert run(name, {}) == pytest.approx(run(name, dict(SMALL[name])), rel=1e-6)


def problem(encoder, name, **options):
    """The text of the error that a method's settings raise."""
    with pytest.raises(ConfigError) as caught:
        new_method(name, encoder, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "simclr", {"matryoshka": {"dimensions": [8]}},
            "matryoshka: cuts embeddings, but the loss sees what method.projector makes of them; leave that out",
        ),
        (
            "simcse", {"matryoshka": {"dimensions": [8]}},
            "matryoshka: cuts embeddings, but the loss sees what method.head makes of them; leave that out",
        ),
        (
            "moco", {"matryoshka": {"dimensions": [8]}},
            "matryoshka: cuts embeddings, but the loss sees what method.projector makes of them; leave that out",
        ),
        (
            "pairs", {"matryoshka": {"dimensions": [8, 33]}},
            "matryoshka.dimensions: expected at most 32, the encoder's width, got [8, 33]",
        ),
        (
            "siglip", {"matryoshka": {"dimensions": [0]}},
            "matryoshka.dimensions: expected different numbers of at least 1, one or more of them, got (0,)",
        ),
        (
            "pairs", {"matryoshka": {"dimensions": [8], "weights": [1.0, 2.0]}},
            "matryoshka.weights: expected a number above 0 for each of the 1 dimensions, got (1.0, 2.0)",
        ),
        ("pairs", {"temperature": -1.0}, "temperature: expected a number above 0, got -1.0"),
        (
            "pairs", {"temperature": {"start": 0.1, "end": 0.0}},
            "temperature.end: expected a number above 0, got 0.0",
        ),
        (
            "siglip", {"temperature": {"learned": 0.1, "least": 0.0}},
            "temperature.least: expected a number above 0, got 0.0",
        ),
        (
            "pairs", {"temperature": {"learned": 5.0}},
            "temperature.learned: expected a number in [0.01, 1.0], got 5.0",
        ),
        ("moco", {"momentum": 2.0}, "momentum: expected a share in [0, 1], got 2.0"),
        ("moco", {"queue_size": -1}, "queue_size: expected at least 1 row, got -1"),
        ("byol", {"projector": {"hidden": 0, "out": 4}}, "projector.hidden: expected a width of at least 1, got 0"),
        ("simsiam", {"predictor": {"hidden": 0}}, "predictor.hidden: expected a width of at least 1, got 0"),
        ("vicreg", {"uniformity": {"weight": -1.0}}, "uniformity.weight: expected a number of at least 0, got -1.0"),
        ("pairs", {"uniformity": {"weight": 1.0, "t": 0.0}}, "uniformity.t: expected a number above 0, got 0.0"),
        (
            "pairs", {"distillation": {"weight": 1.0, "temperature": 0.0}},
            "distillation.temperature: expected a number above 0, got 0.0",
        ),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(tiny_encoder, name, options, message):
    assert problem(tiny_encoder, name, **options) == message


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"name": "simclr", "temprature": 1}, "method.temprature: unknown key of simclr; did you mean temperature?"),
        (
            {"name": "vicreg", "queue_size": 1},
            "method.queue_size: unknown key of vicreg; the keys are name, uniformity, distillation, invariance, "
            "variance, covariance, projector",
        ),
        ({"name": "mocoo"}, "method.name: unknown name 'mocoo'; did you mean moco?"),
        ({"symetric": True}, "method.symetric: unknown key of pairs; did you mean symmetric?"),
        ({"name": "pairs", "temperature": "hot"}, "method.temperature: expected a number, got 'hot'"),
        (
            {"name": "pairs", "temperature": {"start": 0.1}},
            "method.temperature.end: is missing; put it into the recipe or use --set",
        ),
        (
            {"name": "pairs", "temperature": {"start": 0.1, "end": 1, "ende": 1}},
            "method.temperature.ende: unknown key of scheduled; did you mean end?",
        ),
        (
            {"name": "pairs", "temperature": {"learned": 0.1, "lest": 0.1}},
            "method.temperature.lest: unknown key of learned; did you mean least?",
        ),
        (
            {"name": "byol", "projector": {"hidden": 8, "out": 4, "norms": "batch"}},
            "method.projector.norms: unknown key; did you mean norm?",
        ),
        ({"name": "byol", "rise": 1}, "method.rise: expected true or false, got 1"),
        (
            {"name": "simsiam", "predictor": {"hidden": 8, "norm": "group"}},
            "method.predictor.norm: expected 'layer', 'batch' or 'none', got 'group'",
        ),
        ({"name": "moco", "queue_size": 1.5}, "method.queue_size: expected a whole number, got 1.5"),
    ],
)
def test_a_wrong_section_is_named_with_what_was_meant(method, message):
    with pytest.raises(ConfigError) as caught:
        read_recipe("data: {train: none.txt}", {"method": method})
    assert str(caught.value) == message


@pytest.mark.parametrize("name", NAMED)
def test_each_method_is_made_under_its_name_with_nothing_but_defaults(tiny_encoder, name):
    recipe = read_recipe("data: {train: none.txt}", {"method": {"name": name}}).method
    method = make_method(recipe, tiny_encoder)
    made = {"siglip": "Pairs", "simclr": "SimCLR", "simcse": "SimCSE", "moco": "MoCo", "vicreg": "VICReg"}
    made |= {"pairs": "Pairs", "byol": "BYOL", "simsiam": "SimSiam", "barlow_twins": "BarlowTwins"}
    assert type(method).__name__ == made[name]
    assert method.encoder is tiny_encoder


def test_without_a_name_the_method_is_pairs():
    assert read_recipe("data: {train: none.txt}").method.name == "pairs"
    recipe = read_recipe("data: {train: none.txt}", {"method": {"temperature": 0.1}})
    assert (recipe.method.name, recipe.method.temperature) == ("pairs", 0.1)


def test_moco_s_queue_is_as_wide_as_what_the_loss_sees_and_has_the_labels_of_the_data(tiny_encoder):
    for projector, width in ((None, 32), (HEAD, 16)):
        queue = new_method("moco", copy.deepcopy(tiny_encoder), labels=3, projector=projector).queue
        assert (tuple(queue.keys.shape), tuple(queue.groups.shape)) == ((20, width), (20, 3))
    assert new_method("moco", tiny_encoder, queue_size=0).queue is None
