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
