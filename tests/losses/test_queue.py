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


def test_a_new_queue_is_empty_and_has_no_age():
    queue = NegativeQueue(4, 3)
    assert queue.empty.tolist() == [True] * 4
    assert queue.tail().shape == (0, 3)
    assert queue.age(7).item() == 0


@given(size=st.integers(1, 7), before=BATCH_SIZES, after=BATCH_SIZES)
def test_a_queue_from_a_state_goes_on_as_the_old_one(size, before, after):
    queue, other = NegativeQueue(size, 3, 2), NegativeQueue(size, 3, 2)
    for step, count in enumerate(before):
        queue.push(*rows(10 * step, count, 2), step)
    other.load_state_dict(queue.state_dict())
    for step, count in enumerate(after, start=len(before)):
        for each in (queue, other):
            each.push(*rows(10 * step, count, 2), step)
    for buffer, again in zip(queue.buffers(), other.buffers(), strict=True):
        assert torch.equal(again, buffer)


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


@pytest.mark.parametrize("size", [0, -3])
def test_a_queue_of_no_rows_is_refused(size):
    with pytest.raises(ConfigError) as caught:
        NegativeQueue(size, 3)
    assert str(caught.value) == f"queue_size: expected at least 1 row, got {size}"
