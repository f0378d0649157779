from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.index.vectors import parts, unit
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.index import mine
from textcl.index.build import build_index
from textcl.index.forbidden import forbidden_documents
from textcl.index.mine import Dropped, MiningSettings, mine_neighbours, select_negatives
from textcl.index.search import neighbours
from textcl.randomness import RowRandom


def is_too_near(score, positive, settings):
    if settings.margin is not None and score > positive - settings.margin:
        return True
    share = settings.relative_margin
    return share is not None and score > positive * (1 - (share if positive > 0 else -share))


def one_row(scores, docs, positive, forbidden, settings, row):
    """The negatives of a row with their scores, and what was dropped, candidate by candidate."""
    rank, left, forbidden_count, near, high = 0, [], 0, 0, 0
    for score, doc, out in zip(scores, docs, forbidden, strict=True):
        if doc < 0 or rank == settings.last_rank:
            continue
        if out:
            forbidden_count += 1
            continue
        rank += 1
        if rank < settings.first_rank:
            continue
        if is_too_near(score, positive, settings):
            near += 1
        elif settings.max_score is not None and score > settings.max_score:
            high += 1
        else:
            left.append((doc, score))
    if settings.sampling == "random":
        draws = RowRandom((settings.seed, "mine"), np.array([row])).per_token(np.array([0, len(left)]))
        left = [left[place] for place in sorted(range(len(left)), key=lambda place: draws[place])]
    return left[: settings.per_row], (forbidden_count, near, high)


@st.composite
def candidates(draw):
    """Rows of candidates with ties, gaps and few different scores, and settings."""
    count, width = draw(st.integers(0, 4)), draw(st.integers(1, 9))
    few = st.sampled_from([-0.6, -0.25, 0.0, 0.25, 0.3, 0.5, 0.75, 0.9])
    scores = np.array([sorted((draw(few) for _ in range(width)), reverse=True) for _ in range(count)], np.float32)
    docs = np.array([[draw(st.integers(-1, 20)) for _ in range(width)] for _ in range(count)], np.int64)
    forbidden = np.array([[draw(st.booleans()) for _ in range(width)] for _ in range(count)], np.bool_)
    positive = np.array([draw(few) for _ in range(count)], np.float32)
    first = draw(st.integers(1, 4))
    last = first + draw(st.integers(0, 7))
    bounds = [draw(st.none() | st.sampled_from([0.0, 0.2, 0.25, 0.45])) for _ in range(2)]
    settings = MiningSettings(
        first,
        last,
        *bounds,
        draw(st.none() | few),
        draw(st.integers(1, last - first + 1)),
        draw(st.sampled_from(["top", "random"])),
        draw(st.integers(0, 3)),
    )
    shape = (count, width)
    rows = np.array(draw(st.lists(st.integers(0, 10**6), min_size=count, max_size=count)), np.int64)
    return scores.reshape(shape), docs.reshape(shape), positive, forbidden.reshape(shape), settings, rows


@given(candidates())
def test_the_selection_is_that_of_a_plain_double_loop(drawn):
    scores, docs, positive, forbidden, settings, rows = drawn
    mined = select_negatives(*drawn)
    assert (mined.negatives.shape, mined.negatives.dtype) == ((len(rows), settings.per_row), np.int64)
    assert (mined.scores.shape, mined.scores.dtype) == ((len(rows), settings.per_row), np.float32)
    dropped = (0, 0, 0)
    for place, row in enumerate(rows):
        lists = [array[place].tolist() for array in (scores, docs, positive, forbidden)]
        expected, lost = one_row(*lists, settings, row)
        kept = int((mined.negatives[place] >= 0).sum())
        assert mined.negatives[place].tolist() == [doc for doc, _score in expected] + [-1] * (settings.per_row - kept)
        assert mined.scores[place, :kept].tolist() == [score for _doc, score in expected]
        assert np.isnan(mined.scores[place, kept:]).all()
        dropped = tuple(one + more for one, more in zip(dropped, lost, strict=True))
    assert mined.dropped == Dropped(*dropped)
    np.testing.assert_array_equal(mined.positive_scores, positive)


SCORES = np.linspace(0.9, 0.0, 10, dtype=np.float32)[None]  # ten documents, from 0.9 down in tenths
DOCS = np.arange(10)[None]
POSITIVE = np.array([0.85], dtype=np.float32)


def selected(settings, forbidden=(), row=0, docs=DOCS):
    passed = np.isin(docs, forbidden)
    return select_negatives(SCORES, docs, POSITIVE, passed, settings, np.array([row])).negatives[0].tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0, 1]),
        ({"first_rank": 4}, [3, 4]),
        ({"first_rank": 4, "last_rank": 5}, [3, 4]),
        ({"margin": 0.0}, [1, 2]),
        ({"margin": 0.2}, [3, 4]),  # at most 0.65
        ({"relative_margin": 0.5}, [5, 6]),  # at most 0.425
        ({"margin": 0.2, "relative_margin": 0.5}, [5, 6]),
        ({"max_score": 0.35}, [6, 7]),
        ({"per_row": 3}, [0, 1, 2]),
    ],
    ids=str,
)
def test_each_setting_chooses(settings, expected):
    assert selected(MiningSettings(**{"per_row": 2, **settings})) == expected


def test_the_last_rank_ends_the_choice_and_its_lack_is_no_negative():
    assert selected(MiningSettings(margin=0.5, last_rank=7, per_row=4)) == [6, -1, -1, -1]  # at most 0.35
    assert selected(MiningSettings(margin=0.5, last_rank=6, per_row=4)) == [-1] * 4


def test_what_is_forbidden_has_no_rank():
    assert selected(MiningSettings(first_rank=2, last_rank=3, per_row=2), forbidden=[0, 2]) == [3, 4]


def test_a_bound_is_not_rounded_to_the_scores_precision():
    # 0.3 as a float32 lies above 0.3 as a float64, so that a candidate of that score is above the cap.
    scores, docs = np.array([[0.3, 0.2]], np.float32), np.array([[0, 1]])
    nothing = np.zeros((1, 2), np.bool_)
    for settings in (MiningSettings(max_score=0.3), MiningSettings(margin=0.2)):
        positive = np.array([0.5], np.float32)
        mined = select_negatives(scores, docs, positive, nothing, settings, np.array([0]))
        assert mined.negatives.tolist() == [[1]]


def test_below_zero_a_relative_margin_still_lies_below_the_positive():
    scores, docs = np.array([[-0.45, -0.55, -0.7]], np.float32), np.array([[0, 1, 2]])
    settings = MiningSettings(relative_margin=0.2)  # at most -0.6; the plain product would allow -0.4
    mined = select_negatives(scores, docs, np.array([-0.5], np.float32), docs < 0, settings, np.array([0]))
    assert mined.negatives.tolist() == [[2]]


def test_a_row_has_the_same_draw_whatever_other_rows_there_are():
    rng = np.random.default_rng(0)
    scores = -np.sort(-rng.random((50, 30), dtype=np.float32), axis=1)
    docs, forbidden = rng.integers(0, 99, (50, 30)), rng.random((50, 30)) < 0.2
    settings, rows = MiningSettings(per_row=3, sampling="random", margin=0.1), np.arange(100, 150)
    positive = rng.random(50, dtype=np.float32)
    whole = select_negatives(scores, docs, positive, forbidden, settings, rows).negatives
    some = rng.permutation(50)[:20]
    part = select_negatives(scores[some], docs[some], positive[some], forbidden[some], settings, rows[some]).negatives
    np.testing.assert_array_equal(part, whole[some])
    deeper = [np.pad(array, ((0, 0), (0, 5)), constant_values=fill) for array, fill in ((scores, 0), (docs, -1))]
    wider = np.pad(forbidden, ((0, 0), (0, 5)))
    again = select_negatives(*deeper, positive, wider, settings, rows).negatives
    np.testing.assert_array_equal(again, whole)


def test_draws_differ_by_row_and_by_seed_and_reach_all_ranks():
    def settings(seed):
        return MiningSettings(first_rank=2, last_rank=5, sampling="random", seed=seed)

    assert {selected(settings(0), row=row)[0] for row in range(60)} == {1, 2, 3, 4}
    assert [selected(settings(0), row=row) for row in range(9)] != [selected(settings(1), row=row) for row in range(9)]


def test_more_negatives_a_row_begin_with_the_same_draw():
    one, three = (selected(MiningSettings(per_row=count, sampling="random"), row=5) for count in (1, 3))
    assert three[:1] == one
    assert len(set(three)) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first_rank": 0}, "first_rank: expected a rank, counted from 1, got 0"),
        ({"first_rank": 5, "last_rank": 4}, "last_rank: expected a rank of at least first_rank, 5, got 4"),
        ({"margin": -0.1}, r"margin: expected a difference of cosines in \[0, 2\], got -0.1"),
        ({"margin": 2.1}, "margin: "),
        ({"margin": math.nan}, "margin: "),
        ({"relative_margin": 1.0}, r"relative_margin: expected a share in \[0, 1\), got 1.0"),
        ({"relative_margin": -0.1}, "relative_margin: "),
        ({"max_score": 1.5}, r"max_score: expected a cosine in \[-1, 1\], got 1.5"),
        ({"max_score": -1.5}, "max_score: "),
        ({"per_row": 0}, "per_row: expected a number in 1 … 100, as many as there are ranks, got 0"),
        ({"per_row": 4, "first_rank": 8, "last_rank": 10}, "per_row: expected a number in 1 … 3"),
        ({"sampling": "best"}, "sampling: expected one of top, random, got 'best'"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        MiningSettings(**settings)


@pytest.mark.parametrize("name", ["scores", "positive_scores", "forbidden", "rows"])
def test_an_array_of_another_shape_is_named(name):
    given = {
        "scores": SCORES,
        "docs": DOCS,
        "positive_scores": POSITIVE,
        "forbidden": DOCS < 0,
        "rows": np.array([0]),
    }
    given[name] = np.concatenate([given[name], given[name]])
    with pytest.raises(ShapeError, match=f"^{name}: expected shape "):
        select_negatives(**given, settings=MiningSettings())


def test_candidates_without_rows_and_rising_scores_are_refused():
    with pytest.raises(ShapeError, match=r"^docs: expected shape \(N, K\)"):
        select_negatives(SCORES[0], DOCS[0], POSITIVE, DOCS[0] < 0, MiningSettings(), np.array([0]))
    with pytest.raises(DataError, match=r"^row 7: its scores rise"):
        select_negatives(SCORES[:, ::-1], DOCS, POSITIVE, DOCS < 0, MiningSettings(), np.array([7]))
    assert selected(MiningSettings(), docs=np.where(DOCS < 2, DOCS, -1)) == [0]


# --- the search ------------------------------------------------------------------------------------------------------


def search_all(index, asked, positive, forbidden, settings, rows):
    """Every document as a candidate of every row, and then the loop."""
    docs, scores = neighbours(index, asked, index.rows)
    passed = forbidden.mask(rows, docs)
    return [
        one_row(*(array[place].tolist() for array in (scores, docs, positive, passed)), settings, rows[place])[0]
        for place in range(len(rows))
    ]


@pytest.fixture
def data():
    """Forty rows over 12 anchors in 3 groups, thirty documents; a group forbids a third of them."""
    anchors = [f"a{i % 12}" for i in range(40)]
    positives = [f"d{i % 25}" for i in range(40)]
    groups = [None if i < 10 else str(i % 3) for i in range(40)]
    return anchors, positives, [f"d{i}" for i in range(30)], groups


@pytest.mark.parametrize("candidates_at_once", [1, 40, 10**6])
@pytest.mark.parametrize("sampling", ["top", "random"])
def test_mining_searches_as_deep_as_the_last_rank_lies(tmp_path, monkeypatch, data, candidates_at_once, sampling):
    monkeypatch.setattr(mine, "_CANDIDATES", candidates_at_once)
    forbidden, rows = forbidden_documents(*data), np.arange(40)
    positive = np.linspace(0, 1, 40, dtype=np.float32)
    settings = MiningSettings(2, 6, margin=0.1, per_row=2, sampling=sampling)
    asked, told = unit(3, 40), []

    def progress(description, total):
        told.append((description, total))
        return _Advances(told)

    with build_index(tmp_path / "index", **parts(30)) as index:
        mined = mine_neighbours(index, asked, positive, forbidden, settings, rows, progress)
        expected = search_all(index, asked, positive, forbidden, settings, rows)
        some = np.array([31, 4, 18])
        part = mine_neighbours(index, asked[some], positive[some], forbidden, settings, rows[some])
    for row, found in enumerate(expected):
        docs = [doc for doc, _score in found]
        assert mined.negatives[row].tolist() == docs + [-1] * (2 - len(docs))
        assert mined.scores[row, : len(docs)].tolist() == [score for _doc, score in found]
    np.testing.assert_array_equal(part.negatives, mined.negatives[some])
    assert told[0] == ("mining", 40)
    assert sum(told[1:]) == 40


class _Advances:
    def __init__(self, told):
        self.told = told

    def __enter__(self):
        return self.told.append

    def __exit__(self, *_error):
        return None


def test_mining_does_not_search_deeper_than_it_must(tmp_path, monkeypatch, data):
    depths = []
    monkeypatch.setattr(mine, "neighbours", lambda index, asked, k: depths.append(k) or neighbours(index, asked, k))
    monkeypatch.setattr(mine, "_CANDIDATES", 1)
    forbidden = forbidden_documents(*data)
    with build_index(tmp_path / "index", **parts(30)) as index:
        mine_neighbours(index, unit(3, 40), np.ones(40, np.float32), forbidden, MiningSettings(1, 5), np.arange(40))
    assert sorted(depths) == sorted(min(30, 5 + count) for count in forbidden.counts(np.arange(40)).tolist())
    assert min(depths) < max(depths)


def test_counts_of_all_blocks_are_added(tmp_path, monkeypatch, data):
    forbidden, settings = forbidden_documents(*data), MiningSettings(margin=0.3, max_score=0.1, last_rank=8)
    arguments = (unit(3, 40), np.full(40, 0.6, np.float32), forbidden, settings, np.arange(40))
    with build_index(tmp_path / "index", **parts(30)) as index:
        whole = mine_neighbours(index, *arguments).dropped
        monkeypatch.setattr(mine, "_CANDIDATES", 1)
        assert mine_neighbours(index, *arguments).dropped == whole
    assert min(whole.forbidden, whole.margin, whole.max_score) > 0


def test_fewer_documents_than_ranks_leave_places_empty(tmp_path):
    forbidden = forbidden_documents(["a", "b"], ["t0", "t1"], ["t0", "t1", "t2"])
    with build_index(tmp_path / "index", **parts(3)) as index:
        settings = MiningSettings(per_row=4)
        mined = mine_neighbours(index, unit(4, 2), np.ones(2, np.float32), forbidden, settings, np.arange(2))
    assert sorted(mined.negatives[0].tolist()) == [-1, -1, 1, 2]
    assert sorted(mined.negatives[1].tolist()) == [-1, -1, 0, 2]
    assert (mined.negatives[:, 2:] == -1).all()


def test_tied_documents_come_in_the_canonical_order(tmp_path):
    made = {**parts(20), "vectors": np.repeat(unit(0, 1), 20, axis=0)}
    forbidden = forbidden_documents(["a"], ["x"], [f"t{i}" for i in range(20)])
    with build_index(tmp_path / "index", **made) as index:
        settings = MiningSettings(per_row=5)
        mined = mine_neighbours(index, unit(1, 1), np.ones(1, np.float32), forbidden, settings, np.array([0]))
    assert [made["ids"][doc] for doc in mined.negatives[0]] == sorted(made["ids"], reverse=True)[:5]


def test_no_rows_have_no_negatives(tmp_path):
    with build_index(tmp_path / "index", **parts(3)) as index:
        none = np.zeros(0, np.int64)
        forbidden = forbidden_documents([], [], ["t0", "t1", "t2"])
        mined = mine_neighbours(index, unit(4, 1)[:0], np.zeros(0, np.float32), forbidden, MiningSettings(), none)
    assert mined.negatives.shape == (0, 1)
