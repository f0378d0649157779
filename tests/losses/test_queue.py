from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from textcl.errors import ConfigError, ShapeError
from textcl.losses import NegativeQueue

BATCH_SIZES = st.lists(st.integers(0, 9), max_size=8)


def rows(first, count, labels=1):
    """Keys and labels of rows number `first`, `first` + 1, …, from which the number can be told."""
    numbers = torch.arange(first, first + count)
    keys = torch.stack([numbers, -numbers, numbers / 8], dim=1).float()
    return keys, torch.stack([100 * column + numbers for column in range(labels)], dim=1)


@given(size=st.integers(1, 7), batch_sizes=BATCH_SIZES, labels=st.integers(1, 2))
@example(size=3, batch_sizes=[2, 2, 2, 2], labels=1)
@example(size=3, batch_sizes=[1, 9, 1], labels=2)
def test_the_queue_is_the_tail_of_a_list(size, batch_sizes, labels):
    queue, kept = NegativeQueue(size, 3, labels), []
    for number, count in enumerate(batch_sizes):
        step = 2 * number + 1
        keys, groups = rows(10 * number, count, labels)
        queue.push(keys, groups, step)
        kept = [*kept, *zip(keys.tolist(), groups.tolist(), [step] * count, strict=True)][-size:]
        assert queue.tail().tolist() == [key for key, _group, _step in kept]
        there = zip(queue.keys.tolist(), queue.groups.tolist(), queue.steps.tolist(), strict=True)
        filled = [row for row, empty in zip(there, queue.empty.tolist(), strict=True) if not empty]
        assert sorted(filled) == sorted(kept)
        ages = [step + 3 - made for _key, _group, made in kept]
        assert queue.age(step + 3).item() == pytest.approx(sum(ages) / max(1, len(ages)))


def guide_of(keys):
    """What a guide makes of the rows of some keys."""
    return torch.cat([3 * keys[:, :1], keys[:, 1:2] / 2], dim=1)


@given(size=st.integers(1, 7), batch_sizes=BATCH_SIZES)
@example(size=3, batch_sizes=[1, 9, 1])
def test_a_guide_s_embeddings_stand_beside_the_keys_of_their_rows(size, batch_sizes):
    queue = NegativeQueue(size, 3, guide_width=2)
    for number, count in enumerate(batch_sizes):
        keys, groups = rows(10 * number, count)
        queue.push(keys, groups, number, guide_of(keys))
        assert queue.guide.tolist() == guide_of(queue.keys).tolist()
    assert NegativeQueue(size, 3).guide.shape == (size, 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_guide_s_embeddings_of_any_precision_are_kept_in_that_of_the_queue(dtype):
    queue = NegativeQueue(4, 3, guide_width=2)
    keys, groups = rows(1, 2)
    queue.push(keys, groups, 1, guide_of(keys).to(dtype))
    assert queue.guide.dtype == torch.float32
    assert queue.guide[:2].tolist() == guide_of(keys).tolist()


def test_a_new_queue_is_empty_and_has_no_age():
    queue = NegativeQueue(4, 3)
    assert queue.empty.tolist() == [True] * 4
    assert queue.tail().shape == (0, 3)
    assert queue.age(7).item() == 0


@given(size=st.integers(1, 7), before=BATCH_SIZES, after=BATCH_SIZES)
def test_a_queue_from_a_state_goes_on_as_the_old_one(size, before, after):
    queue, other = NegativeQueue(size, 3, 2, 2), NegativeQueue(size, 3, 2, 2)
    for step, count in enumerate(before):
        keys, groups = rows(10 * step, count, 2)
        queue.push(keys, groups, step, guide_of(keys))
    other.load_state_dict(queue.state_dict())
    for step, count in enumerate(after, start=len(before)):
        keys, groups = rows(10 * step, count, 2)
        for each in (queue, other):
            each.push(keys, groups, step, guide_of(keys))
    state = queue.state_dict()
    assert state.keys() == {"keys", "groups", "guide", "steps", "pushed"}
    for name, again in other.state_dict().items():
        assert torch.equal(again, state[name])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keys_of_any_precision_are_kept_in_that_of_the_queue_without_a_gradient(dtype):
    queue = NegativeQueue(4, 3)
    keys = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    queue.push(keys, torch.zeros(2, 1, dtype=torch.int64), 1)
    assert queue.keys.dtype == torch.float32
    assert not queue.keys.requires_grad


@pytest.mark.parametrize(
    ("keys", "groups", "message"),
    [
        ((2, 4), (2, 2), "keys: expected shape (n, 3), got (2, 4)"),
        ((3,), (1, 2), "keys: expected shape (n, 3), got (3,)"),
        ((2, 3), (2, 1), "groups: expected shape (2, 2), got (2, 1)"),
        ((2, 3), (3, 2), "groups: expected shape (2, 2), got (3, 2)"),
    ],
)
def test_rows_of_another_shape_are_refused_and_nothing_enters(keys, groups, message):
    queue = NegativeQueue(4, 3, labels=2)
    with pytest.raises(ShapeError) as caught:
        queue.push(torch.zeros(keys), torch.zeros(groups, dtype=torch.int64), 1)
    assert str(caught.value) == message
    assert queue.empty.all()


@pytest.mark.parametrize(
    ("width", "guide", "message"),
    [
        (2, None, "guide: expected shape (2, 2), got (2, 0)"),
        (2, (2, 3), "guide: expected shape (2, 2), got (2, 3)"),
        (2, (1, 2), "guide: expected shape (2, 2), got (1, 2)"),
        (0, (2, 3), "guide: expected shape (2, 0), got (2, 3)"),
    ],
)
def test_a_guide_of_another_shape_is_refused_and_nothing_enters(width, guide, message):
    queue = NegativeQueue(4, 3, guide_width=width)
    with pytest.raises(ShapeError) as caught:
        queue.push(*rows(0, 2), 1, None if guide is None else torch.zeros(guide))
    assert str(caught.value) == message
    assert queue.empty.all()


@pytest.mark.parametrize("size", [0, -3])
def test_a_queue_of_no_rows_is_refused(size):
    with pytest.raises(ConfigError) as caught:
        NegativeQueue(size, 3)
    assert str(caught.value) == f"queue_size: expected at least 1 row, got {size}"
