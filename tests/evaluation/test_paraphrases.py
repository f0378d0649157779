from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers.sentence_transformer.evaluation import ParaphraseMiningEvaluator

from tests import oracles
from textcl.encoder.embed import embed_texts
from textcl.errors import ConfigError, DataError, ShapeError
from textcl.evaluation.paraphrases import mine_paraphrases, score_paraphrases


def few_directions(seed, count):
    rows = np.random.default_rng(seed).integers(-1, 2, size=(count, 3)).astype(np.float32)
    rows[(rows == 0).all(axis=1)] = 1
    return rows


def all_pairs(rows):
    """(cosine, first, second) of every pair, the most alike first, equal ones by row."""
    scored = []
    for first, second in combinations(range(len(rows)), 2):
        scored.append((-oracles.grain(oracles.cosine(rows[first], rows[second])), first, second))
    return [(-score, first, second) for score, first, second in sorted(scored)]


@given(st.integers(0, 10_000), st.integers(2, 14), st.integers(1, 40), st.integers(1, 15))
def test_mined_pairs_are_the_first_of_all_pairs_for_any_block(seed, count, limit, block_rows):
    rows = few_directions(seed, count)
    found = mine_paraphrases(rows, limit, block_rows=block_rows)
    expected = all_pairs(rows.astype(np.float64).tolist())[:limit]
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == [pair[1:] for pair in expected]
    assert found.cosines == pytest.approx([pair[0] for pair in expected], abs=1e-6)


def test_blocks_change_no_bit_of_untied_pairs_either():
    rows = np.random.default_rng(0).normal(size=(101, 16)).astype(np.float32)
    whole = mine_paraphrases(rows, 300, block_rows=101)
    for block_rows in (1, 7, 50):
        some = mine_paraphrases(rows, 300, block_rows=block_rows)
        assert np.array_equal(some.cosines, whole.cosines)
        assert np.array_equal(some.first, whole.first)
        assert np.array_equal(some.second, whole.second)


def test_memory_is_that_of_a_block_and_not_of_all_pairs():
    import tracemalloc

    rows = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    tracemalloc.start()
    found = mine_paraphrases(rows, 50, block_rows=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 50
    assert peak < 3e6  # all cosines would take 36 MB in float32


def test_only_pairs_above_a_cosine_are_mined_where_it_is_asked_for():
    rows = few_directions(1, 12)
    found = mine_paraphrases(rows, 1000, at_least=0.5)
    assert len(found) == sum(1 for pair in all_pairs(rows.tolist()) if pair[0] >= 0.5)
    assert len(mine_paraphrases(rows, 1000)) == 66


def test_progress_counts_every_row_once():
    told = []

    class Advance:
        def __enter__(self):
            return lambda units, _note="": told.append(units)

        def __exit__(self, *_problem):
            return None

    mine_paraphrases(few_directions(0, 23), 5, block_rows=10, progress=lambda _name, total: Advance())
    assert told == [10, 10, 3]


@given(st.integers(0, 3000), st.integers(4, 10), st.integers(1, 45), st.data())
def test_average_precision_and_f1_equal_their_definitions(seed, count, limit, data):
    rows = few_directions(seed, count)
    everything = list(combinations(range(count), 2))
    known = data.draw(st.sets(st.sampled_from(everything), min_size=1, max_size=8))
    mined = mine_paraphrases(rows, limit)
    listed = list(zip(mined.first.tolist(), mined.second.tolist(), strict=True))
    turned = [pair[::-1] if place % 2 else pair for place, pair in enumerate(sorted(known))]
    found = score_paraphrases(mined, [*turned, turned[0]])
    precision, best, before = 0.0, 0.0, 0
    for level in sorted(set(mined.cosines.tolist()), reverse=True):
        said = [pair for pair, cosine in zip(listed, mined.cosines.tolist(), strict=True) if cosine >= level]
        hits = len(known & set(said))
        precision += (hits - before) / len(known) * hits / len(said)
        best = max(best, 2 * hits / (len(said) + len(known)))
        before = hits
    assert found.average_precision == pytest.approx(precision, abs=1e-9)
    assert found.best_f1.value == pytest.approx(best, abs=1e-9)
    assert (found.known, found.found, found.mined) == (len(known), before, len(listed))


def test_sentence_transformers_finds_the_same(tiny_encoder, tiny_corpus):
    texts = tiny_corpus[:20]
    known = [(0, 3), (5, 2), (7, 9), (11, 12)]
    theirs = ParaphraseMiningEvaluator(
        {str(row): text for row, text in enumerate(texts)},
        duplicates_list=[(str(first), str(second)) for first, second in known],
        top_k=100, max_pairs=1000, write_csv=False, name="", show_progress_bar=False,
    )(tiny_encoder)  # fmt: skip
    ours = score_paraphrases(mine_paraphrases(embed_texts(tiny_encoder, texts).vectors, 190), known)
    assert ours.average_precision == pytest.approx(theirs["average_precision"], abs=1e-9)
    best = (ours.best_f1.value, ours.best_f1.precision, ours.best_f1.recall)
    assert best == pytest.approx((theirs["f1"], theirs["precision"], theirs["recall"]), abs=1e-9)
    assert ours.best_f1.threshold == pytest.approx(theirs["threshold"], abs=1e-5)


def test_the_json_has_every_number():
    found = json.loads(json.dumps(score_paraphrases(mine_paraphrases(few_directions(0, 6), 5), [(0, 1)]).to_json()))
    assert set(found) == {
        *("average_precision", "f1", "threshold", "precision", "recall", "mined", "known", "found"),
    }


def test_what_cannot_be_mined_or_scored_is_refused():
    rows = few_directions(0, 6)
    for setting in ({"limit": 0}, {"block_rows": 0}):
        with pytest.raises(ConfigError, match=f"^{next(iter(setting))}: expected a whole number of at least 1, got 0"):
            mine_paraphrases(rows, **setting)
    with pytest.raises(ShapeError, match="N at least 2"):
        mine_paraphrases(rows[:1])
    with pytest.raises(DataError, match=r"^text 1: its embedding is 0"):
        mine_paraphrases(rows * 0)
    with pytest.raises(DataError, match=r"^there is no known pair"):
        score_paraphrases(mine_paraphrases(rows), [])
    with pytest.raises(DataError, match=r"^row 3 is said to be a duplicate of itself"):
        score_paraphrases(mine_paraphrases(rows), [(0, 1), (2, 2)])
