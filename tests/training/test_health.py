from __future__ import annotations

import itertools
import math
from dataclasses import fields

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.oracles import cosine
from textcl.errors import ConfigError, ShapeError
from textcl.training.health import Limits, find_faults, measure_health, message

SHAPES = {"pairs": st.integers(2, 7), "width": st.integers(1, 6), "seed": st.integers(0, 2**31)}
ADVICE = "lower training.learning_rate or raise method.temperature"


def drawn_pairs(pairs, width, seed, noise=0.5, common=0.0):
    """Two views of `pairs` contents: Gaussian rows off a common direction, the second with noise."""
    generator = torch.Generator().manual_seed(seed)
    contents, noises = torch.randn(2, pairs, width, dtype=torch.float64, generator=generator)
    contents[:, 0] += common * width**0.5
    return contents, contents + noise * noises


def unit(row):
    length = math.sqrt(sum(value * value for value in row))
    return [value / length for value in row]


def squared_distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(unit(one), unit(other), strict=True))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def centred(rows):
    middle = [mean(column) for column in zip(*rows, strict=True)]
    return [[value - centre for value, centre in zip(row, middle, strict=True)] for row in rows]


def singular_values(rows):
    """One-sided Jacobi: turn pairs of columns until all are at right angles; what is left of them are the values."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    for _sweep in range(30):
        for first, second in itertools.combinations(columns, 2):
            product = sum(a * b for a, b in zip(first, second, strict=True))
            difference = sum(b * b for b in second) - sum(a * a for a in first)
            angle = 0.5 * math.atan2(2 * product, -difference)
            for place, (a, b) in enumerate(zip(first, second, strict=True)):
                first[place] = math.cos(angle) * a + math.sin(angle) * b
                second[place] = math.cos(angle) * b - math.sin(angle) * a
    return [math.sqrt(sum(value * value for value in column)) for column in columns]


def effective_rank(rows):
    values = [value for value in singular_values(centred([unit(row) for row in rows])) if value > 1e-6]
    shares = [value / sum(values) for value in values]
    return math.exp(-sum(share * math.log(share) for share in shares)) if shares else 0.0


def spread(rows):
    columns = zip(*centred([unit(row) for row in rows]), strict=True)
    return mean(math.sqrt(mean(value * value for value in column)) for column in columns) * math.sqrt(len(rows[0]))


def info_nce(first, second):
    total = 0.0
    for place, row in enumerate(first):
        logits = [cosine(row, other) / 0.05 for other in second]
        total += math.log(sum(math.exp(logit - logits[place]) for logit in logits))
    return total / len(first)


def health(first, second):
    """Every quantity by its definition."""
    places = list(itertools.permutations(range(len(first)), 2))
    own = mean(cosine(one, other) for one, other in zip(first, second, strict=True))
    return {
        "alignment": mean(squared_distance(one, other) for one, other in zip(first, second, strict=True)),
        "uniformity": math.log(mean(math.exp(-2 * squared_distance(first[i], first[j])) for i, j in places)),
        "effective_rank": effective_rank(first),
        "spread": spread(first),
        "mean_cosine": mean(cosine(first[i], first[j]) for i, j in places),
        "gap": own - mean(cosine(first[i], second[j]) for i, j in places),
        "info_nce": info_nce(first, second),
    }


@given(**SHAPES, common=st.sampled_from([0.0, 3.0]))
def test_every_quantity_is_its_definition(pairs, width, seed, common):
    first, second = drawn_pairs(pairs, width, seed, common=common)
    found = measure_health(first, second)
    assert found == pytest.approx(health(first.tolist(), second.tolist()), rel=1e-8, abs=1e-10)
    assert all(type(value) is float for value in found.values())


def test_float32_is_widened_first():
    first, second = (side.float() for side in drawn_pairs(50, 8, 0))
    assert measure_health(first, second) == measure_health(first.double(), second.double())
    assert measure_health(first.half(), second.half())["gap"] == pytest.approx(
        measure_health(first, second)["gap"], abs=1e-3
    )


def test_embeddings_that_want_a_gradient_are_measured_and_left_as_they_are():
    first, second = drawn_pairs(4, 3, 0)
    before, expected = first.tolist(), measure_health(first, second)
    assert measure_health(first.requires_grad_(), second) == expected
    assert first.grad is None
    assert first.tolist() == before


@given(**SHAPES)
def test_the_order_of_the_pairs_changes_nothing(pairs, width, seed):
    first, second = drawn_pairs(pairs, width, seed)
    order = torch.randperm(pairs, generator=torch.Generator().manual_seed(seed))
    assert measure_health(first[order], second[order]) == pytest.approx(measure_health(first, second), abs=1e-9)


@given(**SHAPES)
def test_the_length_of_a_row_changes_nothing(pairs, width, seed):
    first, second = drawn_pairs(pairs, width, seed)
    lengths = torch.logspace(-200, 200, pairs, dtype=torch.float64)[:, None]
    scaled = measure_health(first * lengths, second / lengths)
    assert scaled == pytest.approx(measure_health(first, second), abs=1e-9)


@given(**SHAPES)
def test_a_rotation_changes_the_spread_alone(pairs, width, seed):
    first, second = drawn_pairs(pairs, width, seed)
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=generator)).Q
    turned = measure_health(first @ turn, second @ turn)
    still = measure_health(first, second)
    del turned["spread"], still["spread"]
    assert turned == pytest.approx(still, abs=1e-9)


ELEMENTS = st.sampled_from([0.0, 0.0, 1.0, -1.0, 0.5, 1e300, -1e308, 1e-300, 5e-324])


@given(
    arrays.arrays("float64", arrays.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6), elements=ELEMENTS),
    st.booleans(),
)
@example(torch.zeros(2, 3).numpy(), False)
@example(torch.ones(5, 3).numpy(), False)
def test_finite_embeddings_have_a_finite_health_within_its_range(rows, turned):
    first = torch.from_numpy(rows)
    found = measure_health(first, -first if turned else first)
    assert all(math.isfinite(value) for value in found.values())
    assert 0 <= found["alignment"] <= 4 + 1e-12
    assert -8 <= found["uniformity"] <= 1e-12
    assert found["effective_rank"] == 0 or 1 <= found["effective_rank"] <= min(len(rows) - 1, rows.shape[1]) + 1e-9
    assert 0 <= found["spread"] <= 1 + 1e-12
    assert -1 - 1e-12 <= found["mean_cosine"] <= 1
    assert -2 - 1e-12 <= found["gap"] <= 2 + 1e-12


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_one_number_that_is_not_finite_leaves_no_quantity(odd, side):
    sides = drawn_pairs(5, 4, 0)
    names = list(measure_health(*sides))
    sides[side][3, 2] = odd
    found = measure_health(*sides)
    assert list(found) == names
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("row", [[0.3, -0.7, 0.1], [0.1, 0.1, 0.1]])
@pytest.mark.parametrize("pairs", [2, 100])
def test_equal_rows_are_one_point(row, pairs):
    rows = torch.tensor([row] * pairs)
    assert measure_health(rows, rows) == pytest.approx(
        {
            "alignment": 0.0, "uniformity": 0.0, "effective_rank": 0.0, "spread": 0.0,
            "mean_cosine": 1.0, "gap": 0.0, "info_nce": math.log(pairs),
        },
        abs=1e-9,
    )  # fmt: skip


def test_differences_of_float32s_own_rounding_are_no_dimension():
    rows = 1 + 1e-7 * drawn_pairs(100, 16, 0)[0]
    assert measure_health(rows, rows)["effective_rank"] == 0.0
    rows = 1 + 1e-4 * drawn_pairs(100, 16, 0)[0]
    assert measure_health(rows, rows)["effective_rank"] > 10


def test_even_rows_have_a_spread_near_one_and_every_dimension():
    found = measure_health(*drawn_pairs(2000, 16, 0))
    assert found["spread"] == pytest.approx(1, abs=0.01)
    assert found["effective_rank"] == pytest.approx(16, abs=0.1)
    assert found["mean_cosine"] == pytest.approx(0, abs=0.01)


def test_a_direction_that_all_rows_share_is_no_loss_of_rank():
    even, narrow = (measure_health(*drawn_pairs(500, 16, 0, common=common)) for common in (0.0, 10.0))
    assert narrow["mean_cosine"] > 0.98
    assert narrow["effective_rank"] == pytest.approx(15, abs=0.3)  # none but the shared one is missing
    assert even["effective_rank"] == pytest.approx(16, abs=0.2)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ((1, 3), (1, 3), r"first: expected shape \(P, D\), P at least 2 and D at least 1, got \(1, 3\)"),
        ((4,), (4,), r"first: expected shape \(P, D\), P at least 2 and D at least 1, got \(4,\)"),
        ((2, 0), (2, 0), r"first: expected shape \(P, D\), P at least 2 and D at least 1, got \(2, 0\)"),
        ((4, 3), (3, 3), r"second: expected shape \(4, 3\), as first has, got \(3, 3\)"),
    ],
)
def test_shapes_that_are_no_pairs_are_refused(first, second, text):
    with pytest.raises(ShapeError, match=f"^{text}$"):
        measure_health(torch.ones(first), torch.ones(second))


# --- faults -------------------------------------------------------------------------------------------------------

WORDS = {
    "rank": "the embeddings collapse to few dimensions: effective rank ",
    "spread": "the embeddings collapse to one point: spread ",
    "cosine": "the embeddings point one way: mean cosine ",
    "gap": "pairs are hardly nearer than other texts: gap ",
}
BEGIN = {
    "alignment": 0.4, "uniformity": -3.0, "effective_rank": 182.4, "spread": 0.9,
    "mean_cosine": 0.2, "gap": 0.6, "info_nce": 0.1,
}  # fmt: skip


def kinds(faults):
    """Which faults they are; every one is one of ours."""
    found = [kind for kind, words in WORDS.items() for fault in faults if fault.startswith(words)]
    assert len(found) == len(faults)
    return set(found)


def faults_of(now, begin, limits=None):
    return kinds(find_faults(measure_health(*now), measure_health(*begin), limits or Limits()))


@given(seed=st.integers(0, 1000), pairs=st.sampled_from([64, 256]), width=st.sampled_from([32, 128]))
def test_a_run_that_learns_is_silent(seed, pairs, width):
    # From a narrow cone with pairs hardly nearer than other texts, as an untrained encoder has, to an even sphere.
    course = [(6.0, 6.0), (6.0, 4.0), (3.0, 3.0), (1.0, 1.5), (0.5, 1.0), (0.2, 0.5), (0.3, 0.3)]
    begin = drawn_pairs(pairs, width, seed, *reversed(course[0]))
    for common, noise in course:
        assert faults_of(drawn_pairs(pairs, width, seed, noise, common), begin) == set()


@given(seed=st.integers(0, 1000))
def test_a_good_encoder_that_is_tuned_is_silent(seed):
    begin = drawn_pairs(256, 64, seed, noise=0.6, common=0.2)
    for noise, common in [(0.6, 0.2), (0.5, 0.4), (0.4, 0.6), (0.8, 0.1)]:
        assert faults_of(drawn_pairs(256, 64, seed, noise, common), begin) == set()


@given(seed=st.integers(0, 1000), noise=st.sampled_from([0.3, 6.0, 100.0]), common=st.sampled_from([0.0, 1.0, 6.0]))
def test_rows_that_run_to_one_point_are_found_wherever_they_began(seed, noise, common):
    begin = drawn_pairs(128, 64, seed, noise, common)
    gone = [side + 1000 for side in begin]
    assert "spread" in faults_of(gone, begin)
    assert ("cosine" in faults_of(gone, begin)) == (common < 6)  # 0.97 was there before
    equal = [torch.ones_like(side) for side in begin]
    assert faults_of(equal, begin) >= {"rank", "spread"}


@given(seed=st.integers(0, 1000), kept=st.integers(1, 12))
def test_rows_in_a_few_dimensions_are_found(seed, kept):
    begin = drawn_pairs(128, 64, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    onto = torch.randn(64, kept, dtype=torch.float64, generator=generator)
    turn = torch.randn(kept, 64, dtype=torch.float64, generator=generator)
    assert faults_of([side @ onto @ turn for side in begin], begin) == {"rank"}


@given(seed=st.integers(0, 1000), common=st.sampled_from([0.0, 1.0, 6.0]))
def test_pairs_that_are_no_nearer_than_other_texts_are_found(seed, common):
    first, second = drawn_pairs(256, 64, seed, 0.5, common)
    assert faults_of((first, second.roll(1, dims=0)), (first, second)) == {"gap"}


def test_a_second_side_that_collapses_alone_is_found():
    first, second = drawn_pairs(128, 64, 0)
    assert faults_of((first, torch.ones_like(second)), (first, second)) == {"gap"}


def test_the_same_embedding_for_every_text_is_a_fault_at_the_begin_too():
    rows = torch.full((16, 8), 0.3)
    assert faults_of((rows, rows), (rows, rows)) == {"rank"}


@pytest.mark.parametrize(
    ("name", "limit", "kind"),
    [
        ("effective_rank", 91.2, "rank"),
        ("spread", 0.45, "spread"),
        ("gap", 0.15, "gap"),
        ("mean_cosine", 0.9, "cosine"),
    ],
)
def test_each_quantity_is_judged_by_its_own_limit(name, limit, kind):
    worse = 1e-6 if name == "mean_cosine" else -1e-6
    assert find_faults({**BEGIN, name: limit - worse}, BEGIN, Limits()) == []
    assert kinds(find_faults({**BEGIN, name: limit + worse}, BEGIN, Limits())) == {kind}
    field = "most_cosine" if kind == "cosine" else f"least_{kind}"
    other = {"rank": 0.4, "spread": 0.4, "gap": 0.2, "cosine": 0.95}[kind]
    assert find_faults({**BEGIN, name: limit + worse}, BEGIN, Limits(**{field: other})) == []


def test_a_mean_cosine_that_was_high_before_is_no_fault():
    def found(before, now):
        return find_faults({**BEGIN, "mean_cosine": now}, {**BEGIN, "mean_cosine": before}, Limits())

    assert found(0.86, 0.95) == []
    assert kinds(found(0.84, 0.95)) == {"cosine"}


def test_a_gap_near_zero_at_the_begin_must_not_fall_by_more_than_noise():
    def fault(before, now, cosine_now=0.2, limits=None):
        begin, later = {**BEGIN, "gap": before}, {**BEGIN, "gap": now, "mean_cosine": cosine_now}
        return kinds(find_faults(later, begin, limits or Limits()))

    # 0.75 * 0.05 * (1 - 0.2) = 0.03 is what a gap may lose that was no more than noise.
    for before in (-0.1, 0.0, 0.02):
        assert fault(before, before - 0.029) == set()
        assert fault(before, before - 0.031) == {"gap"}
    # The room is the larger of the two: a cone that opens may move a tiny gap by more, one that closes by no less.
    assert fault(0.0, -0.037, cosine_now=0.0) == set()
    assert fault(0.0, -0.029, cosine_now=0.3) == set()
    assert fault(0.0, -0.011, limits=Limits(least_gap=0.75)) == {"gap"}


def test_a_cone_too_narrow_for_more_may_begin_with_a_gap_that_is_small_and_real():
    begin = {**BEGIN, "mean_cosine": 0.95, "gap": 0.02}
    assert kinds(find_faults({**begin, "gap": 0.004}, begin, Limits())) == {"gap"}
    assert find_faults({**begin, "gap": 0.006}, begin, Limits()) == []


def test_numbers_that_are_not_finite_are_a_fault_of_their_own():
    gone = dict.fromkeys(BEGIN, math.nan)
    assert find_faults(gone, BEGIN, Limits()) == ["some embeddings are no finite numbers"]
    assert find_faults(gone, gone, Limits()) == ["some embeddings are no finite numbers"]
    (fault,) = find_faults(BEGIN, gone, Limits())
    assert fault == "some embeddings were no finite numbers at the begin, so that there is nothing to judge by"


def test_what_others_measured_beside_it_is_left_alone():
    assert find_faults({**BEGIN, "queue_age_steps": math.nan}, BEGIN, Limits()) == []


def test_zero_turns_a_share_off_but_for_equal_rows():
    off = Limits(least_rank=0, least_spread=0, least_gap=0, most_cosine=1)
    one_point = measure_health(*[torch.full((9, 7), 0.3)] * 2)
    assert kinds(find_faults(one_point, BEGIN, off)) == {"rank"}
    assert find_faults({**one_point, "effective_rank": 1.0}, BEGIN, off) == []


def test_the_limits_are_the_ones_that_are_documented():
    assert Limits() == Limits(least_rank=0.5, least_spread=0.5, least_gap=0.25, most_cosine=0.9)


@pytest.mark.parametrize("field", [field.name for field in fields(Limits)])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_limit_outside_its_range_is_refused(field, value):
    with pytest.raises(ConfigError, match=rf"^{field}: expected a number in \[0, 1\], got {value}$"):
        Limits(**{field: value})


def test_the_message_says_what_was_seen_and_what_to_change():
    now = {**BEGIN, "effective_rank": 3.14, "spread": 1e-17, "mean_cosine": 0.9713, "gap": -1e-9}
    assert message(120, find_faults(now, BEGIN, Limits()), ADVICE) == (
        "step 120: the embeddings collapse to few dimensions: effective rank 3.1, at the begin 182.4 (least: 91.2); "
        "the embeddings collapse to one point: spread 0.000, at the begin 0.900 (least: 0.450); "
        "the embeddings point one way: mean cosine 0.971, at the begin 0.200 (most: 0.900); "
        "pairs are hardly nearer than other texts: gap 0.000, at the begin 0.600 (least: 0.150). "
        "Lower training.learning_rate or raise method.temperature"
    )


def test_a_message_without_advice_ends_with_what_was_seen():
    assert message(7, ["some embeddings are no finite numbers"], "") == "step 7: some embeddings are no finite numbers"
