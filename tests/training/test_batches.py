from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from tests.strategies import as_lists
from tests.training.token_sources import MASK, hard_source, source_of
from textcl.errors import ConfigError, DataError
from textcl.methods.method import ABSENT
from textcl.training.batches import Batches, draw_from
from textcl.training.order import Mixed, Unique
from textcl.views.cropping import InverseCloze
from textcl.views.masking import Mask
from textcl.views.strength import Ramp


def same_batch(one, other):
    return (
        np.array_equal(one.rows, other.rows)
        and np.array_equal(one.tokens.ids, other.tokens.ids)
        and np.array_equal(one.tokens.offsets, other.tokens.offsets)
        and np.array_equal(one.groups, other.groups)
    )


@given(rows=st.integers(2, 40), batch_size=st.integers(2, 12), processes=st.integers(1, 3), seed=st.integers(0, 99))
def test_each_row_stands_at_most_once_in_an_epoch(rows, batch_size, processes, seed):
    assume(rows >= 2 * processes)
    parts = [Batches(source_of(rows, seed), batch_size, rank, processes) for rank in range(processes)]
    for epoch in range(2):
        numbers = range(epoch * parts[0].per_epoch, (epoch + 1) * parts[0].per_epoch)
        seen = np.concatenate([part[number].rows for number in numbers for part in parts])
        assert len(set(seen.tolist())) == len(seen)
        assert set(seen.tolist()) <= set(range(rows))
        # What is left out would not have filled another step.
        assert rows - len(seen) < parts[0].batch_size * processes


@given(
    batch_size=st.integers(2, 5),
    processes=st.integers(2, 4),
    spare=st.integers(0, 20),
    number=st.integers(0, 7),
    seed=st.integers(0, 99),
)
def test_several_processes_see_the_rows_of_one_in_its_order(batch_size, processes, spare, number, seed):
    source = source_of(batch_size * processes + spare, seed)
    whole = Batches(source, batch_size * processes)[number]
    parts = [Batches(source, batch_size, rank, processes)[number] for rank in range(processes)]
    assert np.concatenate([part.rows for part in parts]).tolist() == whole.rows.tolist()
    for rank, part in enumerate(parts):
        here = np.arange(rank * batch_size, (rank + 1) * batch_size)
        both_sides = np.concatenate([here, here + batch_size * processes])
        expected = whole.tokens.take(both_sides)
        assert part.tokens.ids.tolist() == expected.ids.tolist()
        assert part.tokens.offsets.tolist() == expected.offsets.tolist()


def test_any_number_of_workers_draws_the_same_batches():
    batches = Batches(source_of(30, pair=InverseCloze()), 4)
    drawn = [
        list(DataLoader(batches, sampler=range(3, 12), batch_size=None, num_workers=workers)) for workers in (0, 1, 2)
    ]
    assert all(same_batch(*pair) for other in drawn[1:] for pair in zip(drawn[0], other, strict=True))
    assert all(same_batch(batch, batches[number]) for number, batch in enumerate(drawn[0], start=3))


def test_orders_differ_between_epochs_and_between_seeds():
    def order(seed, epoch):
        batches = Batches(source_of(24, seed), 6)
        return [row for number in range(4) for row in batches[epoch * 4 + number].rows.tolist()]

    assert sorted(order(0, 0)) == sorted(order(0, 1)) == sorted(order(1, 0)) == list(range(24))
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0) == order(0, 0)


def test_a_batch_shrinks_to_what_there_is():
    batches = Batches(source_of(5), 64)
    assert (batches.batch_size, batches.per_epoch) == (5, 1)
    assert [len(batches[number]) for number in range(3)] == [5, 5, 5]


def test_a_batch_of_one_pair_is_refused():
    with pytest.raises(ConfigError, match=r"^batch_size: expected at least 2.*negatives.*, got 1$"):
        Batches(source_of(5), 1)


@pytest.mark.parametrize(("rows", "processes"), [(1, 1), (3, 2)])
def test_too_few_pairs_are_refused(rows, processes):
    with pytest.raises(DataError, match=rf"^{rows} training pairs are too few"):
        Batches(source_of(rows), 2, 0, processes)


@given(st.integers(0, 20))
def test_batches_of_several_processes_hold_the_hard_negatives_of_their_rows(number):
    source = hard_source(rows=12)
    for rank in range(2):
        batch = Batches(source, 3, rank, 2)[number]
        assert batch.tokens.ids.tolist() == source.draw(batch.rows, number // 2).tokens.ids.tolist()
        assert batch.negative_groups[..., 0].tolist() == [[100 + row, 200 + row] for row in batch.rows.tolist()]


@st.composite
def several_sources(draw):
    """Sources with 0 to 2 hard negatives a row, and the places of a batch in them: source, row and epoch."""
    guided, lengths = draw(st.sampled_from([[True], [False], [True, False]])), [3, 1, 0, 2]
    sources = [
        hard_source(
            4,
            draw(st.integers(0, 2)),
            guided=draw(st.sampled_from(guided)),
            table={
                "begin": 100_000 * number,
                "lengths": lengths,
                "view": Mask(MASK, Ramp(0.1, 0.9)),
                "prefixed": number != 1,
            },
            seed=draw(st.integers(0, 3)),
            kinds=("text",),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    place = st.tuples(st.integers(0, len(sources) - 1), st.integers(0, 3), st.integers(0, 2))
    return sources, draw(st.lists(place, min_size=1, max_size=8))


@given(drawn=several_sources(), progress=st.sampled_from([0.0, 0.5, 1.0]))
def test_a_batch_of_several_sources_and_epochs_holds_each_row_as_its_source_draws_it(drawn, progress):
    sources, places = drawn
    batch = draw_from(sources, np.array(places), progress)
    alone = [sources[source].draw(np.array([row]), epoch, progress) for source, row, epoch in places]
    sides = max(one.sides for one in alone)
    held = [[as_lists(one.tokens)[0][:1]] * (sides - one.sides) for one in alone]  # one token where nothing stands
    rows = [[*as_lists(one.tokens), *more] for one, more in zip(alone, held, strict=True)]
    assert as_lists(batch.tokens) == [row[side] for side in range(sides) for row in rows]
    assert batch.rows.tolist() == [row for _source, row, _epoch in places]
    assert batch.groups.tolist() == [one.groups[0].tolist() for one in alone]
    assert batch.kinds == ("text",)
    assert (batch.sides, len(batch), batch.counts) == (sides, len(places), None)
    if sides == 2:
        assert batch.negative_groups is None
    else:
        labels = [[] if one.negative_groups is None else one.negative_groups[0, :, 0].tolist() for one in alone]
        assert batch.negative_groups.tolist() == [
            [[label] for label in [*own, *[ABSENT] * (sides - 2 - len(own))]] for own in labels
        ]
    if any(one.guide is None for one in alone):
        assert batch.guide is None
    else:
        vectors = [[*one.guide.tolist(), *[[0.0, 0.0]] * (sides - one.sides)] for one in alone]
        assert batch.guide.tolist() == [one[side] for side in range(sides) for one in vectors]
        assert batch.guide.dtype == np.float32


def test_the_place_of_what_a_source_does_not_have_is_held_by_each_row_s_own_first_token():
    without, beside = hard_source(4, 0, table={"prefixed": False}), hard_source(4, 1, table={"begin": 100_000})
    batch = draw_from([without, beside], np.array([[0, 3, 0], [1, 0, 0], [0, 1, 0], [0, 2, 0]]))
    held = batch.tokens_of(2, 3)
    assert [held.row(place).tolist() for place in (0, 2, 3)] == [[30], [10], [20]]
    assert batch.negative_groups.tolist() == [[[ABSENT]], [[100]], [[ABSENT]], [[ABSENT]]]


@pytest.mark.parametrize(
    ("length", "moments"),
    [(11, {0: 0.0, 5: 0.5, 10: 1.0, 20: 1.0}), (2, {0: 0.0, 1: 1.0}), (1, {0: 0.0}), (None, {0: 0.0, 7: 0.0})],
)
def test_batches_of_several_sources_are_drawn_for_their_place_in_the_run(length, moments):
    sources = [hard_source(table={"view": Mask(MASK, Ramp(0.0, 0.9))}) for _source in range(2)]
    batches = Batches(sources, 6, length=length, order=lambda step: Mixed([6, 6], [1, 1], step, 2, 0))
    assert not (draw_from(sources, batches.order.batch(0)).tokens.ids == MASK).any()  # not told: at its start
    for number, progress in moments.items():
        expected = draw_from(sources, batches.order.batch(number), progress)
        assert batches[number].tokens.ids.tolist() == expected.tokens.ids.tolist()


@given(
    rows=st.integers(2, 40),
    batch_size=st.integers(2, 9),
    processes=st.integers(1, 4),
    seed=st.integers(0, 99),
    number=st.integers(0, 12),
)
def test_several_processes_share_out_the_uneven_batches_of_one(rows, batch_size, processes, seed, number):
    assume(rows >= 2 * processes)
    source = source_of(rows, seed)

    def order(step):
        return Unique(source.groups, step, seed)

    parts = [Batches(source, batch_size, rank, processes, order=order)[number] for rank in range(processes)]
    whole = Batches(source, parts_step := min(batch_size, rows // processes) * processes, order=order)[number]
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    assert sum(sizes) == len(whole) <= parts_step + 1
    counts = None if len(set(sizes)) == 1 else tuple(sizes)
    assert [part.counts for part in parts] == [counts] * processes
    assert whole.counts is None
    assert np.concatenate([part.rows for part in parts]).tolist() == whole.rows.tolist()
    for side in range(2):
        together = [row for part in parts for row in as_lists(part.tokens_of(side, side + 1))]
        assert together == as_lists(whole.tokens_of(side, side + 1))


def test_an_order_is_made_for_the_pairs_of_a_step_and_says_how_long_an_epoch_is():
    asked = []

    def order(step):
        asked.append(step)
        return Mixed([6, 4], [3, 1], step, 5, 0)

    batches = Batches([hard_source(6), hard_source(4)], 3, 0, 2, order=order, names=("first", "second"))
    assert (asked, batches.per_epoch, batches.pairs, batches.batch_size) == ([6], 5, 10, 3)
    assert batches.contributed(0) == {"rows/first": 0.0, "rows/second": 0.0}
    assert batches.contributed(4) == {"rows/first": 18.0, "rows/second": 6.0}
    assert Batches(source_of(8), 4).contributed(3) == {}
    assert Batches([source_of(8)], 4, names=("only",)).contributed(3) == {"rows/only": 12.0}
