from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.losses.rows import gaussian_rows
from textcl.errors import ConfigError, ShapeError
from textcl.losses import FalseNegatives

SETTINGS = st.sampled_from(
    [(0.3, None), (-0.4, None), (1.0, None), (None, 0.2), (None, 0.0), (None, -0.3), (0.6, 0.1), (0.2, -0.8)]
)
# Unit vectors whose cosines float32 has exactly: HALF's with FIRST is 0.5.
FIRST, SECOND, HALF = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]
THIRD, FOURTH = [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]
NEITHER = [0.0, 0.0, 1.0, -1.0]  # at right angles to all of FIRST, SECOND and HALF


def drawn_rows(data, seed, *counts):
    """Rows of width 3, some of them zeros."""
    matrices = gaussian_rows(seed, *counts, width=3)
    for matrix in matrices:
        for row in data.draw(st.lists(st.integers(0, max(0, len(matrix) - 1)), max_size=2)):
            matrix[row : row + 1] = 0
    return matrices


@given(batch=st.integers(1, 6), settings=SETTINGS, seed=st.integers(0, 2**31), data=st.data())
def test_the_rows_taken_for_the_same_match_the_definition(batch, settings, seed, data):
    anchor, positive = drawn_rows(data, seed, batch, batch)
    found = FalseNegatives(*settings).same_rows(anchor, positive)
    assert found.dtype == torch.bool
    assert found.tolist() == oracles.same_rows(anchor.tolist(), positive.tolist(), *settings)
    assert torch.equal(found, found.T)
    assert found.diagonal().all()
    order = data.draw(st.permutations(range(batch)))
    permuted = FalseNegatives(*settings).same_rows(anchor[order], positive[order])
    assert torch.equal(permuted, found[order][:, order])


@given(batch=st.integers(1, 5), extra=st.integers(0, 6), settings=SETTINGS, seed=st.integers(0, 2**31), data=st.data())
def test_the_candidates_taken_for_the_same_match_the_definition(batch, extra, settings, seed, data):
    matrices = drawn_rows(data, seed, batch, batch, extra)
    found = FalseNegatives(*settings).same_candidates(*matrices)
    assert found.shape == (batch, extra)
    assert found.dtype == torch.bool
    assert found.tolist() == oracles.same_candidates(*(matrix.tolist() for matrix in matrices), *settings)


@pytest.mark.parametrize("place", range(4))
def test_any_of_the_four_cosines_of_two_rows_suffices(place):
    texts = [FIRST, SECOND, THIRD, FOURTH]  # anchors of rows 0 and 1, then their positives
    texts[(1, 3, 2, 3)[place]] = texts[(0, 0, 1, 2)[place]]
    anchor, positive = torch.tensor(texts[:2]), torch.tensor(texts[2:])
    assert FalseNegatives(above=0.9).same_rows(anchor, positive).all()


def test_a_cosine_at_the_threshold_is_not_above_it():
    first, half, neither = torch.tensor([FIRST]), torch.tensor([HALF]), torch.tensor([NEITHER])
    for above, expected in ((0.5, False), (0.4999, True)):
        judge = FalseNegatives(above=above)
        for one, other in ((first, half), (half, first)):
            anchors = judge.same_rows(torch.cat([one, other]), torch.zeros(2, 4))
            positives = judge.same_rows(torch.zeros(2, 4), torch.cat([one, other]))
            across = judge.same_rows(torch.cat([one, 0 * one]), torch.cat([0 * other, other]))
            assert [same[0, 1].item() for same in (anchors, positives, across)] == [expected] * 3
            assert judge.same_candidates(one, neither, other).tolist() == [[expected]]
            assert judge.same_candidates(neither, one, other).tolist() == [[expected]]


def test_a_cosine_at_the_own_positive_s_less_the_margin_is_not_above_it():
    rows = torch.tensor([FIRST, HALF])  # each its own positive, of cosine 1; 0.5 across
    for margin, expected in ((0.5, False), (0.5001, True)):
        judge = FalseNegatives(margin=margin)
        assert judge.same_rows(rows, rows)[0, 1].item() is expected
        assert judge.same_candidates(rows[:1], rows[:1], rows[1:]).tolist() == [[expected]]
        assert judge.same_candidates(rows[:1], rows[:1], rows).tolist() == [[True, expected]]


def test_the_margin_of_candidates_is_of_the_anchor_alone():
    first, second = torch.tensor([FIRST]), torch.tensor([SECOND])
    judge = FalseNegatives(margin=0.0)  # the own cosine is 0
    assert judge.same_candidates(first, second, torch.tensor([HALF])).all()
    assert not judge.same_candidates(first, second, second).any()


def test_zeros_are_never_the_same_as_another_row_whatever_the_settings():
    rows, zeros = torch.tensor([FIRST, FIRST]), torch.zeros(2, 4)
    for judge in (FalseNegatives(above=-0.9), FalseNegatives(margin=1.0), FalseNegatives(-0.9, 1.0)):
        assert judge.same_rows(zeros, zeros).tolist() == torch.eye(2, dtype=torch.bool).tolist()
        assert not judge.same_candidates(zeros, zeros, rows).any()
        assert not judge.same_candidates(rows, rows, zeros).any()
        assert judge.same_candidates(rows, rows, rows).all()  # the same settings do take what is not zeros
    across = (torch.cat([rows[:1], zeros[:1]]), torch.cat([zeros[:1], rows[:1]]))
    assert FalseNegatives(above=0.9).same_rows(*across).all()  # the other texts of such a row count
    assert not FalseNegatives(margin=1.0).same_rows(*across)[0, 1]  # it has no own cosine


def test_one_is_above_all_cosines_whatever_the_rounding():
    (rows,) = gaussian_rows(1, 64)
    rows = rows.float()
    unit = torch.nn.functional.normalize(rows, dim=-1)
    assert (unit @ unit.T).max() > 1
    judge = FalseNegatives(above=1.0)
    assert torch.equal(judge.same_rows(rows, rows), torch.eye(64, dtype=torch.bool))
    assert not judge.same_candidates(rows, rows, rows).any()


def test_the_length_of_a_row_changes_nothing():
    rows = gaussian_rows(2, 6, 6, 5)
    for judge in (FalseNegatives(above=0.2), FalseNegatives(margin=0.3)):
        scaled = [matrix * torch.arange(1, len(matrix) + 1)[:, None] for matrix in rows]
        assert torch.equal(judge.same_rows(*scaled[:2]), judge.same_rows(*rows[:2]))
        assert torch.equal(judge.same_candidates(*scaled), judge.same_candidates(*rows))


def test_every_option_matters():
    rows = gaussian_rows(3, 12, 12, 12)
    settings = [(0.2, None), (0.4, None), (None, 0.2), (None, 0.0), (None, -0.2), (0.4, -0.2)]
    judges = [FalseNegatives(*chosen) for chosen in settings]
    of_rows = [judge.same_rows(*rows[:2]) for judge in judges]
    of_candidates = [judge.same_candidates(*rows) for judge in judges]
    for found in (of_rows, of_candidates):
        assert len({str(mask.tolist()) for mask in found}) == len(settings)
        assert torch.equal(found[5], found[1] | found[4])  # either suffices


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_and_autocast_does_not_round(dtype):
    rows = [matrix.to(dtype) for matrix in gaussian_rows(4, 40, 40, 40)]
    wide = [matrix.double() for matrix in rows]
    for judge in (FalseNegatives(above=0.3), FalseNegatives(margin=0.1)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = judge.same_rows(*rows[:2]), judge.same_candidates(*rows)
        assert torch.equal(found[0], judge.same_rows(*wide[:2]))
        assert torch.equal(found[1], judge.same_candidates(*wide))


def test_nothing_is_kept_for_a_gradient():
    saved = []
    rows = [matrix.requires_grad_() for matrix in gaussian_rows(4, 5, 5, 3)]
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda tensor: tensor):
        FalseNegatives(0.3, 0.1).same_rows(*rows[:2])
        FalseNegatives(0.3, 0.1).same_candidates(*rows)
    assert not saved


def test_the_settings_stay():
    judge = FalseNegatives(above=0.9)
    assert judge == FalseNegatives(0.9, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        judge.above = 0.5


ABOVE, MARGIN = r"^above: expected a cosine in \(-1, 1\], got ", r"^margin: expected a number in \[-1, 1\], got "


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((), r"^above: set above, margin or both; with neither nothing is taken for the same$"),
        ((-1.0,), ABOVE + r"-1\.0$"),
        ((1.01,), ABOVE + r"1\.01$"),
        ((math.nan, 0.1), ABOVE + "nan$"),
        ((None, -1.01), MARGIN + r"-1\.01$"),
        ((0.5, 1.01), MARGIN + r"1\.01$"),
        ((None, math.nan), MARGIN + "nan$"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        FalseNegatives(*settings)


def test_the_ends_of_the_ranges_are_in_them():
    for settings in ((1.0, None), (math.nextafter(-1, 0), None), (None, -1.0), (None, 1.0)):
        FalseNegatives(*settings)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3,), (3,)], r"^anchor: expected shape \(B, D\), B at least 1, got \(3,\)$"),
        ([(2, 3), (3, 3)], r"^positive: expected shape \(2, 3\), as the anchor has, got \(3, 3\)$"),
        ([(2, 3), (2, 3), (5, 4)], r"^candidates: expected shape \(K, 3\), got \(5, 4\)$"),
        ([(2, 3), (2, 3), (3,)], r"^candidates: expected shape \(K, 3\), got \(3,\)$"),
    ],
)
def test_shapes_that_do_not_fit_are_named(shapes, message):
    rows = [torch.ones(shape) for shape in shapes]
    judge = FalseNegatives(above=0.5)
    with pytest.raises(ShapeError, match=message):
        judge.same_candidates(*rows, *([torch.ones(1, 3)] if len(rows) == 2 else []))
    if len(rows) == 2:
        with pytest.raises(ShapeError, match=message):
            judge.same_rows(*rows)
