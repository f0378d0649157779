from __future__ import annotations

import numpy as np
import pytest

from tests import oracles
from tests.methods.batches import lists, make_batch, shared, sides_of
from textcl.losses import InfoNCE, Sigmoid
from textcl.methods import Pairs

T = 0.1
GROUPS = [[0, 10], [1, 11], [2, 10], [3, 13]]  # rows 0 and 2 have one positive
NEGATIVE_GROUPS = [[20, 1], [21, 31], [13, 32], [20, 10]]
# In order: column 0 of all rows, then column 1. Row 3's positive is a hard negative of row 2; the anchor of row 1 is
# one of row 0; the positive of rows 0 and 2 is one of row 3.
MET = [
    [False] * 7 + [True],
    [False] * 4 + [True] + [False] * 3,
    [False] * 7 + [True],
    [False] * 2 + [True] + [False] * 5,
]


@pytest.fixture
def batch(tiny_encoder, tiny_corpus):
    """Four rows with two hard negatives each, some of which are a positive or an anchor of another row."""
    sides = [tiny_corpus[4 * number : 4 * number + 4] for number in range(4)]
    return make_batch(tiny_encoder, *sides[:2], GROUPS, sides[2:], NEGATIVE_GROUPS)


@pytest.fixture
def sides(tiny_encoder, batch):
    anchors, positives, *hard = sides_of(tiny_encoder.double(), batch)
    return lists(anchors), lists(positives), lists(*hard)


@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"symmetric": True, "same_side": True}])
def test_hard_negatives_of_all_rows_are_candidates_of_rows_without_their_label(tiny_encoder, batch, sides, options):
    anchors, positives, hard = sides
    masks = {"same": shared(GROUPS, GROUPS), "same_negatives": MET}
    loss = Pairs(tiny_encoder, InfoNCE(T, **options))(batch).loss.item()
    assert loss == pytest.approx(oracles.info_nce(anchors, positives, T, hard, **masks, **options), rel=1e-9)
    del masks["same_negatives"]
    assert loss != pytest.approx(oracles.info_nce(anchors, positives, T, hard, **masks, **options), rel=1e-3)


def test_with_the_sigmoid_each_pair_is_judged_alone(tiny_encoder, batch, sides):
    anchors, positives, hard = sides
    expected = oracles.sigmoid_loss(anchors, positives, 0.1, -2.0, hard, shared(GROUPS, GROUPS), MET)
    method = Pairs(tiny_encoder, Sigmoid(0.1, bias=-2.0))
    assert method(batch).loss.item() == pytest.approx(expected, rel=1e-9)


def test_pairs_without_hard_negatives_have_the_batch_alone(tiny_encoder, tiny_corpus):
    batch = make_batch(tiny_encoder, tiny_corpus[:4], tiny_corpus[4:8])
    sides = sides_of(tiny_encoder, batch)
    expected = oracles.info_nce(*map(lists, sides), T)
    assert Pairs(tiny_encoder, InfoNCE(T))(batch).loss.item() == pytest.approx(expected, rel=1e-5)


def test_all_sides_of_a_batch_are_trained(tiny_encoder, batch):
    method = Pairs(tiny_encoder, InfoNCE(T))
    assert method.trained_sides(4) == 4
    assert method.trained_tokens(batch) is batch.tokens
    assert (batch.sides, len(batch)) == (4, 4)
    assert batch.tokens_of(1, 3).ids.tolist() == batch.tokens.take(np.arange(4, 12)).ids.tolist()
