"""Every method, small, as a recipe's `method` section makes it."""

from __future__ import annotations

import json

import torch

from textcl.assemble.methods import make_method
from textcl.encoder.load import load_encoder
from textcl.recipe.reading import read_recipe

_HEAD = {"hidden": 24, "out": 16}
SMALL = {
    "simclr": {"projector": _HEAD},
    "simcse": {},
    "pairs": {},
    "siglip": {"bias": -2.0},
    "moco": {"queue_size": 20, "momentum": 0.9, "projector": _HEAD},
    "byol": {"momentum": 0.9, "projector": {**_HEAD, "norm": "batch"}, "predictor": {"hidden": 24}},
    "simsiam": {
        "projector": {**_HEAD, "layers": 3, "norm": "batch", "norm_out": True},
        "predictor": {"hidden": 8},
    },
    "barlow_twins": {"projector": {**_HEAD, "norm": "batch"}},
    "vicreg": {"projector": {**_HEAD, "norm": "batch"}},
}
VARIANTS = {
    "moco_symmetric": ("moco", {"symmetric": True}),
    "late_regularisers": (
        "moco",
        {"uniformity": {"weight": 0.1}, "distillation": {"weight": 0.5}},
    ),
    "learned_temperature": ("simclr", {"temperature": {"learned": 0.1}}),
    "matryoshka": ("pairs", {"matryoshka": {"dimensions": [8, 32]}}),
    "distilled": ("pairs", {"distillation": {"weight": 0.5}, "uniformity": {"weight": 0.1}}),
}
EVERY = [*SMALL, *VARIANTS]


def section(name, **more):
    """The `method` section of a method or variant, as plain values."""
    name, added = VARIANTS.get(name, (name, {}))
    return {"name": name, **SMALL[name], **added, **more}


def new_method(name, encoder, labels=1, guide_width=0, **more):
    """A method around an encoder; its heads always start alike."""
    recipe = read_recipe("data: {train: none.txt}", {"method": section(name, **more)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make_method(recipe.method, encoder, labels, guide_width)


def fresh_method(name, folder, labels=1, dropout=0.1, **more):
    """The same around a fresh copy of an encoder."""
    return new_method(name, load_encoder(folder, dropout=dropout), labels, **more)


def as_set(name, **more):
    """The words of the command line that set a recipe's method."""
    return ["--set", f"method={json.dumps(section(name, **more))}"]
