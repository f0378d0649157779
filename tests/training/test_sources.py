from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import as_lists
from tests.training.token_sources import CLS, MASK, SEP, guide_of, hard_source, source_of, tables
from textcl.errors import ConfigError, ShapeError
from textcl.methods.method import ABSENT
from textcl.training.sources import HardNegatives, Lookup, PairSource
from textcl.views.cropping import Crop, InverseCloze
from textcl.views.masking import Mask
from textcl.views.strength import Ramp
from textcl.views.view import Chain

MASKED = {"view": Mask(MASK, 0.5)}


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


@pytest.mark.parametrize("labels", [4, 6])
def test_sides_of_different_length_are_refused(labels):
    with pytest.raises(ShapeError, match=rf"^groups: expected shape \(5, G\), got \({labels}, 1\)$"):
        source_of(5, groups=np.arange(labels)[:, None])


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
    source = hard_source(table=MASKED)
    batch = source.draw(np.arange(6), 0)
    hidden = (batch.tokens.ids == MASK).reshape(4, 6, 6)  # sides, rows, tokens
    assert all(not np.array_equal(hidden[one], hidden[other]) for one in range(4) for other in range(one))
    assert np.array_equal(source.draw(np.array([5]), 0).tokens.ids, batch.tokens.take(np.arange(5, 24, 6)).ids)
    assert not np.array_equal(source.draw(np.arange(6), 1).tokens.ids, batch.tokens.ids)


def test_a_further_column_of_hard_negatives_changes_no_other_side():
    one, two = (hard_source(columns=columns, table=MASKED).draw(np.arange(6), 0) for columns in (1, 2))
    assert two.tokens_of(0, 3).ids.tolist() == one.tokens.ids.tolist()


@pytest.mark.parametrize("places", [np.zeros((5, 2)), np.zeros(6)])
def test_places_that_are_not_those_of_the_rows_are_refused(places):
    with pytest.raises(ShapeError, match=r"^places: expected shape \(6, H\), got "):
        hard_source(places=places)


def test_labels_of_more_texts_than_the_table_has_are_refused():
    (table,) = tables(3)
    with pytest.raises(ShapeError, match=r"^labels: expected shape \(3, F\), got \(4, 1\)$"):
        HardNegatives(table, np.zeros((4, 1)), np.zeros((3, 1)))


@given(
    places=st.lists(st.lists(st.integers(ABSENT, 7), min_size=2, max_size=2), min_size=4, max_size=4).map(np.array),
    rows=st.lists(st.integers(0, 3), min_size=1, max_size=6).map(np.array),
    first_length=st.integers(0, 2),
    epoch=st.integers(0, 3),
)
def test_a_single_token_without_a_label_holds_the_place_of_an_absent_hard_negative(places, rows, first_length, epoch):
    table = {**MASKED, "lengths": [first_length, 4, 1, 5]}
    found = hard_source(4, places=places, table=table).draw(rows, epoch)
    filled = hard_source(4, places=np.maximum(places, 0), table=table).draw(rows, epoch)
    absent = [False] * 2 * len(rows) + [place == ABSENT for column in places[rows].T for place in column]
    for row, whole, is_absent in zip(as_lists(found.tokens), as_lists(filled.tokens), absent, strict=True):
        assert row == (whole[: 1 + min(first_length, 1)] if is_absent else whole)  # one stands before
    wanted = [[ABSENT if place == ABSENT else 100 + place + (place > 3) * 96 for place in one] for one in places[rows]]
    assert found.negative_groups[..., 0].tolist() == wanted


def test_an_absent_hard_negative_stands_between_the_special_tokens_of_its_side():
    first, second, table = (source_of(3, second_view=Chain()).second for _side in range(3))
    negatives = HardNegatives(table, np.array([[7], [8], [9]]), np.array([[2], [ABSENT], [0]]))
    batch = PairSource(first, second, np.arange(3)[:, None], 16, 0, hard_negatives=negatives).draw(np.arange(3), 0)
    rows = [batch.tokens.row(place).tolist() for place in (6, 7, 8)]
    assert rows == [[CLS, *[102] * 7, SEP], [CLS, 100, SEP], [CLS, *[100] * 5, SEP]]
    assert batch.negative_groups.tolist() == [[[9]], [[ABSENT]], [[7]]]


def test_an_absent_hard_negative_has_none_of_several_labels():
    (table,) = tables(2)
    negatives = HardNegatives(table, np.array([[4, 5], [6, 7]]), np.array([[1, ABSENT], [ABSENT, 0]]))
    source = PairSource(*tables(2, 2), np.arange(2)[:, None], 16, 0, hard_negatives=negatives)
    batch = source.draw(np.arange(2), 0)
    assert batch.negative_groups.tolist() == [[[6, 7], [ABSENT, ABSENT]], [[ABSENT, ABSENT], [4, 5]]]


def test_a_text_is_seen_in_one_view_whichever_rows_it_stands_against():
    source = hard_source(places=np.array([[3, 3]] * 6), table=MASKED)
    drawn = [source.draw(np.arange(6), epoch).tokens_of(2, 4) for epoch in (0, 1)]
    seen = [{tuple(row.tolist()) for row in map(tokens.row, range(12))} for tokens in drawn]
    assert [len(views) for views in seen] == [1, 1]
    assert seen[0] != seen[1]


@given(start=st.integers(0, 7), data=st.data(), epoch=st.integers(0, 3), paired=st.booleans())
def test_a_part_of_a_data_set_is_drawn_from_as_the_whole_is(start, data, epoch, paired):
    pair = InverseCloze() if paired else None
    rows = np.array(data.draw(st.lists(st.integers(start, 11), min_size=1, max_size=6)))
    whole = source_of(12, pair=pair)
    first, second = (
        type(side)(side.tokens.take(np.arange(start, 12)), side.prefix, side.suffix, side.view)
        for side in (whole.first, whole.second)
    )
    part = PairSource(first, second, whole.groups[start:], 16, 0, pair, first_row=start)
    expected, found = whole.draw(rows, epoch), part.draw(rows - start, epoch)
    assert found.rows.tolist() == expected.rows.tolist() == rows.tolist()
    assert found.groups.tolist() == expected.groups.tolist()
    assert as_lists(found.tokens) == as_lists(expected.tokens)


def test_hard_negatives_are_seen_in_another_view_under_another_seed():
    drawn = [hard_source(table=MASKED, seed=seed).draw(np.arange(6), 0).tokens_of(2, 4) for seed in (0, 0, 1)]
    assert drawn[0].ids.tolist() == drawn[1].ids.tolist() != drawn[2].ids.tolist()


@pytest.mark.parametrize("longer", [0, 1])
def test_either_side_alone_is_refused_if_it_is_of_another_length(longer):
    sides = tables(*[7 if side == longer else 6 for side in range(2)])
    with pytest.raises(ShapeError, match=r"^groups: expected shape \(7, G\), got \(6, 1\)$"):
        PairSource(*sides, np.arange(6)[:, None], 16, 0)


def whole_rows(rows, _rng):
    """A pair view that shows each row on both sides."""
    return rows, rows


def test_what_a_pair_view_made_goes_through_the_view_of_each_side():
    masked, plain = tables(6, view=Mask(MASK, 0.5)), tables(6)

    def hidden(first, second):
        tokens = PairSource(*first, *second, np.arange(6)[:, None], 16, 0, whole_rows).draw(np.arange(6), 0).tokens
        return [
            (row == MASK).tolist() for row in (tokens.ids[: len(tokens.ids) // 2], tokens.ids[len(tokens.ids) // 2 :])
        ]

    for sides, seen in (((masked, plain), [True, False]), ((plain, masked), [False, True])):
        assert [any(side) for side in hidden(*sides)] == seen
    both = hidden(masked, masked)
    assert both[0] != both[1]  # each has numbers of its own


def test_hard_negatives_of_two_parts_are_seen_in_views_of_their_own():
    first, second = (hard_source(table=MASKED, first_row=start).draw(np.arange(6), 0).tokens for start in (0, 6))
    same = [a == b for a, b in zip(as_lists(first), as_lists(second), strict=True)]
    assert sum(same[12:]) < 6


@given(
    places=st.lists(st.lists(st.integers(ABSENT, 7), min_size=2, max_size=2), min_size=4, max_size=4).map(np.array),
    rows=st.lists(st.integers(0, 3), min_size=1, max_size=6).map(np.array),
)
def test_the_guide_s_embeddings_are_those_of_the_texts_on_every_side(places, rows):
    batch = hard_source(4, places=places, guided=True).draw(rows, 0)
    assert batch.guide.dtype == np.float32
    assert len(batch.guide) == len(batch.tokens)
    present = [True] * 2 * len(rows) + [place != ABSENT for column in places[rows].T for place in column]
    for row, found, is_there in zip(map(batch.tokens.row, range(len(batch.tokens))), batch.guide, present, strict=True):
        assert not is_there or [found.tolist()] == guide_of(int(row[1]))
    assert hard_source(4).draw(rows, 0).guide is None


def test_embeddings_of_equal_texts_are_kept_once_and_given_out_in_single_precision(tmp_path):
    np.save(tmp_path / "vectors.npy", np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float16))
    for vectors in (np.load(tmp_path / "vectors.npy", mmap_mode=mode) for mode in (None, "r")):
        found = Lookup(vectors, np.array([1, 0, 1])).take(np.array([2, 1, 0]))
        assert found.tolist() == [[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]
        assert (found.dtype, type(found)) == (np.float32, np.ndarray)


def test_the_share_of_the_run_that_is_done_reaches_the_views_of_all_sides():
    source = hard_source(table={"view": Mask(MASK, Ramp(0.0, 0.9))})
    shares = [
        [(source.draw(np.arange(6), 0, progress).tokens_of(side, side + 1).ids == MASK).mean() for side in range(4)]
        for progress in (0.0, 0.5, 1.0)
    ]
    for begin, middle, end in zip(*shares, strict=True):
        assert begin == 0 < middle < end
    batch, views = source.draw(np.arange(6), 0), source.draw_views(np.arange(6), 0)
    assert not any((tokens.ids == MASK).any() for tokens in (batch.tokens, *views))  # not told: at its start


def test_the_kinds_of_labels_are_told():
    assert hard_source(kinds=("text",)).draw(np.arange(2), 0).kinds == ("text",)
    assert hard_source().draw(np.arange(2), 0).kinds is None


def test_hard_negatives_beside_a_pair_view_are_refused():
    with pytest.raises(ConfigError) as caught:
        hard_source(pair=InverseCloze())
    told = "hard_negatives: a pair view makes both sides of one text; it has none of these"
    assert str(caught.value) == told
