from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.strategies import plain_rows
from textcl.encoder import products
from textcl.encoder.forward import forward_rows
from textcl.encoder.layers import freeze_layers, transformer_of
from textcl.encoder.work import work_of


@pytest.fixture(autouse=True)
def products_that_torch_counts(monkeypatch):
    """The counter knows torch's own operations, and not those of oneDNN."""
    monkeypatch.setattr(products, "has_onednn", lambda: False)


ROWS = ([2, *range(20, 40), 3], [2, *range(20, 50), 3])


def counted(encoder, backward):
    """The operations that torch counts, without the pooler, which no embedding needs."""
    transformer_of(encoder).pooler = None
    rows = plain_rows(*ROWS)
    with FlopCounterMode(display=False) as counter:
        embeddings = forward_rows(encoder, rows)
        if backward:
            embeddings.sum().backward()
    return counter.get_total_flops(), rows.lengths


def test_a_forward_pass_costs_what_torch_counts(tiny_encoder):
    with torch.no_grad():
        flop, lengths = counted(tiny_encoder.train(), backward=False)
    assert work_of(tiny_encoder).forward(lengths) == flop


def test_forward_and_backward_cost_what_torch_counts_but_for_what_no_one_needs(tiny_encoder):
    flop, lengths = counted(tiny_encoder.train(), backward=True)
    assert work_of(tiny_encoder).training(lengths) == flop


def test_frozen_layers_cost_less(tiny_encoder):
    whole = work_of(tiny_encoder)
    freeze_layers(tiny_encoder, 1)
    flop, lengths = counted(tiny_encoder.train(), backward=True)
    frozen = work_of(tiny_encoder)
    assert frozen.forward(lengths) == whole.forward(lengths)
    assert frozen.trained_per_token < whole.trained_per_token
    layers, width = transformer_of(tiny_encoder).config.num_hidden_layers, 32
    frozen_attention = 2 * frozen.attention // layers * np.square(lengths).sum()  # nothing flows back through it
    first_inputs = 2 * 3 * width**2 * lengths.sum()  # nor to what the first trained layer's three projections take
    assert frozen.training(lengths) - frozen_attention - first_inputs == flop
