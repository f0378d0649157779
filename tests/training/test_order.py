from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from textcl.errors import ConfigError
from textcl.training.order import Alternating, Mixed, Shuffled, Stretches, Unique, components, source_seed

SEEDS = st.integers(0, 99)


@st.composite
def shuffled(draw):
    """An order of all rows, in blocks or not."""
    count = draw(st.integers(1, 40))
    block = draw(st.none() | st.integers(1, count + 3))
    return Shuffled(count, draw(st.integers(1, count)), draw(SEEDS), block)


@st.composite
def label_tables(draw, most=14):
    """(N, G) labels, of which some are shared, also from column to column."""
    columns = draw(st.integers(1, 3))
    label = st.integers(0, draw(st.sampled_from([6, 30, 200])))
    row = st.lists(label, min_size=columns, max_size=columns)
    return np.array(draw(st.lists(row, min_size=2, max_size=most)), dtype=np.int64)


@st.composite
def unique(draw):
    """An order in which no labels meet."""
    groups = draw(label_tables())
    try:
        return Unique(groups, draw(st.integers(2, len(groups))), draw(SEEDS))
    except ConfigError:
        assume(False)


WEIGHTS = st.lists(st.floats(0.01, 10.0) | st.integers(1, 300), min_size=1, max_size=6)


@st.composite
def alternating(draw):
    """An order of batches of several sources."""
    weights = draw(WEIGHTS)
    orders = [draw(shuffled() | unique()) for _source in weights]
    return Alternating(orders, weights, draw(st.integers(1, 9)))


@st.composite
def mixed(draw):
    """An order of rows of several sources."""
    weights = draw(WEIGHTS)
    counts = [draw(st.integers(1, 12)) for _source in weights]
    blocks = draw(st.none() | st.just([draw(st.none() | st.integers(1, count + 1)) for count in counts]))
    return Mixed(counts, weights, draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(SEEDS), blocks)


def rows_of_epoch(order, epoch):
    """The rows of an epoch, batch after batch."""
    numbers = range(epoch * order.per_epoch, (epoch + 1) * order.per_epoch)
    return [row for number in numbers for row in order.batch(number)[:, 1].tolist()]


def counted(order, number, sources):
    """How many rows of each source stand in the batches before `number`."""
    found = Counter(source for one in range(number) for source in order.batch(one)[:, 0].tolist())
    return [found[source] for source in range(sources)]


def brute_components(groups):
    """For each row, the first row that it is connected with: labels are spread until none changes."""
    first = list(range(len(groups)))
    changed = True
    while changed:
        changed = False
        for i, j in itertools.product(range(len(groups)), repeat=2):
            if set(groups[i]) & set(groups[j]) and first[i] > first[j]:
                first[i], changed = first[j], True
    return first


def unfair(weights, shares):
    """How far the worst share of a sum is from what the weights say."""
    exact, total = [Fraction(weight) for weight in weights], sum(shares)
    return max(abs(share - total * weight / sum(exact)) for weight, share in zip(exact, shares, strict=True))


def allowed(sources):
    """Half a row for each time that the number of sources doubles: one row for four."""
    return Fraction(math.ceil(math.log2(sources)), 2)


@given(shuffled() | unique() | alternating() | mixed(), st.lists(st.integers(0, 25), min_size=1, max_size=6))
def test_a_batch_is_the_same_whatever_was_asked_for_before(order, numbers):
    first = {number: order.batch(number).tolist() for number in numbers}
    for number in reversed(range(max(numbers) + 1)):
        again = order.batch(number)
        again[:] = -7  # what a caller does to it is no matter of the next
    for number in sorted(numbers):
        assert order.batch(number).tolist() == first[number]


@given(shuffled())
def test_rows_in_random_order_stand_at_most_once_in_an_epoch_whose_batches_are_full(order):
    assert order.per_epoch == order.stretches.count // order.batch_size
    for epoch in range(2):
        tables = [order.batch(epoch * order.per_epoch + place) for place in range(order.per_epoch)]
        assert [len(table) for table in tables] == [order.batch_size] * order.per_epoch
        assert {(source, at) for table in tables for source, _row, at in table.tolist()} == {(0, epoch)}
        rows = rows_of_epoch(order, epoch)
        assert len(set(rows)) == len(rows)
        assert set(rows) <= set(range(order.stretches.count))
    for number in range(2 * order.per_epoch + 2):
        assert order.contributed(number).tolist() == counted(order, number, 1)


@given(shuffled())
def test_the_order_of_rows_does_not_depend_on_the_size_of_batches(order):
    for epoch in range(2):
        stretches = order.stretches
        alone = rows_of_epoch(Shuffled(stretches.count, 1, stretches.seed, stretches.block), epoch)
        assert sorted(alone) == list(range(stretches.count))
        assert rows_of_epoch(order, epoch) == alone[: order.per_epoch * order.batch_size]


@given(count=st.integers(1, 40), block=st.integers(1, 45), seed=SEEDS)
@example(count=7, block=3, seed=0)
def test_the_rows_of_a_block_stand_together(count, block, seed):
    for epoch in range(3):
        rows = rows_of_epoch(Shuffled(count, 1, seed, block), epoch)
        runs = [(number, len(list(run))) for number, run in itertools.groupby(row // block for row in rows)]
        assert sorted(runs) == [(start // block, min(block, count - start)) for start in range(0, count, block)]


def test_the_short_last_block_can_stand_anywhere():
    orders = [[row // 3 for row in rows_of_epoch(Shuffled(7, 1, 0, 3), epoch)] for epoch in range(20)]
    assert {order.index(2) for order in orders} == {0, 3, 6}


def test_blocks_are_shuffled_among_each_other_and_each_inside_anew_in_every_epoch_and_under_every_seed():
    count, block = 64, 8
    found = [rows_of_epoch(Shuffled(count, 16, seed, block), epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    blocks = [[row // block for row in rows[::block]] for rows in found]
    inside = [{rows[at] // block: [row % block for row in rows[at : at + block]] for at in range(0, count, block)}
              for rows in found]  # fmt: skip
    for one, other in itertools.combinations(range(3), 2):
        assert blocks[one] != blocks[other]
        assert all(inside[one][number] != inside[other][number] for number in range(8))
    assert len({tuple(order) for order in inside[0].values()}) == 8


@pytest.mark.parametrize("block", [24, 25, None])
def test_blocks_as_long_as_the_source_shuffle_all_of_it(block):
    order, whole = Shuffled(24, 6, 3, block), Shuffled(24, 6, 3)
    assert rows_of_epoch(order, 0) == rows_of_epoch(whole, 0)
    assert rows_of_epoch(whole, 0) != rows_of_epoch(whole, 1)
    assert rows_of_epoch(whole, 0) != rows_of_epoch(Shuffled(24, 6, 4), 0)


@given(label_tables())
def test_rows_are_connected_by_shared_labels_directly_or_through_others(groups):
    found, expected = components(groups).tolist(), brute_components(groups.tolist())
    assert [[one == other for other in found] for one in found] == [[a == b for b in expected] for a in expected]
    assert set(found) == set(range(len(set(expected))))


def test_a_long_chain_of_labels_is_one_component():
    links = np.delete(np.arange(1000), 600)  # here it is torn
    groups = np.stack([links, links + 1], axis=1)
    found = components(groups[np.random.default_rng(0).permutation(999)])
    assert sorted(np.bincount(found).tolist()) == [399, 600]


def expected_batches(count, batch_size):
    """Batches of an epoch: as few as hold all rows, but none of a single row."""
    return min(math.ceil(count / batch_size), count // 2)


@given(groups=label_tables(), data=st.data(), seed=SEEDS)
def test_batches_without_duplicates_have_each_row_once_an_epoch_and_none_beside_its_like(groups, data, seed):
    count, batch_size = len(groups), data.draw(st.integers(2, len(groups)))
    connected = brute_components(groups.tolist())
    assume(max(Counter(connected).values()) <= expected_batches(count, batch_size))
    order = Unique(groups, batch_size, seed)
    assert order.per_epoch == expected_batches(count, batch_size)
    for epoch in range(2):
        tables = [order.batch(epoch * order.per_epoch + place) for place in range(order.per_epoch)]
        assert {(source, at) for table in tables for source, _row, at in table.tolist()} == {(0, epoch)}
        assert sorted(rows_of_epoch(order, epoch)) == list(range(count))
        sizes = [len(table) for table in tables]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 2
        # Three rows in batches of two: the third has nowhere else to go.
        assert max(sizes) <= batch_size or (batch_size == 2 and count % 2 == 1 and sorted(sizes)[-2:] in ([3], [2, 3]))
        for table in tables:
            rows = table[:, 1].tolist()
            assert len({connected[row] for row in rows}) == len(rows)
            assert not any(set(groups[one]) & set(groups[other]) for one, other in itertools.combinations(rows, 2))


@given(order=unique(), number=st.integers(0, 20))
def test_contributed_rows_of_batches_of_two_sizes_are_counted(order, number):
    assert order.contributed(number).tolist() == counted(order, number, 1)


def test_two_rows_that_share_no_label_but_each_one_with_a_third_are_kept_apart():
    groups = np.array([[0, 1], [1, 2], [2, 3], [4, 5], [6, 7], [8, 9]])
    for seed in range(20):
        order = Unique(groups, 2, seed)
        assert all(len({0, 1, 2} & set(order.batch(number)[:, 1].tolist())) == 1 for number in range(6))


def partners(groups, batch_size, seed, epochs):
    """Which two rows meet, in any of some epochs."""
    order = Unique(np.array(groups)[:, None], batch_size, seed)
    batches = (order.batch(number)[:, 1].tolist() for number in range(epochs * order.per_epoch))
    return {tuple(sorted(pair)) for batch in batches for pair in itertools.combinations(batch, 2)}


def test_whom_a_row_meets_changes_with_epoch_and_seed():
    alone = list(range(12))
    assert partners(alone, 3, 0, 1) == partners(alone, 3, 0, 1) != partners(alone, 3, 1, 1)
    assert partners(alone, 3, 0, 1) < partners(alone, 3, 0, 2)
    # Rows of a group change places with each other: all nine couples of two groups of three come about.
    assert partners([0, 0, 0, 1, 1, 1], 2, 0, 20) == set(itertools.product((0, 1, 2), (3, 4, 5)))


@given(groups=label_tables(), data=st.data())
@example(groups=np.array([[0], [0], [0], [1], [2], [3], [4], [5], [6], [7]]), data=None)
def test_a_group_with_more_rows_than_batches_is_refused_with_the_largest_batch_that_would_do(groups, data):
    count = len(groups)
    batch_size = count if data is None else data.draw(st.integers(2, count))
    largest = max(Counter(brute_components(groups.tolist())).values())
    assume(largest > expected_batches(count, batch_size))
    with pytest.raises(ConfigError) as caught:
        Unique(groups, batch_size, 0)
    assert f"one group has {largest} rows and an epoch {expected_batches(count, batch_size)} batches" in str(
        caught.value
    )
    advised = re.search(r"take batches of at most (\d+) pairs over all processes, or leave it out", str(caught.value))
    fitting = [size for size in range(2, count + 1) if largest <= expected_batches(count, size)]
    assert ([] if advised is None else list(range(2, int(advised[1]) + 1))) == fitting


def test_the_refusal_of_a_large_group_says_what_to_do():
    with pytest.raises(ConfigError) as caught:
        Unique(np.array([[0], [0], [0], [1], [2], [3], [4], [5], [6], [7]]), 10, 0)
    told = "unique_batches: no two rows of a group may meet, but one group has 3 rows and an epoch 1 batches; "
    advice = "take batches of at most 4 pairs over all processes, or "
    otherwise = "leave it out: rows of a group are no negatives of each other anyway"
    assert str(caught.value) == told + advice + otherwise
    with pytest.raises(ConfigError) as caught:
        Unique(np.array([[0], [0], [0], [1]]), 4, 0)
    assert str(caught.value) == told + otherwise


@given(alternating())
def test_each_batch_is_the_next_of_one_source_and_each_source_has_its_share_at_any_moment(order):
    sources, taken = len(order.orders), Counter()
    for number in range(40):
        assert unfair(order.weights, [taken[source] for source in range(sources)]) <= allowed(sources)
        rows = [order.orders[source].contributed(taken[source])[0] for source in range(sources)]
        assert order.contributed(number).tolist() == rows
        table = order.batch(number)
        (source,) = set(table[:, 0].tolist())
        assert table[:, 1:].tolist() == order.orders[source].batch(taken[source])[:, 1:].tolist()
        taken[source] += 1


@given(order=alternating() | mixed(), number=st.integers(0, 30))
def test_contributed_rows_are_those_of_the_batches_before(order, number):
    sources = len(order.weights)
    assert order.contributed(number).tolist() == counted(order, number, sources)


def test_batches_of_three_sources_of_equal_weight_take_turns():
    order = Alternating([Shuffled(8, 2, seed) for seed in range(3)], [1, 1, 1], 12)
    sources = [order.batch(number)[0, 0] for number in range(12)]
    assert all(sorted(sources[start : start + 3]) == [0, 1, 2] for start in range(0, 12, 3))
    assert order.per_epoch == 12


def test_weights_are_relative_to_each_other():
    orders = [Shuffled(8, 2, seed) for seed in range(2)]
    known = [[Alternating(orders, weights, 4).batch(number)[0, 0] for number in range(20)]
             for weights in ([3, 1], [0.75, 0.25], [np.float64(300), 100])]  # fmt: skip
    assert known[0] == known[1] == known[2]
    assert sum(known[0]) == 5


@given(weights=WEIGHTS, batches=st.integers(10**11, 10**14))
def test_shares_are_exact_after_any_number_of_batches(weights, batches):
    order = Mixed([5] * len(weights), weights, 8, 1, 0)
    before, after = order.contributed(batches).tolist(), order.contributed(batches + 1).tolist()
    assert sum(before) == 8 * batches
    assert unfair(weights, before) <= allowed(len(weights))
    assert all(one <= other for one, other in zip(before, after, strict=True))


@given(data=st.data(), weights=WEIGHTS, batch_size=st.integers(1, 9), seed=SEEDS)
def test_each_mixed_batch_has_the_next_rows_of_every_source_in_its_own_epochs(data, weights, batch_size, seed):
    counts = [data.draw(st.integers(1, 12)) for _source in weights]
    blocks = [data.draw(st.none() | st.integers(1, count)) for count in counts]
    order = Mixed(counts, weights, batch_size, 3, seed, blocks)
    alone = [
        _endless(Shuffled(count, 1, source_seed(seed, source), block))
        for source, (count, block) in enumerate(zip(counts, blocks, strict=True))
    ]
    taken = [0 for _source in weights]
    for number in range(20):
        assert unfair(weights, taken) <= allowed(len(weights))
        table = order.batch(number)
        assert table.shape == (batch_size, 3)
        for source, queue in enumerate(alone):
            found = table[table[:, 0] == source, 1:].tolist()
            taken[source] += len(found)
            assert sorted(found) == sorted(itertools.islice(queue, len(found)))


def _endless(order):
    """The [row, epoch] of an order of single rows, one by one."""
    for number in itertools.count():
        ((_source, row, epoch),) = order.batch(number).tolist()
        yield [row, epoch]


@given(mixed())
def test_every_row_of_a_mixed_source_stands_once_in_each_of_its_epochs(order):
    tables = np.concatenate([order.batch(number) for number in range(30)])
    for source, count in enumerate(one.count for one in order.sources):
        rows = tables[tables[:, 0] == source]
        for epoch in range(len(rows) // count):
            assert sorted(rows[rows[:, 2] == epoch, 1]) == list(range(count))
        rest = rows[rows[:, 2] >= len(rows) // count]
        assert len(set(rest[:, 1].tolist())) == len(rest) == len(rows) % count
        assert set(rest[:, 2].tolist()) <= {len(rows) // count}


def test_a_mixed_source_is_read_in_its_blocks():
    order = Mixed([24, 24], [1, 1], 8, 6, 0, [4, None])
    tables = [order.batch(number) for number in range(6)]
    in_blocks, without = (
        [sorted({row // 4 for source, row, _epoch in table.tolist() if source == wanted}) for table in tables]
        for wanted in (0, 1)
    )
    assert [len(blocks) for blocks in in_blocks] == [1] * 6
    assert max(len(blocks) for blocks in without) > 1


def test_sources_of_a_mixed_batch_stand_in_a_random_order():
    order, other = (Mixed([50, 50], [1, 1], 20, 5, seed) for seed in (0, 1))
    found = [one.batch(number)[:, 0].tolist() for one in (order, other) for number in range(3)]
    assert all(sum(one) == 10 for one in found)
    assert len({tuple(one) for one in found}) == 6
    assert sorted(found[0]) not in found
    assert order.per_epoch == 5


def test_sources_of_equal_length_have_different_orders_and_the_first_one_that_of_the_seed():
    assert source_seed(7, 0) == 7
    assert len({source_seed(seed, source) for seed in range(50) for source in range(50)}) == 2500
    half = Mixed([40, 40], [1, 1], 40, 1, 7).batch(0)
    first, second = (half[half[:, 0] == source, 1].tolist() for source in (0, 1))
    assert len(first) == len(second) == 20
    assert set(first) != set(second)


@pytest.mark.parametrize(("block", "most"), [(None, 2), (10, 6)])
def test_few_permutations_are_kept(block, most):
    stretches = Stretches(100, seed=0, block=block)
    for epoch in range(20):
        assert sorted(stretches.rows(epoch, 0, 100).tolist()) == list(range(100))
        assert len(stretches._kept) <= most
