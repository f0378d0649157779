from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from textcl.corpus.tokens import WORD_START, TokenRows, offsets_of
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.training.batches import Batches
from textcl.training.sources import HardNegatives, PairSource, Side
from textcl.views.cropping import Crop, InverseCloze
from textcl.views.masking import Mask
from textcl.views.view import Chain

CLS, SEP, MASK = 1, 2, 3


def source_of(rows, seed=0, max_tokens=16, pair=None, groups=None, second_view=None):
    """Row i is 5 to 10 tokens, all of them 100 + i, so that a token tells its row."""
    lengths = 5 + np.arange(rows, dtype=np.int64) % 6
    ids = np.repeat(100 + np.arange(rows), lengths).astype(np.int32)
    tokens = TokenRows(ids, offsets_of(lengths), np.full(len(ids), WORD_START, np.uint8))
    first = Side(tokens, (CLS,), (SEP,), Crop(0.2, 0.9))
    second = Side(tokens, (CLS,), (SEP,), second_view or Chain((Crop(0.2, 0.9), Mask(MASK, 0.3))))
    groups = np.arange(rows)[:, None] if groups is None else groups
    return PairSource(first, second, groups, max_tokens, seed, pair)


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


def test_a_row_is_seen_in_another_view_in_another_epoch_and_under_another_seed():
    rows = np.arange(20)
    drawn = [source_of(20, seed).draw(rows, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert not np.array_equal(drawn[0].tokens.ids, drawn[1].tokens.ids)
    assert not np.array_equal(drawn[0].tokens.ids, drawn[2].tokens.ids)


def test_a_batch_holds_all_first_views_and_then_all_second_views():
    batch = source_of(10).draw(np.array([7, 2, 5]), 0)
    told = [row[1:-1].tolist() for row in map(batch.tokens.row, range(6))]
    owners = [{token - 100 for token in row if token != MASK} for row in told]
    assert owners[:3] == [{7}, {2}, {5}]
    assert all(owner <= {row} for owner, row in zip(owners[3:], (7, 2, 5), strict=True))
    assert all(MASK not in row for row in told[:3])
    assert any(MASK in row for row in told[3:])
    assert batch.rows.tolist() == [7, 2, 5]
    assert len(batch) == 3


def test_the_two_sides_of_one_view_are_drawn_independently():
    batch = source_of(20, second_view=Crop(0.2, 0.9)).draw(np.arange(20), 0)
    lengths = batch.tokens.lengths
    assert not np.array_equal(lengths[:20], lengths[20:])


def test_rows_are_cut_at_the_token_limit_with_their_special_tokens():
    batch = source_of(10, max_tokens=4).draw(np.arange(10), 0)
    assert batch.tokens.lengths.max() == 4
    assert all(row[0] == CLS and row[-1] == SEP for row in map(batch.tokens.row, range(20)))


def test_a_pair_view_makes_both_sides_from_the_first():
    batch = source_of(10, pair=InverseCloze(keep_rate=0.0), second_view=Chain()).draw(np.arange(10), 0)
    plain = source_of(10, second_view=Chain()).draw(np.arange(10), 0)
    rest = batch.tokens.lengths[10:]
    assert (rest < plain.tokens.lengths[10:]).all()  # without the sentence that the other side has


def test_labels_follow_their_rows():
    batch = source_of(6, groups=np.array([[0], [0], [1], [1], [2], [2]])).draw(np.array([5, 0, 2]), 0)
    assert batch.groups.tolist() == [[2], [0], [1]]


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


def test_sides_of_different_length_are_refused():
    with pytest.raises(ShapeError, match=r"^groups: expected shape \(5, G\), got \(4, 1\)$"):
        source_of(5, groups=np.arange(4)[:, None])


def tables(*sides, view=None):
    """A side each, without tokens around it; token = 1000 * (number of the side) + 10 * row, five times."""
    made = []
    for number, rows in enumerate(sides):
        ids = np.repeat(1000 * number + 10 * np.arange(rows), 5).astype(np.int32)
        tokens = TokenRows(ids, offsets_of(np.full(rows, 5)), np.full(len(ids), WORD_START, np.uint8))
        made.append(Side(tokens, (50 + number,), (), view or Chain()))
    return made


def hard_source(rows=6, columns=2, view=None, places=None, **options):
    """Row i's hard negative h is text number h * rows + i of the table, with label 100 * (h + 1) + i."""
    first, second, table = tables(rows, rows, rows * columns, view=view)
    if places is None:
        places = np.arange(rows)[:, None] + rows * np.arange(columns)[None, :]
    labels = (100 + 100 * np.repeat(np.arange(columns), rows) + np.tile(np.arange(rows), columns))[:, None]
    negatives = HardNegatives(table, labels, places)
    return PairSource(first, second, np.arange(rows)[:, None], 16, 0, hard_negatives=negatives, **options)


def test_hard_negatives_stand_behind_the_positives_column_by_column_with_their_labels():
    batch = hard_source().draw(np.array([4, 0, 3]), 0)
    firsts = [batch.tokens.row(place).tolist() for place in range(len(batch.tokens))]
    sides = [(50, 0), (51, 1000), (52, 2000), (52, 2060)]  # what stands before, and the table's first token
    assert firsts == [[prefix, *[begin + 10 * row] * 5] for prefix, begin in sides for row in (4, 0, 3)]
    assert batch.negative_groups[..., 0].tolist() == [[104, 204], [100, 200], [103, 203]]
    assert batch.groups.tolist() == [[4], [0], [3]]
    assert (len(batch), batch.sides) == (3, 4)
    assert [row.tolist() for row in map(batch.tokens_of(2, 3).row, range(3))] == firsts[6:9]


def test_without_hard_negatives_a_batch_has_two_sides_and_no_labels_of_theirs():
    batch = source_of(6).draw(np.arange(3), 0)
    assert batch.negative_groups is None
    assert batch.sides == 2


def test_each_column_of_hard_negatives_is_seen_in_views_of_its_own():
    source = hard_source(view=Mask(MASK, 0.5))
    batch = source.draw(np.arange(6), 0)
    hidden = (batch.tokens.ids == MASK).reshape(4, 6, 6)  # sides, rows, tokens
    assert all(not np.array_equal(hidden[one], hidden[other]) for one in range(4) for other in range(one))
    assert np.array_equal(source.draw(np.array([5]), 0).tokens.ids, batch.tokens.take(np.arange(5, 24, 6)).ids)
    assert not np.array_equal(source.draw(np.arange(6), 1).tokens.ids, batch.tokens.ids)


def test_a_further_column_of_hard_negatives_changes_no_other_side():
    one, two = (hard_source(columns=columns, view=Mask(MASK, 0.5)).draw(np.arange(6), 0) for columns in (1, 2))
    assert two.tokens_of(0, 3).ids.tolist() == one.tokens.ids.tolist()


@given(st.integers(0, 20))
def test_batches_of_several_processes_hold_the_hard_negatives_of_their_rows(number):
    source = hard_source(rows=12)
    for rank in range(2):
        batch = Batches(source, 3, rank, 2)[number]
        assert batch.tokens.ids.tolist() == source.draw(batch.rows, number // 2).tokens.ids.tolist()
        assert batch.negative_groups[..., 0].tolist() == [[100 + row, 200 + row] for row in batch.rows.tolist()]


@pytest.mark.parametrize("places", [np.zeros((5, 2)), np.zeros(6)])
def test_places_that_are_not_those_of_the_rows_are_refused(places):
    with pytest.raises(ShapeError, match=r"^places: expected shape \(6, H\), got "):
        hard_source(places=places)


def test_labels_of_more_texts_than_the_table_has_are_refused():
    (table,) = tables(3)
    with pytest.raises(ShapeError, match=r"^labels: expected shape \(3, F\), got \(4, 1\)$"):
        HardNegatives(table, np.zeros((4, 1)), np.zeros((3, 1)))
