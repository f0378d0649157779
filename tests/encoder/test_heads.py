from __future__ import annotations

import pytest
import torch

from textcl.encoder.heads import Projector
from textcl.errors import ConfigError


def test_a_projector_maps_rows_to_its_width():
    assert Projector(6, 5, 4)(torch.randn(3, 6)).shape == (3, 4)


def test_a_row_s_projection_does_not_depend_on_the_other_rows():
    projector, rows = Projector(6, 5, 4).train(), torch.randn(7, 6, dtype=torch.float32)
    alone = torch.cat([projector(row[None]) for row in rows])
    assert torch.allclose(projector(rows), alone, atol=1e-6)


def test_a_projector_is_linear_layer_norm_relu_linear():
    projector, rows = Projector(6, 5, 4), torch.randn(3, 6)
    first, _norm, _relu, last = projector.layers
    hidden = rows @ first.weight.T + first.bias
    scaled = (hidden - hidden.mean(-1, keepdim=True)) / (hidden.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    assert torch.allclose(projector(rows), scaled.clamp(min=0) @ last.weight.T + last.bias, atol=1e-5)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ((6, 0, 4), r"^hidden: expected a width of at least 1, got 0$"),
        ((6, 5, -1), r"^out: expected a width of at least 1, got -1$"),
    ],
)
def test_a_width_below_one_is_refused(widths, message):
    with pytest.raises(ConfigError, match=message):
        Projector(*widths)


def projected(rows, **options):
    """What a projector with the same random weights makes of rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Projector(6, 5, 4, **options)(rows).detach()


def scaled(rows, dim):
    """Rows with mean 0 and variance 1 along a dimension."""
    return (rows - rows.mean(dim, keepdim=True)) / (rows.var(dim, keepdim=True, correction=0) + 1e-5).sqrt()


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_layers_are_linear_layers_with_a_norm_and_relu_between(layers):
    names = [type(module).__name__ for module in Projector(6, 5, 4, layers=layers).layers]
    assert names == ["Linear", "LayerNorm", "ReLU"] * (layers - 1) + ["Linear"]
    assert Projector(6, 5, 4, layers=layers)(torch.randn(3, 6)).shape == (3, 4)


def test_each_option_makes_other_projections():
    rows = torch.randn(3, 6)
    options = [{}, {"layers": 1}, {"layers": 3}, {"norm": "batch"}, {"norm": "none"}]
    options += [{"norm_out": True}, {"norm": "batch", "norm_out": True}]
    found = [projected(rows, **each) for each in options]
    assert all(not torch.allclose(one, other) for place, one in enumerate(found) for other in found[:place])


@pytest.mark.parametrize(("norm", "dim"), [("layer", 1), ("batch", 0)])
def test_the_norm_behind_the_last_layer_has_neither_scale_nor_shift(norm, dim):
    rows = torch.randn(7, 6)
    assert torch.allclose(projected(rows, norm=norm, norm_out=True), scaled(projected(rows, norm=norm), dim), atol=1e-5)
    last = Projector(6, 5, 4, norm=norm, norm_out=True).layers[-1]
    assert not list(last.parameters())


def test_without_a_norm_there_is_none_behind_the_last_layer_either():
    rows = torch.randn(3, 6)
    assert torch.equal(projected(rows, norm="none", norm_out=True), projected(rows, norm="none"))


def test_a_projector_with_batch_norm_scales_each_dimension_over_the_rows():
    projector, rows = Projector(6, 5, 4, norm="batch"), torch.randn(7, 6)
    first, norm, _relu, last = projector.layers
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    hidden = (scaled(rows @ first.weight.T + first.bias, 0) * norm.weight + norm.bias).clamp(min=0)
    assert torch.allclose(projector(rows), hidden @ last.weight.T + last.bias, atol=1e-5)


def test_batch_norm_keeps_no_running_statistics_and_does_the_same_in_every_mode():
    projector, rows = Projector(6, 5, 4, norm="batch", norm_out=True), torch.randn(7, 6)
    assert not list(projector.buffers())
    assert torch.equal(projector.train()(rows), projector.eval()(rows))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "group"}, "norm: expected one of layer, batch, none, got 'group'"),
        ({"layers": 0}, "layers: expected at least 1 layer, got 0"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with pytest.raises(ConfigError) as caught:
        Projector(6, 5, 4, **options)
    assert str(caught.value) == message
