from __future__ import annotations

import pytest
import torch
from torch import nn

from textcl.encoder.heads import Projector
from textcl.encoder.layers import freeze_layers
from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError
from textcl.training.optimizer import parameter_groups, set_learning_rate


class EncoderAndHead(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.head = encoder, Projector(encoder.get_embedding_dimension(), 8, 4)


@pytest.fixture
def method(tiny_encoder):
    return EncoderAndHead(tiny_encoder)


def named(method, groups):
    """(weight decay, factor, names) of each group."""
    name_of = {id(one): name for name, one in method.named_parameters()}
    return [(group["weight_decay"], group["factor"], [name_of[id(one)] for one in group["params"]]) for group in groups]


def expected_factor(name, layer_decay, head_rate):
    """The tiny encoder has two layers and a pooler behind them."""
    if name.startswith("head."):
        return head_rate
    layers_above = {"embeddings": 2, "layer.0": 1, "layer.1": 0, "pooler": 0}
    return layer_decay ** next(above for part, above in layers_above.items() if f".{part}." in name)


def test_without_options_there_are_matrices_with_decay_and_the_rest_without_in_the_order_of_the_method(method):
    method.encoder[0].auto_model.pooler.requires_grad_(False)
    trained = [(name, one) for name, one in method.named_parameters() if one.requires_grad]
    assert named(method, parameter_groups(method, 0.3)) == [
        (0.3, 1.0, [name for name, one in trained if one.ndim > 1]),
        (0.0, 1.0, [name for name, one in trained if one.ndim <= 1]),
    ]
    assert not any(
        "pooler" in name for _decay, _factor, names in named(method, parameter_groups(method, 0.3)) for name in names
    )


@pytest.mark.parametrize(("layer_decay", "head_rate"), [(0.8, 1.0), (0.5, 10.0), (1.0, 3.0), (None, 0.25)])
def test_each_parameter_is_in_one_group_with_the_decay_and_factor_of_the_definition(method, layer_decay, head_rate):
    found = {
        name: (decay, factor)
        for decay, factor, names in named(method, parameter_groups(method, 0.1, layer_decay, head_rate))
        for name in names
    }
    assert found == {
        name: (0.1 if one.ndim > 1 else 0.0, expected_factor(name, layer_decay or 1.0, head_rate))
        for name, one in method.named_parameters()
    }
    assert sum(len(group["params"]) for group in parameter_groups(method, 0.1, layer_decay, head_rate)) == len(found)


def test_there_are_two_groups_a_factor_the_highest_first(method):
    groups = parameter_groups(method, 0.1, layer_decay=0.5, head_rate=10)
    assert [group["factor"] for group in groups] == [10, 10, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0] * 4
    assert len(parameter_groups(method, 0.1, layer_decay=1.0)) == 2


def test_an_encoder_without_a_list_of_layers_has_groups_where_rates_do_not_go_by_layer(method):
    method.encoder[0].auto_model.encoder.layer = nn.Sequential(*method.encoder[0].auto_model.encoder.layer)
    assert len(parameter_groups(method, 0.1)) == len(parameter_groups(method, 0.1, layer_decay=1)) == 2
    with pytest.raises(ConfigError, match=r"^model: expected a transformer with one list of layers, got 'BertModel'$"):
        parameter_groups(method, 0.1, layer_decay=0.9)


def test_frozen_parameters_are_in_no_group(method):
    freeze_layers(method.encoder, 1)
    names = [name for _decay, _factor, names in named(method, parameter_groups(method, 0.1, 0.5)) for name in names]
    assert sorted(names) == sorted(name for name, one in method.named_parameters() if one.requires_grad)
    assert not any("layer.0" in name or "embeddings" in name for name in names)


def test_where_everything_is_frozen_there_is_nothing_to_train(method):
    method.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"^encoder: every parameter is frozen, so that nothing is left to train$"):
        parameter_groups(method, 0.1)


def test_a_step_moves_each_parameter_by_its_own_rate(method):
    optimizer = torch.optim.AdamW(parameter_groups(method, 0.0, layer_decay=0.5, head_rate=10), lr=1.0)
    set_learning_rate(optimizer, 1e-3)
    before = {name: one.detach().double() for name, one in method.named_parameters()}
    for one in method.parameters():
        one.grad = torch.ones_like(one)  # for equal gradients AdamW's first step is the learning rate
    optimizer.step()
    for name, one in method.named_parameters():
        moved = (before[name] - one.detach().double()).mean().item()
        assert moved == pytest.approx(1e-3 * expected_factor(name, 0.5, 10), rel=0.01), name


def test_the_rate_is_set_anew_and_not_multiplied_up(method):
    optimizer = torch.optim.AdamW(parameter_groups(method, 0.0, layer_decay=0.5), lr=1.0)
    for rate in (3.0, 2.0):
        set_learning_rate(optimizer, rate)
        assert [group["lr"] for group in optimizer.param_groups] == [rate, rate, rate / 2, rate / 2, rate / 4, rate / 4]


def test_the_state_of_an_optimizer_whose_groups_had_no_factors_is_taken_up(method, tiny_model_folder):
    groups = parameter_groups(method, 0.1)
    old = torch.optim.AdamW([{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups])
    for one in method.parameters():
        one.grad = torch.full_like(one, one.numel())
    old.step()
    other = EncoderAndHead(load_encoder(tiny_model_folder))
    new = torch.optim.AdamW(parameter_groups(other, 0.1))
    new.load_state_dict(old.state_dict())
    for mine, theirs in zip(method.parameters(), other.parameters(), strict=True):
        assert torch.equal(old.state[mine]["exp_avg"], new.state[theirs]["exp_avg"])
    set_learning_rate(new, 0.5)
    assert [group["lr"] for group in new.param_groups] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer_decay": 0.0}, r"^layer_decay: expected a factor in \(0, 1\], got 0\.0$"),
        ({"layer_decay": 1.1}, r"^layer_decay: expected a factor in \(0, 1\], got 1\.1$"),
        ({"layer_decay": float("nan")}, r"^layer_decay: expected a factor in \(0, 1\], got nan$"),
        ({"head_rate": 0.0}, r"^head_rate: expected a number above 0, got 0\.0$"),
        ({"head_rate": float("inf")}, r"^head_rate: expected a number above 0, got inf$"),
    ],
)
def test_a_factor_out_of_range_is_refused(method, settings, message):
    with pytest.raises(ConfigError, match=message):
        parameter_groups(method, 0.1, **settings)
