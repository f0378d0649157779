from __future__ import annotations

import pytest
import torch

from tests import oracles
from tests.methods.batches import lists, make_batch, sides_of
from textcl.encoder.load import load_encoder, save_encoder
from textcl.losses import InfoNCE
from textcl.methods import SimCSE

T = 0.1


def by_hand(layers, rows):
    """A linear layer with tanh."""
    return torch.tanh(rows @ layers[0].weight.T + layers[0].bias)


@pytest.mark.parametrize("head", [True, False])
def test_the_loss_is_one_way_info_nce_behind_a_linear_layer_with_tanh(tiny_encoder, tiny_corpus, head):
    method = SimCSE(tiny_encoder, InfoNCE(T), head).double()
    batch = make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10])
    sides = sides_of(tiny_encoder, batch)
    if head:
        sides = [by_hand(method.head, side) for side in sides]
    assert method(batch).loss.item() == pytest.approx(oracles.info_nce(*map(lists, sides), T), rel=1e-9)


def test_a_head_is_the_default_and_as_wide_as_the_encoder(tiny_encoder):
    method = SimCSE(tiny_encoder, InfoNCE(T))
    assert [tuple(parameter.shape) for parameter in method.head.parameters()] == [(32, 32), (32,)]
    assert SimCSE(tiny_encoder, InfoNCE(T), head=False).head is None


def test_the_hard_negatives_of_all_rows_are_candidates_of_each(tiny_encoder, tiny_corpus):
    batch = make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10], hard=[tiny_corpus[10:15]])
    method = SimCSE(tiny_encoder, InfoNCE(T)).double()
    anchors, positives, hard = (by_hand(method.head, side).tolist() for side in sides_of(tiny_encoder, batch))
    loss = method(batch).loss.item()
    assert loss == pytest.approx(oracles.info_nce(anchors, positives, T, hard), rel=1e-9)
    own = sum(oracles.info_nce([anchors[i]], [positives[i]], T, [hard[i], *positives[:i], *positives[i + 1 :]])
              for i in range(5)) / 5  # fmt: skip
    assert loss > own + 1e-3


def test_dropout_alone_makes_the_second_view(tiny_model_folder, tiny_corpus):
    for rate, equal in ((0.2, False), (0.0, True)):
        method = SimCSE(load_encoder(tiny_model_folder, dropout=rate), InfoNCE(T)).train()
        batch = make_batch(method.encoder, tiny_corpus[:5], tiny_corpus[:5])
        first, second = method.embed(batch.tokens).split(5)
        assert torch.allclose(first, second, atol=1e-6) is equal
        cosine = method(batch).diagnostics["positive_cosine"].item()
        assert (cosine == pytest.approx(1, abs=1e-6)) is equal


def test_the_head_leaves_embeddings_alone_and_is_not_saved(tiny_model_folder, tiny_corpus, tmp_path):
    encoder = load_encoder(tiny_model_folder)
    method = SimCSE(encoder, InfoNCE(T))
    with torch.no_grad():
        method.head[0].weight.add_(1.0)
    plain = load_encoder(tiny_model_folder)
    assert (encoder.encode(tiny_corpus[:4]) == plain.encode(tiny_corpus[:4])).all()
    save_encoder(method.encoder, tmp_path)
    assert load_encoder(tmp_path).state_dict().keys() == plain.state_dict().keys()
