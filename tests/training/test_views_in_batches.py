"""All kinds of views together, from a recipe to batches: stored, text and token views, with ids mapped from files."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.small_data import write_lines
from tests.views.test_apertium import installed
from textcl.assemble.auditing import build_recipe_views
from textcl.assemble.components import make_components
from textcl.assemble.sources import make_source
from textcl.assemble.texts import held, read_training_texts
from textcl.corpus.token_files import MappedRows
from textcl.progress import quiet
from textcl.recipe.reading import read_recipe
from textcl.training.batches import Batches

TOKEN_VIEWS = [
    {"name": "mask", "rate": 0.5},
    {"name": "mask", "rate": 0.5, "random_fraction": 0.1, "kept_fraction": 0.1, "whole_words": True},
    {"name": "span_mask", "rate": 0.4},
    {"name": "replace", "rate": 0.5},
    {"name": "cutoff", "rate": 0.4},
    {"name": "delete", "rate": 0.4},
    {"name": "shuffle"},
    {"name": "repeat", "max_fraction": 0.6},
    {"name": "crop"},
]
TEXT_VIEWS = [
    {"name": "word_delete", "rate": 0.4},
    {"name": "word_order"},
    {"name": "typos", "rate": 0.2},
    {"name": "letter_case"},
    {"name": "keywords"},
]
BACK_TRANSLATION = {
    "name": "back_translate",
    "translator": {"name": "apertium"},
    "min_similarity": 0.97,
    "otherwise": [{"name": "word_delete", "rate": 0.5}, {"name": "delete", "rate": 0.5}],
}


def recipe_of(folder, model, texts, first=(), second=(), **more):
    """A recipe of single texts with its store in `folder`."""
    write_lines(folder / "texts.txt", texts)
    sections = {
        "encoder": {"model": str(model), "max_tokens": 24, "dropout": 0.1},
        "data": {"train": str(folder / "texts.txt")},
        "views": {"first": list(first), "second": list(second), "store": str(folder / "store"), **more},
    }
    return read_recipe(json.dumps(sections))


def source_of(recipe):
    parts = make_components(recipe, "cpu")
    source, _longer, notes = make_source(held(read_training_texts(recipe.data, quiet)[0]), parts, recipe, quiet)
    return source, notes


def everything(folder, model, texts):
    """A recipe with every view, whose store is built."""
    first = [
        {"name": "choice", "of": [*TEXT_VIEWS, {"name": "dropout"}]},
        {"name": "chain", "of": [{"name": "choice", "of": TOKEN_VIEWS, "weights": list(range(1, 10))}]},
        {"name": "delete", "rate": {"start": 0.0, "end": 0.9}},
    ]
    second = [{"name": "choice", "of": [BACK_TRANSLATION, {"name": "mask"}]}, {"name": "shuffle", "whole_words": True}]
    recipe = recipe_of(folder, model, texts, first, second)
    build_recipe_views(recipe)
    return recipe


def as_bytes(batch):
    tokens = batch.tokens
    return [array.tobytes() for array in (tokens.ids, tokens.offsets, tokens.marks, batch.rows, batch.groups)]


# PyTorch advises against more workers than cores; that the batches stay the same is the point here.
@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes:UserWarning")
@installed
def test_batches_are_the_same_bytes_for_no_one_and_four_workers_and_from_any_step_on(
    tiny_model_folder, tiny_corpus, tmp_path
):
    source, notes = source_of(everything(tmp_path, tiny_model_folder, tiny_corpus))
    batches = Batches(source, 8, length=20)

    def loaded(workers, start=0):
        return [
            as_bytes(batch)
            for batch in DataLoader(batches, sampler=range(start, 20), batch_size=None, num_workers=workers)
        ]

    alone = loaded(0)
    assert loaded(1) == alone
    assert loaded(4) == alone
    assert loaded(1, start=7) == alone[7:]
    assert len({tuple(batch) for batch in alone}) == 20
    assert len(notes) == 1
    assert "fall back to word_delete and delete" in notes[0]


@installed
def test_tokens_are_mapped_from_files_and_go_to_another_process_as_their_place(
    tiny_model_folder, tiny_corpus, tmp_path
):
    source, _notes = source_of(everything(tmp_path, tiny_model_folder, tiny_corpus))
    for side in (source.first, source.second):
        assert isinstance(side.tokens, MappedRows)
        assert isinstance(side.tokens.ids.base, np.memmap)
        assert len(pickle.dumps(side.tokens)) < 1000
    again = pickle.loads(pickle.dumps(source))
    rows = np.arange(20)
    assert as_bytes(again.draw(rows, 3, 0.5)) == as_bytes(source.draw(rows, 3, 0.5))


@installed
def test_a_row_alone_is_seen_as_in_any_batch(tiny_model_folder, tiny_corpus, tmp_path):
    source, _notes = source_of(everything(tmp_path, tiny_model_folder, tiny_corpus))
    rows = np.array([50, 3, 17, 8])
    whole = source.draw_views(rows, epoch=2, progress=0.4)
    for place, row in enumerate(rows):
        alone = source.draw_views(np.array([row]), epoch=2, progress=0.4)
        for side, own in zip(whole, alone, strict=True):
            assert own.row(0).tolist() == side.row(place).tolist()


@installed
def test_a_text_gets_its_stored_view_or_what_the_recipe_says_otherwise(tiny_model_folder, tiny_corpus, tmp_path):
    recipe = recipe_of(tmp_path, tiny_model_folder, tiny_corpus, second=[BACK_TRANSLATION])
    store, (built,) = build_recipe_views(recipe)
    assert (built.place, built.name, built.built.written) == ("views.second.0", "back_translate", 60)
    assert store.exists()
    source, (note,) = source_of(recipe)
    dropped = int(note.split(": ")[1].split(" of ")[0])
    assert 5 < dropped < 55
    assert note.startswith(f"views.second.0 (back_translate): {dropped} of 60 stored views are below min_similarity")
    rows = np.arange(60)
    variants = source.second.tokens.take(np.arange(60, 120 - dropped))
    known = {tuple(variants.row(row).tolist()) for row in range(len(variants))}
    seen = [
        {tuple(views.row(row).tolist()) for views in (source.draw_views(rows, epoch)[1] for epoch in range(4))}
        for row in range(60)
    ]
    from_store = [views <= known for views in seen]
    assert sum(from_store) == 60 - dropped
    # The others are rewritten anew in each epoch.
    assert all(len(views) > 1 for views, stored in zip(seen, from_store, strict=True) if not stored)


@installed
def test_without_a_threshold_every_stored_view_is_used(tiny_model_folder, tiny_corpus, tmp_path):
    view = {"name": "back_translate", "translator": {"name": "apertium"}}
    recipe = recipe_of(tmp_path, tiny_model_folder, tiny_corpus, second=[view])
    build_recipe_views(recipe)
    source, notes = source_of(recipe)
    assert notes == []
    assert len(source.second.tokens) == 120
    assert len(source.first.tokens) == 60
    assert (
        source.draw_views(np.arange(60), 0)[1].ids.tolist()
        == source.second.tokens.take(np.arange(60, 120)).ids.tolist()
    )


SINGLE = [*TOKEN_VIEWS, *TEXT_VIEWS, {"name": "choice", "of": [TEXT_VIEWS[0], TOKEN_VIEWS[0]]}]
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=40).filter(str.strip),
    min_size=4,
    max_size=8,
    unique=True,
)


@pytest.mark.parametrize("view", SINGLE, ids=lambda view: view["name"])
@settings(max_examples=12)
@given(texts=TEXTS, epoch=st.integers(0, 3))
def test_special_tokens_stand_around_every_view_and_its_length_is_within_bounds(
    tiny_model_folder, tmp_path_factory, view, texts, epoch
):
    source, _notes = source_of(recipe_of(tmp_path_factory.mktemp("views"), tiny_model_folder, texts, second=[view]))
    before = source.first.tokens
    batch = source.draw(np.arange(len(texts)), epoch, 0.5)
    count = len(texts)
    for place in range(2 * count):
        row = batch.tokens.row(place).tolist()
        assert row[0] == source.first.prefix[0]
        assert row[-1] == source.first.suffix[-1]
        assert len(row) <= 24
        assert (len(row) > 2) == (before.lengths[place % count] > 0)


@pytest.mark.parametrize(
    ("view", "strength"),
    [
        ("mask", "rate"),
        ("span_mask", "rate"),
        ("replace", "rate"),
        ("cutoff", "rate"),
        ("delete", "rate"),
        ("shuffle", "distance"),
        ("repeat", "max_fraction"),
        ("word_delete", "rate"),
        ("word_order", "distance"),
        ("typos", "rate"),
        ("letter_case", "rate"),
    ],
)
def test_a_strength_of_zero_changes_nothing_and_one_on_a_ramp_does_later(
    tiny_model_folder, tiny_corpus, tmp_path, view, strength
):
    ramp = {"start": 0.0, "end": 0.8, "until": 0.5}
    recipe = recipe_of(tmp_path, tiny_model_folder, tiny_corpus, second=[{"name": view, strength: ramp}])
    source, _notes = source_of(recipe)
    batches = Batches(source, 20, length=11)
    own = source.first.tokens

    def changed(number):
        batch = batches[number]
        texts, views = batch.tokens.take(np.arange(20)), batch.tokens.take(np.arange(20, 40))
        return sum(texts.row(row).tolist() != views.row(row).tolist() for row in range(20))

    assert len(own) == 60
    assert changed(0) == 0
    # The tiny tokenizer lowers letters, so that a letter case is no difference to it.
    assert (changed(10) > 0) == (view != "letter_case")
    assert (
        source.second.draw(np.arange(60), _rng(0.5)).ids.tolist()
        == source.second.draw(np.arange(60), _rng(1)).ids.tolist()
    )


def _rng(progress):
    from textcl.randomness import RowRandom

    return RowRandom((0, 0, "second"), np.arange(60), progress)
