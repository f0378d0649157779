from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import oracles
from tests.training.pairs import new_simclr, pair_source
from textcl.losses import InfoNCE
from textcl.methods import SimCLR
from textcl.methods.method import PairBatch, gather_pairs


@pytest.fixture
def method(tiny_model_folder):
    return new_simclr(tiny_model_folder, dropout=0.0, projector=True)


@pytest.fixture
def batch(method, tiny_corpus):
    return pair_source(method.encoder, tiny_corpus[:6]).draw(np.arange(6), epoch=0)


def test_the_loss_is_info_nce_between_the_two_views(method, batch):
    first, second = method.embed(batch.tokens)["projection"].double().chunk(2)
    one_way = oracles.info_nce(first.tolist(), second.tolist(), 0.05)
    other_way = oracles.info_nce(second.tolist(), first.tolist(), 0.05)
    assert method(batch=batch).loss.item() == pytest.approx((one_way + other_way) / 2, rel=1e-4)


def test_rows_that_share_a_label_are_no_negatives(method, batch):
    labels = np.array([[0, 10], [1, 11], [10, 12], [3, 13], [4, 14], [5, 4]])  # rows 0 and 2, and rows 4 and 5
    grouped = PairBatch(batch.tokens, batch.rows, labels)
    first, second = method.embed(batch.tokens)["projection"].double().chunk(2)
    same = [[bool(set(one) & set(other)) for other in labels.tolist()] for one in labels.tolist()]
    expected = [
        oracles.info_nce(one.tolist(), other.tolist(), 0.05, same=same)
        for one, other in ((first, second), (second, first))
    ]
    output = method(batch=grouped)
    assert output.loss.item() == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert output.diagnostics["masked_fraction"].item() == pytest.approx(4 / 30)
    assert output.loss < method(batch=batch).loss


def test_labels_are_compared_across_columns():
    batch = PairBatch(tokens=None, rows=np.arange(3), groups=np.array([[0, 1], [1, 2], [3, 4]]))
    _, _, same = gather_pairs(torch.zeros(6, 2), batch)
    assert same.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_the_three_ways_through_forward_agree(method, batch):
    projections = method(tokens=batch.tokens)
    apart = method(batch=batch, projections=projections).loss
    assert apart.item() == method(batch=batch).loss.item()
    with pytest.raises(TypeError, match="forward needs tokens, or a batch"):
        method()


def test_the_projector_is_what_the_loss_sees_and_stays_out_of_the_encoder(method, batch, tiny_model_folder):
    bare = new_simclr(tiny_model_folder, dropout=0.0)
    assert method.embed(batch.tokens)["projection"].shape == (12, 16)
    assert bare.embed(batch.tokens)["projection"].shape == (12, 32)
    assert method(batch=batch).loss.item() != pytest.approx(bare(batch=batch).loss.item(), rel=1e-3)
    names = set(method.state_dict())
    assert {name for name in names if name.startswith("projector.")}
    assert not any("projector" in name for name in method.encoder.state_dict())


def test_same_side_negatives_are_the_nt_xent_of_the_paper(tiny_model_folder, batch):
    encoder = new_simclr(tiny_model_folder, dropout=0.0).encoder
    method = SimCLR(encoder, InfoNCE(0.1, symmetric=True, same_side=True))
    rows = method.embed(batch.tokens)["projection"].double().tolist()
    total = 0.0
    for i, row in enumerate(rows):  # Eq. 1: every other row of the 2B is a candidate
        partner = (i + 6) % 12
        others = [other for k, other in enumerate(rows) if k not in (i, partner)]
        total += oracles.info_nce([row], [rows[partner]], 0.1, negatives=others)
    assert method(batch=batch).loss.item() == pytest.approx(total / 12, rel=1e-4)
