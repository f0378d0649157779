from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from textcl.errors import ShapeError
from textcl.losses import FalseNegatives
from textcl.methods.masks import GROUP, SIMILARITY, Masker, Masks, Past
from textcl.methods.method import ABSENT, GUIDE, GatheredBatch

SETTINGS = st.sampled_from([None, (0.5, None), (-0.2, None), (None, 0.1), (None, -0.5), (0.7, -0.2)])
KINDS = st.sampled_from(["text", "near_duplicate", GROUP])


def gaussian(seed, *counts, width=3, dtype=torch.float64):
    """Matrices of so many rows each; more of them change none of those before."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, width, generator=generator, dtype=torch.float64).to(dtype) for count in counts]


@st.composite
def situations(draw):
    """A batch with hard negatives and past keys, some of which are not there, and what a Masker is made of."""
    rows, columns, past = draw(st.integers(1, 5)), draw(st.integers(0, 2)), draw(st.none() | st.integers(1, 6))
    kinds = draw(st.lists(KINDS, min_size=1, max_size=4))
    width = draw(st.integers(1, 2))

    def labels(count, columns, empty=False):
        row = st.lists(st.integers(0, draw(st.sampled_from([9, 40]))), min_size=columns, max_size=columns)
        row = st.just([ABSENT] * columns) | row if empty else row
        return draw(st.lists(row, min_size=count, max_size=count))

    return {
        "groups": labels(rows, len(kinds)),
        "hard": [labels(rows, width, empty=True) for _column in range(columns)],  # H, N, F
        "past": None if past is None else labels(past, len(kinds), empty=True),
        "kinds": tuple(kinds),
        "settings": draw(SETTINGS),
        "guided": draw(st.booleans()),
        "group_positives": draw(st.booleans()),
        "width": width,
        "seed": draw(st.integers(0, 2**31)),
    }


def parts_of(case):
    """What is given to a Masker: its settings, a batch, embeddings of all sides, and past keys."""
    rows, columns, past = len(case["groups"]), len(case["hard"]), case["past"]
    sides = gaussian(case["seed"], *[rows] * (2 + columns))
    guides = gaussian(case["seed"] + 1, *[rows] * (2 + columns), width=4, dtype=torch.float32)
    hard = torch.tensor(case["hard"], dtype=torch.int64).reshape(columns, rows, case["width"]).transpose(0, 1)
    fixed = {"key": (), **({GUIDE: tuple(guides)} if case["guided"] else {})}
    groups = torch.tensor(case["groups"])
    batch = GatheredBatch(tuple(sides), fixed, groups, hard, case["kinds"])
    earlier = None
    if past is not None:
        empty = torch.tensor([row[0] == ABSENT for row in past])
        # As a queue has them, which a method in double precision has widened.
        keys, guide = (rows.masked_fill(empty[:, None], 0.0) for rows in _past_rows(case))
        earlier = Past(keys, torch.tensor(past), empty, guide if case["guided"] else guide[:, :0])
    judge = None if case["settings"] is None else FalseNegatives(*case["settings"])
    return Masker(judge, case["group_positives"]), batch, sides, earlier


def _past_rows(case):
    count = len(case["past"])
    return gaussian(case["seed"] + 2, count)[0], gaussian(case["seed"] + 3, count, width=4)[0]


def is_shared(kinds, kind, own, other, all_columns):
    """Whether a row's labels of a kind are among another's of that kind, or among all of a hard negative's."""
    mine = [label for label, one in zip(own, kinds, strict=True) if one == kind]
    theirs = other if all_columns else [label for label, one in zip(other, kinds, strict=True) if one == kind]
    return oracles.share_a_label(mine, theirs)


def expected_masks(case, batch, sides, past):
    """`same`, `same_negatives`, positives and diagnostics, candidate by candidate."""
    rows, kinds = range(len(case["groups"])), case["kinds"]
    seen = [side.tolist() for side in (batch.fixed[GUIDE] if case["guided"] else sides)]
    old = [] if past is None else (past.guide if case["guided"] else past.keys).tolist()
    candidates = [(labels, False) for labels in case["groups"]]
    candidates += [(labels, True) for column in case["hard"] for labels in column]
    candidates += [(labels, False) for labels in case["past"] or []]
    reasons = list(dict.fromkeys(kinds))
    if case["settings"] is not None:
        near = oracles.same_rows(*seen[:2], *case["settings"])
        more = [row for side in seen[2:] for row in side] + old
        near_candidates = oracles.same_candidates(*seen[:2], more, *case["settings"])
        reasons.append(SIMILARITY)
    masked, counts, there = [[] for _row in rows], dict.fromkeys(reasons, 0), 0
    for i in rows:
        for place, (labels, is_hard) in enumerate(candidates):
            if place == i or labels[0] == ABSENT:
                masked[i].append(True)
                continue
            there += 1
            found = [kind for kind in reasons if kind != SIMILARITY]
            found = [kind for kind in found if is_shared(kinds, kind, case["groups"][i], labels, is_hard)]
            if case["settings"] is not None and [*near[i], *near_candidates[i]][place]:
                found.append(SIMILARITY)
            masked[i].append(bool(found))
            if found:
                counts[found[0]] += 1
    positives = None
    if case["group_positives"] and GROUP in kinds:
        positives = [[is_shared(kinds, GROUP, *pair, False) for pair in _with_all(case["groups"], i)] for i in rows]
    shares = {f"masked_{kind}_fraction": count / max(there, 1) for kind, count in counts.items()}
    return masked, positives, {"masked_fraction": sum(counts.values()) / max(there, 1), **shares}


def _with_all(groups, i):
    return [(groups[i], other) for other in groups]


@given(situations())
def test_masks_match_the_definition(case):
    masker, batch, sides, past = parts_of(case)
    masks = masker(batch, *sides[:2], sides[2:], past)
    masked, positives, shares = expected_masks(case, batch, sides, past)
    rows = len(sides[0])
    assert masks.same.tolist() == [row[:rows] for row in masked]
    beyond = [row[rows:] for row in masked]
    assert (None if masks.same_negatives is None else masks.same_negatives.tolist()) == (beyond if beyond[0] else None)
    assert (None if masks.positives is None else masks.positives.tolist()) == positives
    found = {name: value.item() for name, value in masks.diagnostics.items()}
    assert list(found) == list(shares)
    assert found == pytest.approx(shares)
    assert sum(list(found.values())[1:]) == pytest.approx(found["masked_fraction"])


def one_case(**more):
    """Three rows that share nothing."""
    plain = {"groups": [[0, 10], [1, 11], [2, 12]], "hard": [], "past": None, "kinds": ("text", GROUP)}
    rest = {"settings": None, "guided": False, "group_positives": False, "width": 1, "seed": 0}
    return {**plain, **rest, **more}


def masks_of(**more):
    masker, batch, sides, past = parts_of(one_case(**more))
    return masker(batch, *sides[:2], sides[2:], past)


def numbers(masks):
    return {name: round(value.item(), 6) for name, value in masks.diagnostics.items()}


def test_a_candidate_that_two_reasons_mask_counts_for_the_first():
    # Rows 0 and 1 share both labels, rows 1 and 2 the group alone; each pair is two of the six candidates.
    found = numbers(masks_of(groups=[[0, 10], [0, 10], [2, 10]]))
    both = {"masked_fraction": 1.0, "masked_text_fraction": 0.333333, "masked_group_fraction": 0.666667}
    assert found == both
    turned = numbers(masks_of(groups=[[10, 0], [10, 0], [10, 2]], kinds=(GROUP, "text")))
    assert turned == {"masked_fraction": 1.0, "masked_group_fraction": 1.0, "masked_text_fraction": 0.0}
    similar = numbers(masks_of(groups=[[0, 10], [0, 10], [2, 12]], settings=(-0.999999, None)))
    wanted = {"masked_text_fraction": 0.333333, "masked_group_fraction": 0.0, "masked_similarity_fraction": 0.666667}
    assert similar == {"masked_fraction": 1.0, **wanted}


def test_what_is_not_there_counts_nowhere_and_is_nobody_s_negative():
    masks = masks_of(hard=[[[1], [ABSENT], [8]]], past=[[ABSENT, ABSENT], [2, 13]], settings=(1.0, None))
    # Column of hard negatives, then the past: row 1 has the label of the first, row 2 that of the last.
    assert masks.same_negatives.tolist() == [
        [False, True, False, True, False],
        [True, True, False, True, False],
        [False, True, False, True, True],
    ]
    # 6 rows, 2 hard negatives and 1 key for each of 3 rows: 15 candidates.
    assert numbers(masks)["masked_fraction"] == numbers(masks)["masked_text_fraction"] == round(2 / 15, 6)


def test_a_row_alone_has_no_candidates_and_no_share_of_them():
    masks = masks_of(groups=[[0, 10]], hard=[[[ABSENT]]])
    assert numbers(masks) == {"masked_fraction": 0.0, "masked_text_fraction": 0.0, "masked_group_fraction": 0.0}
    assert (masks.same.tolist(), masks.same_negatives.tolist()) == ([[True]], [[True]])


def test_the_share_of_a_single_candidate_is_all_or_nothing():
    for label, share in ((10, 1.0), (11, 0.0)):
        found = numbers(masks_of(groups=[[0, 10]], hard=[[[label]]]))
        assert found == {"masked_fraction": share, "masked_text_fraction": 0.0, "masked_group_fraction": share}


def test_labels_of_different_kinds_are_not_compared():
    assert masks_of(groups=[[0, 1], [1, 0], [5, 1]]).same.tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]


def test_any_label_of_a_hard_negative_masks_it():
    masks = masks_of(hard=[[[20, 21], [22, 11], [0, 23]]], width=2)
    assert masks.same_negatives.tolist() == [[False, False, True], [False, True, False], [False] * 3]


def test_positives_are_those_of_one_group_where_that_was_asked_for():
    groups = [[0, 10], [0, 11], [2, 10]]
    assert masks_of(groups=groups).positives is None
    assert masks_of(groups=groups, kinds=("text", "text"), group_positives=True).positives is None
    _masker, batch, sides, _past = parts_of(one_case(groups=groups))
    assert Masker()(batch, *sides).positives is None
    positives = masks_of(groups=groups, group_positives=True, hard=[[[3]] * 3]).positives
    assert positives.tolist() == [[True, False, True], [False, True, False], [True, False, True]]


def test_masks_without_a_word_have_no_positives_and_no_numbers():
    masks = Masks(torch.eye(2, dtype=torch.bool), None)
    assert (masks.positives, masks.diagnostics) == (None, {})


@pytest.mark.parametrize("width", [1, 3])
def test_past_labels_of_another_width_are_refused(width):
    with pytest.raises(ShapeError) as caught:
        masks_of(past=[[5] * width] * 4)
    assert str(caught.value) == f"groups: expected shape (3, {width}), got (3, 2)"
