from __future__ import annotations

import json

import pytest
import torch
from torch.testing import assert_close

from tests.launch import run_together
from tests.training.one_of_several import METHODS, WAYS, WITHOUT_NEGATIVES

pytestmark = pytest.mark.slow
CLOSE = {"rtol": 1e-8, "atol": 1e-10}  # in double precision; the sums are taken in another order
SCENARIOS = [f"{name} {way}" for name in METHODS for way in WAYS]
ROWS = {"step": [6, 3, 3], "step of seven": [7, 3, 4]}
"""Rows of the one process, and of each of two."""


@pytest.fixture(scope="module")
def results(tiny_model_folder, tiny_corpus, tmp_path_factory):
    """What one process with 6 pairs a batch found, and what each of two with 3 pairs found."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "texts.json").write_text(json.dumps(tiny_corpus[:50]))
    found = []
    for processes, batch_size in ((1, 6), (2, 3)):
        out = folder / str(processes)
        out.mkdir()
        command = ["-m", "tests.training.one_of_several", tiny_model_folder, folder / "texts.json", out, batch_size]
        run_together(processes, [str(word) for word in command])
        found.append([torch.load(out / f"rank-{rank}.pt") for rank in range(processes)])
    return found


def test_two_processes_really_ran(results):
    (alone,), both = results
    assert alone["processes"] == 1
    assert [one["processes"] for one in both] == [2, 2]


@pytest.mark.parametrize("step", ["step", "step of seven"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_step_of_two_processes_is_that_of_one(results, scenario, step):
    (alone,), both = results
    expected = alone[f"{scenario} {step}"]
    assert [expected["rows"], *(rank[f"{scenario} {step}"]["rows"] for rank in both)] == ROWS[step]
    assert max(one.abs().max() for one in expected["gradients"].values()) > 1e-3
    for rank in both:
        found = rank[f"{scenario} {step}"]
        assert_close(found["loss"], expected["loss"], **CLOSE)
        assert_close(found["diagnostics"], expected["diagnostics"], rtol=1e-5, atol=1e-6)
        assert_close(found["gradients"], expected["gradients"], **CLOSE)
        assert_close(found["state"], expected["state"], **CLOSE)


@pytest.mark.parametrize("run", [*(f"{scenario} run" for scenario in SCENARIOS), "moco run of seven"])
def test_a_run_of_two_processes_is_that_of_one(results, run):
    (alone,), (first, second) = results
    expected = alone[run]
    for rank in (first, second):
        assert_close(rank[run]["state"], expected["state"], **CLOSE)
    written, wanted = first[run]["journal"], expected["journal"]
    assert [(line["step"], line["name"]) for line in written] == [(line["step"], line["name"]) for line in wanted]
    for line, other in zip(written, wanted, strict=True):
        assert line["value"] == pytest.approx(other["value"], rel=1e-5, abs=1e-6), line["name"]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WITHOUT_NEGATIVES])
def test_the_guide_takes_some_candidates_of_seven_rows_for_the_same(results, name):
    (alone,), _both = results
    shares = alone[f"{name} plain step of seven"]["diagnostics"]
    assert 0 < shares["masked_similarity_fraction"] < 0.8  # neither nothing nor nearly all
    assert shares["masked_text_fraction"] < 0.2


@pytest.mark.parametrize("way", ["cached", "uneven"])
@pytest.mark.parametrize("name", METHODS)
def test_the_cache_changes_nothing_on_two_processes(results, name, way):
    _alone, (first, _second) = results
    for step in ROWS:
        assert_close(first[f"{name} {way} {step}"]["gradients"], first[f"{name} plain {step}"]["gradients"], **CLOSE)
    assert_close(first[f"{name} {way} run"]["state"], first[f"{name} plain run"]["state"], **CLOSE)


@pytest.mark.parametrize("name", METHODS)
def test_processes_can_have_different_numbers_of_chunks(results, name):
    _alone, (first, second) = results
    # The first has one chunk, run twice for the hooks' sake; the second one a row, of which it runs the last once.
    assert first[f"{name} uneven step"]["chunks"] == [0, 0]
    rows = 3 if name in ("moco", "late_regularisers") else 6
    assert second[f"{name} uneven step"]["chunks"] == [*range(rows), *range(rows - 1)]


def test_each_process_drops_other_units(results):
    _alone, (first, second) = results
    assert len(first["seeds"]) == len(second["seeds"]) == 3 * 3  # steps, forwards of two chunks
    assert not set(first["seeds"]) & set(second["seeds"])


@pytest.mark.parametrize(("name", "copy"), [("byol", "target"), ("moco", "momentum_encoder")])
def test_the_momentum_encoder_is_not_the_online_one(results, name, copy):
    (alone,), _both = results
    state = alone[f"{name} plain step"]["state"]
    names = [key for key in state if key.startswith(f"{copy}.encoder.") and state[key].is_floating_point()]
    assert len(names) > 20
    assert any(not torch.equal(state[key], state[key.removeprefix(f"{copy}.")]) for key in names)


def test_the_queue_is_the_same_on_all_processes(results):
    _alone, (first, second) = results
    states = [rank["moco cached run"]["state"] for rank in (first, second)]
    assert states[0]["queue.pushed"] == 3 * 2 * 6  # steps, batches, pairs
    for name in ("queue.keys", "queue.groups", "queue.steps"):
        assert torch.equal(states[0][name], states[1][name])
