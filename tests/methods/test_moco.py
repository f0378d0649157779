from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from tests import oracles
from tests.methods.batches import lists, make_batch, shared, shift, sides_of
from tests.training.pairs import gradients
from textcl.encoder.forward import forward_rows
from textcl.encoder.heads import Projector
from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError, ShapeError
from textcl.losses import FalseNegatives, InfoNCE, Matryoshka
from textcl.methods import MoCo
from textcl.methods.masks import Masker
from textcl.methods.method import ABSENT

T = 0.1


@pytest.fixture
def moco(tiny_model_folder):
    """Makes MoCo in double precision, without dropout, with a momentum encoder that is not the encoder."""

    def make(loss=None, **options):
        options = {"momentum": 0.5, "queue_size": 0, **options}
        method = MoCo(load_encoder(tiny_model_folder, dropout=0.0), loss or InfoNCE(T), **options)
        for moved in (method.encoder, method.projector):
            if moved is not None:
                shift(moved)
        return method.double().train()

    return make


@pytest.fixture
def batch(tiny_encoder, tiny_corpus):
    """Five rows; 1 and 3 share a label."""
    return make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10], [[0], [1], [2], [1], [4]])


@pytest.fixture
def earlier(tiny_encoder, tiny_corpus):
    """Other five, two of which have a label that `batch` has too."""
    return make_batch(tiny_encoder, tiny_corpus[20:25], tiny_corpus[25:30], [[20], [1], [22], [4], [24]])


def seen(method, batch):
    """Queries, and the keys of all sides."""
    encoders = (method.encoder, method.projector), (method.momentum_encoder.encoder, method.momentum_encoder.projector)
    queries, keys = (sides_of(encoder, batch, head) for encoder, head in encoders)
    assert not torch.allclose(queries[0], keys[0], rtol=1e-3)
    return queries, keys


@pytest.mark.parametrize("queue_size", [0, 7])
def test_with_momentum_0_and_no_key_yet_it_is_in_batch_info_nce_against_constants(moco, batch, queue_size):
    method, plain = moco(momentum=0.0, queue_size=queue_size), moco()
    for step in range(2):
        method.after_update(step)  # momentum 0: the keys are the encoder's own embeddings
        output = method.eval()(batch)
        output.loss.backward()
        anchors, positives = forward_rows(plain.encoder, batch.tokens).split(5)
        expected = InfoNCE(T)(anchors, positives.detach(), same=torch.tensor(shared(batch.groups, batch.groups)))
        expected.backward()
        assert_close(output.loss, expected, rtol=1e-9, atol=0)
        found, wanted = gradients(method.encoder), gradients(plain.encoder)
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)
        shift(method.encoder, step)
        shift(plain.encoder, step)


@pytest.mark.parametrize("queue_size", [12, 5, 3])
@pytest.mark.parametrize("projector", [False, True])
def test_the_queue_s_keys_are_negatives_of_rows_without_their_labels(moco, batch, earlier, queue_size, projector):
    head = {"projector": Projector(32, 16, 8), "width": 8} if projector else {}
    method = moco(queue_size=queue_size, **head)
    method(earlier)
    old = seen(method, earlier)[1][1][-queue_size:]
    method.after_update(1)
    queries, keys = seen(method, batch)
    masks = {"same": shared(batch.groups, batch.groups)}
    met = shared(batch.groups, earlier.groups[-queue_size:])
    assert any(map(any, met))
    sides = lists(queries[0]), lists(keys[1]), T
    loss = method(batch).loss.item()
    assert loss == pytest.approx(oracles.info_nce(*sides, lists(old), same_negatives=met, **masks), rel=1e-6)
    assert loss != pytest.approx(oracles.info_nce(*sides, lists(old), **masks), rel=1e-4)
    assert loss != pytest.approx(oracles.info_nce(*sides, **masks), rel=1e-4)


def test_keys_of_hard_negatives_are_candidates_beside_the_queue(moco, tiny_encoder, tiny_corpus, earlier):
    hard = tiny_corpus[10:15], tiny_corpus[15:20]
    negative_groups = [[0, 51], [52, 53], [54, 4], [55, 56], [57, 58]]  # rows 0 and 4 have these labels
    groups = [[number] for number in range(5)]
    batch = make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10], groups, hard, negative_groups)
    method = moco(queue_size=5)
    method(earlier)
    method.after_update(1)
    queries, keys = seen(method, batch)
    columns = [[label] for column in zip(*negative_groups, strict=True) for label in column]
    met = shared(groups, [*columns, *earlier.groups.tolist()])
    assert (met[0][0], met[4][7], met[1][11]) == (True, True, True)
    negatives = lists(*keys[2:], method.queue.tail())
    expected = oracles.info_nce(lists(queries[0]), lists(keys[1]), T, negatives, same_negatives=met)
    assert method(batch).loss.item() == pytest.approx(expected, rel=1e-6)


def test_an_absent_hard_negative_is_nobody_s_candidate(moco, tiny_encoder, tiny_corpus, earlier):
    negative_groups, groups = [[50], [ABSENT], [52], [ABSENT], [54]], [[number] for number in range(5)]
    texts = tiny_corpus[:5], tiny_corpus[5:10]
    batch = make_batch(tiny_encoder, *texts, groups, [tiny_corpus[10:15]], negative_groups)
    method = moco(queue_size=5)
    method(earlier)
    method.after_update(1)
    queries, keys = seen(method, batch)
    met = [[False, True, False, True, False, *row] for row in shared(groups, earlier.groups.tolist())]
    negatives = lists(keys[2], method.queue.tail())
    expected = oracles.info_nce(lists(queries[0]), lists(keys[1]), T, negatives, same_negatives=met)
    assert method(batch).loss.item() == pytest.approx(expected, rel=1e-6)


def guides(seed, sides):
    """A guide's embeddings of five rows: near each other, but for some."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(sides, 5, 3, generator=generator) + 0.5).tolist()


@pytest.mark.parametrize("queue_size", [0, 7])
@pytest.mark.parametrize("guided", [True, False])
def test_candidates_as_good_as_the_positive_are_left_out_in_the_queue_too(
    moco, tiny_encoder, tiny_corpus, guided, queue_size
):
    above, margin = (0.9, 0.1) if guided else (0.995, 0.02)
    vectors = [guides(seed, 2 + seed) if guided else None for seed in (0, 1)]
    earlier = make_batch(tiny_encoder, tiny_corpus[20:25], tiny_corpus[25:30], guide=vectors[0])
    texts, hard = (tiny_corpus[:5], tiny_corpus[5:10]), [tiny_corpus[10:15]]
    batch = make_batch(tiny_encoder, *texts, [[number] for number in range(5, 10)], hard, guide=vectors[1])
    masker = Masker(FalseNegatives(above, margin))
    method = moco(queue_size=queue_size, masker=masker, guide_width=3 if guided else 0)
    method(earlier)
    method.after_update(1)
    queries, keys = seen(method, batch)
    old = lists(method.queue.tail()) if queue_size else []
    judged = [lists(queries[0]), lists(keys[1]), lists(keys[2])]
    judged_old = old
    if guided:
        judged, judged_old = vectors[1], vectors[0][1] if queue_size else []  # the queue has positives
        if queue_size:
            assert_close(method.queue.guide[:5], torch.tensor(vectors[0][1]).double())
    masks = {
        "same": oracles.same_rows(*judged[:2], above, margin),
        "same_negatives": oracles.same_candidates(*judged[:2], [*judged[2], *judged_old], above, margin),
    }
    near = [row[5:] for row in masks["same_negatives"]]
    assert not queue_size or 0 < sum(map(sum, near)) < 25
    sides = lists(queries[0]), lists(keys[1]), T
    negatives = [*lists(keys[2]), *old]
    output = method(batch)
    assert output.loss.item() == pytest.approx(oracles.info_nce(*sides, negatives, **masks), rel=1e-6)
    assert output.loss.item() != pytest.approx(oracles.info_nce(*sides, negatives), rel=1e-3)
    assert output.diagnostics["masked_similarity_fraction"].item() == output.diagnostics["masked_fraction"].item() > 0


@pytest.mark.parametrize("symmetric", [False, True])
def test_rows_of_one_group_can_be_positives_of_each_other(moco, tiny_encoder, tiny_corpus, symmetric):
    groups = [[0, 10], [1, 11], [2, 10], [3, 13], [0, 14]]
    batch = make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10], groups, kinds=("text", "group"))
    method = moco(queue_size=5, labels=2, masker=Masker(group_positives=True), symmetric=symmetric)
    queries, keys = seen(method, batch)
    further = shared([row[1:] for row in groups], [row[1:] for row in groups])
    ways = [(0, 1), (1, 0)] if symmetric else [(0, 1)]
    masks = {"same": shared(groups, groups), "further": further}
    losses = [oracles.info_nce(lists(queries[one]), lists(keys[other]), T, **masks) for one, other in ways]
    assert method(batch).loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    without = [oracles.info_nce(lists(queries[one]), lists(keys[other]), T, same=masks["same"]) for one, other in ways]
    assert method(batch).loss.item() != pytest.approx(sum(without) / len(without), rel=1e-3)


def test_a_symmetric_loss_is_the_mean_of_both_ways(moco, tiny_encoder, tiny_corpus, earlier):
    groups = [[0], [1], [2], [1], [4]]
    batch = make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10], groups, [tiny_corpus[10:15]])
    method = moco(queue_size=5, symmetric=True)
    method(earlier)
    old = seen(method, earlier)[1][1]
    method.after_update(1)
    assert_close(method.queue.tail(), old, check_dtype=False)  # of positives alone
    queries, keys = seen(method, batch)
    negatives = lists(keys[2], method.queue.tail())
    met = [[False] * 5 + row for row in shared(groups, earlier.groups)]
    masks = {"same": shared(groups, groups), "same_negatives": met}
    forth = oracles.info_nce(lists(queries[0]), lists(keys[1]), T, negatives, **masks)
    back = oracles.info_nce(lists(queries[1]), lists(keys[0]), T, negatives, **masks)
    assert method(batch).loss.item() == pytest.approx((forth + back) / 2, rel=1e-6)
    assert forth != pytest.approx(back, rel=1e-3)


def test_only_the_anchors_run_with_gradients_and_with_symmetric_the_positives_too(moco, tiny_encoder, tiny_corpus):
    batch = make_batch(tiny_encoder, tiny_corpus[:5], tiny_corpus[5:10], hard=[tiny_corpus[10:15]])
    for symmetric, sides in ((False, 1), (True, 2)):
        method = moco(symmetric=symmetric)
        assert [method.trained_sides(count) for count in (2, 3, 4)] == [sides] * 3
        assert len(method.trained_tokens(batch)) == 5 * sides
        fixed = method.embed_fixed(batch)
        assert fixed.keys() == {"key"}
        assert (len(fixed["key"]), fixed["key"].requires_grad) == (5 + 5 * sides, False)


def test_after_a_step_the_keys_of_all_its_batches_enter_in_their_order(moco, batch, earlier):
    method = moco(queue_size=12)
    keys = [seen(method, one)[1][1] for one in (earlier, batch)]
    for one in (earlier, batch):
        method(one)
    assert method.queue.empty.all()
    method.after_update(7)
    assert_close(method.queue.tail(), torch.cat(keys), check_dtype=False)
    assert method.queue.groups[:10].tolist() == [*earlier.groups.tolist(), *batch.groups.tolist()]
    assert method.queue.steps.tolist() == [7] * 10 + [0] * 2
    method.after_update(8)  # nothing enters twice
    assert method.queue.pushed.item() == 10


def test_the_keys_of_a_step_are_those_that_its_loss_saw_and_the_encoder_has_moved_on(moco, batch):
    method = moco(queue_size=5)
    before = [parameter.clone() for parameter in method.momentum_encoder.parameters()]
    method(batch)
    keys = seen(method, batch)[1][1]
    method.before_update(1.0)  # MoCo's momentum does not rise
    method.after_update(1)
    assert_close(method.queue.tail(), keys, check_dtype=False)
    for kept, old, new in zip(method.momentum_encoder.parameters(), before, method.encoder.parameters(), strict=True):
        assert_close(kept, (old + new.detach()) / 2)


def test_the_projector_of_the_keys_moves_with_the_encoder(moco, batch):
    method = moco(projector=Projector(32, 16, 8), momentum=0.0)
    shift(method.projector)
    method.after_update(1)
    assert method.momentum_encoder.projector is not method.projector
    for kept, new in zip(method.momentum_encoder.projector.parameters(), method.projector.parameters(), strict=True):
        assert torch.equal(kept, new)


def test_in_evaluation_nothing_enters_the_queue(moco, batch):
    method = moco(queue_size=12)
    method.eval()(batch)
    method.after_update(1)
    assert method.queue.empty.all()


def test_the_queue_s_mean_age_and_filling_are_watched(moco, batch, earlier):
    method = moco(queue_size=20)
    assert method.measures(3) == {"queue_age_steps": 0.0, "queue_filled_fraction": 0.0}
    for step, one in ((1, batch), (3, earlier)):
        method(one)
        method.after_update(step)
    assert method.measures(4) == {"queue_age_steps": 2.0, "queue_filled_fraction": 0.5}
    assert moco().measures(4) == {}


def test_a_queue_of_another_precision_serves_all_the_same(moco, batch, earlier):
    losses = []
    for dtype in (torch.float64, torch.float32):
        method = moco(queue_size=5)
        method.queue.to(dtype)
        method(earlier)
        method.after_update(1)
        losses.append(method(batch).loss)
    assert_close(*losses, rtol=1e-6, atol=0)


def test_rows_of_two_labels_need_a_queue_of_as_many(moco, tiny_encoder, tiny_corpus):
    groups = [[0, 1], [2, 3], [4, 5], [6, 7]]
    batch = make_batch(tiny_encoder, tiny_corpus[:4], tiny_corpus[4:8], groups)
    method = moco(queue_size=4, labels=2)
    method(batch)
    method.after_update(1)
    assert method.queue.groups.tolist() == groups
    other = moco(queue_size=4)
    with pytest.raises(ShapeError, match=r"^groups: expected shape \(4, 1\), got \(4, 2\)$"):
        other(batch)


def test_diagnostics_are_of_queries_and_keys(moco, batch):
    method = moco()
    queries, keys = seen(method, batch)
    output = method(batch)
    own = [oracles.cosine(*pair) for pair in zip(lists(queries[0]), lists(keys[1]), strict=True)]
    assert output.diagnostics["positive_cosine"].item() == pytest.approx(sum(own) / 5, rel=1e-5)
    assert output.diagnostics["masked_fraction"].item() == pytest.approx(2 / 20)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("option", ["symmetric", "same_side"])
def test_an_info_nce_that_wants_gradients_of_keys_is_refused(tiny_encoder, option, cut):
    loss = InfoNCE(**{option: True})
    with pytest.raises(ConfigError) as caught:
        MoCo(tiny_encoder, Matryoshka(loss, [8]) if cut else loss)
    assert str(caught.value) == "loss: keys have no gradient, so MoCo's InfoNCE goes one way"


def test_a_queue_of_less_than_nothing_is_refused(tiny_encoder):
    with pytest.raises(ConfigError, match=r"^queue_size: expected at least 1 row, got -1$"):
        MoCo(tiny_encoder, InfoNCE(), queue_size=-1)


def test_a_momentum_that_is_no_share_is_refused(tiny_encoder):
    with pytest.raises(ConfigError, match=r"^momentum: expected a share in \[0, 1\], got 2$"):
        MoCo(tiny_encoder, InfoNCE(), momentum=2)
