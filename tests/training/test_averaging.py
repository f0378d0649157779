from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn

from textcl.encoder.layers import freeze_layers
from textcl.errors import ConfigError
from textcl.training.averaging import WeightAverage


def wander(module, seed):
    """Change every parameter, as a step of an optimizer does."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in module.parameters():
            one.add_(torch.randn(one.shape, generator=generator).to(one))


def weights(module):
    return {name: one.detach().clone() for name, one in module.named_parameters()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first) and first.keys() == second.keys()


@pytest.mark.parametrize("decay", [0.0, 0.15, 0.5, 0.999])
def test_the_average_is_that_of_the_definition(decay):
    module = nn.Linear(1, 1, bias=False).double()
    average = WeightAverage(module, decay)
    expected = module.weight.item()
    for step in range(12):
        wander(module, step)
        kept = min(decay, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * module.weight.item()
        average.update()
        with average.applied():
            assert module.weight.item() == pytest.approx(expected, rel=1e-12)


def test_without_decay_the_average_has_the_bits_of_the_newest_weights(tiny_encoder):
    average = WeightAverage(tiny_encoder, 0.0)
    wander(tiny_encoder, 1)
    average.update()
    newest = weights(tiny_encoder)
    wander(tiny_encoder, 2)
    average.apply()
    assert same(weights(tiny_encoder), newest)


def test_the_average_is_there_within_the_block_and_the_own_weights_after_it(tiny_encoder):
    average = WeightAverage(tiny_encoder, 0.9)
    first = weights(tiny_encoder)
    wander(tiny_encoder, 1)
    own, embedding = weights(tiny_encoder), tiny_encoder.encode(["The river"])
    with average.applied():
        assert same(weights(tiny_encoder), first)  # no update yet
        assert abs(tiny_encoder.encode(["The river"]) - embedding).max() > 1e-3
    assert same(weights(tiny_encoder), own)
    average.apply()
    assert same(weights(tiny_encoder), first)


def test_an_error_within_the_block_gives_the_own_weights_back(tiny_encoder):
    average = WeightAverage(tiny_encoder, 0.9)
    wander(tiny_encoder, 1)
    own = weights(tiny_encoder)
    with pytest.raises(KeyError, match="halt"), average.applied():
        raise KeyError("halt")
    assert same(weights(tiny_encoder), own)


def test_applying_does_not_change_the_average_nor_whether_weights_are_trained(tiny_encoder):
    average = WeightAverage(tiny_encoder, 0.9)
    wander(tiny_encoder, 1)
    average.update()
    before = copy.deepcopy(average.state_dict())
    with average.applied():
        wander(tiny_encoder, 2)
    assert same(average.state_dict()["averages"], before["averages"])
    assert average.state_dict()["updates"] == before["updates"] == 1
    assert all(one.requires_grad and one.grad_fn is None for one in tiny_encoder.parameters())


def test_frozen_weights_are_neither_kept_nor_touched(tiny_encoder):
    freeze_layers(tiny_encoder, 1)
    average = WeightAverage(tiny_encoder, 0.9)
    trained = [name for name, one in tiny_encoder.named_parameters() if one.requires_grad]
    assert list(average.state_dict()["averages"]) == trained
    wander(tiny_encoder, 1)
    own = weights(tiny_encoder)
    average.apply()
    changed = [name for name, one in weights(tiny_encoder).items() if not torch.equal(one, own[name])]
    assert changed == trained


def test_an_average_of_half_precision_moves_by_steps_that_half_precision_cannot_hold():
    module = nn.Linear(1, 1, bias=False).bfloat16()
    module.weight.data.fill_(1.0)
    average = WeightAverage(module, 0.999)
    average.updates = 10**6
    module.weight.data.fill_(1.5)
    for _ in range(100):
        average.update()
    assert average.state_dict()["averages"]["weight"].item() == pytest.approx(1.5 - 0.5 * 0.999**100, rel=1e-5)
    average.apply()
    assert module.weight.dtype == torch.bfloat16
    assert module.weight.item() == pytest.approx(1.0476, rel=4e-3)


def test_a_run_goes_on_from_the_state_as_if_it_had_not_stopped(tiny_encoder, tmp_path):
    average = WeightAverage(tiny_encoder, 0.9)
    for step in range(3):
        wander(tiny_encoder, step)
        average.update()
    torch.save(average.state_dict(), tmp_path / "state.pt")
    twin = copy.deepcopy(tiny_encoder)
    resumed = WeightAverage(twin, 0.9)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for encoder, one in ((tiny_encoder, average), (twin, resumed)):
        wander(encoder, 9)
        one.update()
        one.apply()
    assert same(weights(twin), weights(tiny_encoder))


def test_the_state_of_other_parameters_is_refused(tiny_encoder):
    average = WeightAverage(tiny_encoder, 0.9)
    before = copy.deepcopy(average.state_dict())
    for other in (nn.Linear(2, 2), None):
        state = copy.deepcopy(before) if other is None else WeightAverage(other, 0.9).state_dict()
        if other is None:  # a row more would be caught, a table of one row would spread
            name = next(iter(state["averages"]))
            state["averages"][name] = state["averages"][name][:1]
        with pytest.raises(ValueError, match=r"^the averages are of other parameters$"):
            average.load_state_dict(state)
    assert same(average.state_dict()["averages"], before["averages"])


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    message = re.escape(f"decay: expected a share in [0, 1), got {decay}")
    with pytest.raises(ConfigError, match=f"^{message}$"):
        WeightAverage(nn.Linear(1, 1), decay)
