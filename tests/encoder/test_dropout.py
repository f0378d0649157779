from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from textcl.encoder.dropout import CheapDropout, draw_cheaply, drop_units
from textcl.encoder.load import load_encoder, save_encoder


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_kept_and_so_is_the_expectation(rate):
    torch.manual_seed(3)
    dropped = drop_units(torch.ones(1000, 1001), rate)
    spread = (rate * (1 - rate) / dropped.numel()) ** 0.5
    assert abs((dropped == 0).float().mean().item() - rate) < 4 * spread
    assert dropped.unique().numel() == 2
    assert dropped.max().item() == pytest.approx(1 / (1 - rate), rel=1e-4)


def test_draws_of_neighbours_have_nothing_to_do_with_each_other():
    torch.manual_seed(4)
    kept = (drop_units(torch.ones(400_000), 0.3) != 0).float() - 0.7
    for distance in (1, 2, 3, 4, 8, 64):  # four units share 64 bits
        assert abs((kept[distance:] * kept[:-distance]).mean().item()) < 4 * 0.21 / 400_000**0.5


def test_the_gradient_goes_where_the_units_went():
    torch.manual_seed(5)
    units = torch.randn(7, 11, 3, requires_grad=True)
    dropped = drop_units(units, 0.4)
    weights = torch.randn(7, 11, 3)
    (dropped * weights).sum().backward()
    factor = torch.where(dropped == 0, 0.0, dropped.detach() / units.detach())
    torch.testing.assert_close(units.grad, factor * weights)


def test_all_or_nothing_is_dropped_at_the_ends_of_the_range():
    units = torch.randn(40)
    assert torch.equal(drop_units(units, 0.0), units)
    assert not drop_units(units, 1.0).any()


def test_a_seed_gives_its_draws_again_and_another_one_others():
    def drawn(seed):
        torch.manual_seed(seed)
        return drop_units(torch.ones(300), 0.5)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_units_of_low_precision_keep_it():
    dropped = drop_units(torch.ones(1000, dtype=torch.bfloat16), 0.5)
    assert dropped.dtype == torch.bfloat16
    assert set(dropped.tolist()) == {0.0, 2.0}


def test_evaluation_drops_nothing():
    units = torch.randn(50)
    assert torch.equal(CheapDropout(0.5).eval()(units), units)


def test_an_encoder_draws_cheaply_and_saves_as_before(tiny_model_folder, tmp_path):
    encoder = load_encoder(tiny_model_folder)
    before = copy.deepcopy(encoder)
    draw_cheaply(encoder)
    kinds = [type(module) for module in encoder.modules() if isinstance(module, nn.Dropout)]
    assert set(kinds) == {CheapDropout}
    for name, one in (("before", before), ("after", encoder)):
        (tmp_path / name).mkdir()
        save_encoder(one, tmp_path / name)
    files = {path.relative_to(tmp_path / "after") for path in (tmp_path / "after").rglob("*") if path.is_file()}
    assert files
    for path in files:
        assert (tmp_path / "after" / path).read_bytes() == (tmp_path / "before" / path).read_bytes(), path
