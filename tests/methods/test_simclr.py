from __future__ import annotations

import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch.nn import functional as F

from tests import oracles
from tests.methods.batches import make_batch
from textcl.encoder.forward import forward_rows
from textcl.encoder.heads import Projector
from textcl.encoder.load import load_encoder, save_encoder
from textcl.losses import InfoNCE
from textcl.methods import SimCLR


@pytest.fixture
def pairs(tiny_corpus):
    return tiny_corpus[:5], tiny_corpus[5:10]


@pytest.fixture
def projector():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Projector(32, 16, 8)


def embedded_views(encoder, batch):
    return forward_rows(encoder, batch.tokens).detach().chunk(2)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_loss_is_info_nce_of_the_embedded_views(tiny_encoder, pairs, symmetric):
    batch = make_batch(tiny_encoder, *pairs)
    loss = InfoNCE(0.05, symmetric=symmetric)
    assert SimCLR(tiny_encoder, loss)(batch).loss.item() == loss(*embedded_views(tiny_encoder, batch)).item()


def test_rows_that_share_a_label_are_no_negatives_of_each_other(tiny_encoder, pairs):
    groups = [[0, 7], [1, 8], [2, 0], [3, 9], [4, 8]]  # rows 0 and 2 across columns, 1 and 4 in one
    batch = make_batch(tiny_encoder, *pairs, groups)
    same = [[oracles.share_a_label(first, second) for second in groups] for first in groups]
    output = SimCLR(tiny_encoder, InfoNCE(0.1))(batch)
    anchors, positives = (side.double().tolist() for side in embedded_views(tiny_encoder, batch))
    assert output.loss.item() == pytest.approx(oracles.info_nce(anchors, positives, 0.1, same=same), rel=1e-5)
    assert output.loss.item() != pytest.approx(oracles.info_nce(anchors, positives, 0.1), rel=1e-3)
    assert output.diagnostics["masked_fraction"].item() == pytest.approx(4 / 20)


def test_diagnostics_are_the_mean_cosines_of_pairs_and_of_negatives(tiny_encoder, pairs):
    batch = make_batch(tiny_encoder, *pairs)
    output = SimCLR(tiny_encoder, InfoNCE())(batch)
    anchors, positives = (side.tolist() for side in embedded_views(tiny_encoder, batch))
    own = [oracles.cosine(anchors[row], positives[row]) for row in range(5)]
    other = [oracles.cosine(anchors[i], positives[j]) for i in range(5) for j in range(5) if i != j]
    assert output.diagnostics["positive_cosine"].item() == pytest.approx(sum(own) / 5, rel=1e-5)
    assert output.diagnostics["negative_cosine"].item() == pytest.approx(sum(other) / 20, rel=1e-5)
    assert output.diagnostics["masked_fraction"].item() == 0
    assert not any(value.requires_grad for value in output.diagnostics.values())


def test_a_batch_without_negatives_has_diagnostics_all_the_same(tiny_encoder, pairs):
    output = SimCLR(tiny_encoder, InfoNCE())(make_batch(tiny_encoder, *pairs, [[0]] * 5))
    assert output.loss.item() == 0
    assert output.diagnostics["negative_cosine"].item() == 0
    assert output.diagnostics["masked_fraction"].item() == 1


def test_the_loss_sees_the_projector_s_output(tiny_encoder, pairs, projector):
    batch = make_batch(tiny_encoder, *pairs)
    method, loss = SimCLR(tiny_encoder, InfoNCE(), projector), InfoNCE()
    first, second = (projector(side) for side in embedded_views(tiny_encoder, batch))
    assert first.shape == (5, 8)
    assert method(batch).loss.item() == pytest.approx(loss(first, second).item(), rel=1e-5)
    assert method(batch).loss.item() != pytest.approx(SimCLR(tiny_encoder, loss)(batch).loss.item(), rel=1e-3)


def test_the_gradient_reaches_encoder_and_projector(tiny_encoder, pairs, projector):
    method = SimCLR(tiny_encoder, InfoNCE(), projector)
    method(make_batch(tiny_encoder, *pairs)).loss.backward()
    unused = {name for name, parameter in method.named_parameters() if parameter.grad is None}
    assert all("pooler" in name for name in unused)
    assert all(parameter.grad.abs().sum() > 0 for parameter in projector.parameters())


def test_the_state_holds_the_whole_run(tiny_model_folder, tiny_encoder, pairs, projector):
    method = SimCLR(tiny_encoder, InfoNCE(), projector)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.01)
    other = SimCLR(load_encoder(tiny_model_folder), InfoNCE(), Projector(32, 16, 8))
    batch = make_batch(tiny_encoder, *pairs)
    assert other(batch).loss.item() != method(batch).loss.item()
    other.load_state_dict(method.state_dict())
    assert other(batch).loss.item() == method(batch).loss.item()


def test_an_encoder_trained_one_step_opens_elsewhere_without_its_projector(tiny_encoder, pairs, projector, tmp_path):
    method = SimCLR(tiny_encoder, InfoNCE(), projector)
    before = tiny_encoder.encode(pairs[0])
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-2)
    method(make_batch(tiny_encoder, *pairs)).loss.backward()
    optimizer.step()
    (tmp_path / "model").mkdir()
    save_encoder(method.encoder, tmp_path / "model")
    stock = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert abs(stock.encode(pairs[0]) - before).max() > 1e-3
    assert abs(stock.encode(pairs[0]) - tiny_encoder.encode(pairs[0])).max() < 1e-6
    trained = F.normalize(forward_rows(tiny_encoder, make_batch(tiny_encoder, *pairs).tokens), dim=-1)[:5].detach()
    assert abs(stock.encode(pairs[0], normalize_embeddings=True) - trained.numpy()).max() < 1e-6
    assert stock.state_dict().keys() == tiny_encoder.state_dict().keys()


def test_same_side_negatives_are_the_nt_xent_of_the_paper(tiny_encoder, pairs):
    batch = make_batch(tiny_encoder, *pairs)
    rows = torch.cat(embedded_views(tiny_encoder, batch)).double().tolist()
    total = 0.0
    for i, row in enumerate(rows):  # Eq. 1: every other row of the 2B is a candidate
        partner = (i + 5) % 10
        others = [other for k, other in enumerate(rows) if k not in (i, partner)]
        total += oracles.info_nce([row], [rows[partner]], 0.1, negatives=others)
    method = SimCLR(tiny_encoder, InfoNCE(0.1, symmetric=True, same_side=True))
    assert method(batch).loss.item() == pytest.approx(total / 10, rel=1e-4)
