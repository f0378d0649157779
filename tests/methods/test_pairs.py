from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import oracles
from tests.methods.batches import lists, make_batch, shared, sides_of
from textcl.encoder.heads import Projector
from textcl.losses import FalseNegatives, InfoNCE, Sigmoid
from textcl.methods import Pairs, SimCLR
from textcl.methods.masks import Masker
from textcl.methods.method import ABSENT

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


def test_an_absent_hard_negative_is_nobody_s_candidate(tiny_encoder, tiny_corpus):
    texts = [tiny_corpus[4 * number : 4 * number + 4] for number in range(4)]
    negative_groups = [[20, ABSENT], [21, 31], [ABSENT, 32], [20, 10]]
    absent = [[label == ABSENT for column in zip(*negative_groups, strict=True) for label in column]] * 4
    columns = [[label] for column in zip(*negative_groups, strict=True) for label in column]
    met = [[a or b for a, b in zip(*rows, strict=True)] for rows in zip(absent, shared(GROUPS, columns), strict=True)]
    method = Pairs(tiny_encoder.double(), InfoNCE(T))
    batch = make_batch(tiny_encoder, *texts[:2], GROUPS, texts[2:], negative_groups)
    anchors, positives, *hard = sides_of(tiny_encoder, batch)
    masks = {"same": shared(GROUPS, GROUPS), "same_negatives": met}
    output = method(batch)
    expected = oracles.info_nce(lists(anchors), lists(positives), T, lists(*hard), **masks)
    assert output.loss.item() == pytest.approx(expected, rel=1e-9)
    # Each row has 3 others and the 6 hard negatives that are there; two pairs of rows share a label.
    masked = 2 + sum(map(sum, met)) - sum(map(sum, absent))
    assert output.diagnostics["masked_fraction"].item() == pytest.approx(masked / (4 * 3 + 4 * 6))
    texts[2][2], texts[3][0] = "Nothing", "is seen of these."
    other = make_batch(tiny_encoder, *texts[:2], GROUPS, texts[2:], negative_groups)
    assert method(other).loss.item() == pytest.approx(expected, rel=1e-9)


ABOVE, MARGIN = 0.9, 0.05
GUIDE = [[[1.0, 0.0], [0.0, 1.0], [0.95, 0.1], [-1.0, 0.2]],  # rows 0 and 2 are near each other
         [[1.0, 0.1], [0.1, 1.0], [1.0, 0.4], [-1.0, 0.0]],
         [[0.0, -1.0], [1.0, 0.05], [0.0, -1.0], [0.0, -1.0]]]  # fmt: skip


@pytest.mark.parametrize("guide", [GUIDE, None])
def test_candidates_as_good_as_the_positive_are_left_out_by_a_guide_or_by_what_the_loss_sees(
    tiny_encoder, tiny_corpus, guide
):
    texts = [tiny_corpus[4 * number : 4 * number + 4] for number in range(3)]
    batch = make_batch(tiny_encoder, *texts[:2], hard=texts[2:], guide=guide)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = Projector(32, 16, 3).double()
    method = SimCLR(tiny_encoder.double(), InfoNCE(T), head, masker=Masker(FalseNegatives(ABOVE, MARGIN)))
    sides = [lists(side) for side in sides_of(method.encoder, batch, head)]
    judged = sides if guide is None else guide
    masks = {
        "same": oracles.same_rows(*judged[:2], ABOVE, MARGIN),
        "same_negatives": oracles.same_candidates(*judged, ABOVE, MARGIN),
    }
    assert any(map(any, masks["same_negatives"]))
    loss = method(batch).loss.item()
    assert loss == pytest.approx(oracles.info_nce(*sides[:2], T, sides[2], **masks), rel=1e-9)
    assert loss != pytest.approx(oracles.info_nce(*sides[:2], T, sides[2]), rel=1e-3)


@pytest.mark.parametrize("loss", [InfoNCE(T, symmetric=True), Sigmoid(T, bias=-2.0)])
def test_rows_of_one_group_can_be_positives_of_each_other(tiny_encoder, tiny_corpus, loss):
    groups = [[0, 10], [1, 11], [2, 10], [0, 13]]  # rows 0 and 2 are of one group, rows 0 and 3 have one text
    batch = make_batch(tiny_encoder, tiny_corpus[:4], tiny_corpus[4:8], groups, kinds=("text", "group"))
    sides = [lists(side) for side in sides_of(tiny_encoder.double(), batch)]
    further = shared([row[1:] for row in groups], [row[1:] for row in groups])
    settings = (T, -2.0) if isinstance(loss, Sigmoid) else (T,)
    oracle = oracles.sigmoid_loss if isinstance(loss, Sigmoid) else oracles.info_nce
    options = {"same": shared(groups, groups)} | ({} if isinstance(loss, Sigmoid) else {"symmetric": True})
    found = [
        Pairs(tiny_encoder, loss, masker=Masker(group_positives=asked))(batch).loss.item() for asked in (True, False)
    ]
    assert found[0] == pytest.approx(oracle(*sides, *settings, further=further, **options), rel=1e-9)
    assert found[1] == pytest.approx(oracle(*sides, *settings, **options), rel=1e-9)
    assert found[0] != pytest.approx(found[1], rel=1e-6)
