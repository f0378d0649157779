from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.methods.batches import make_batch, sides_of
from tests.strategies import as_lists
from tests.training.pairs import new_simclr, pair_source
from tests.training.token_sources import MASK, hard_source
from textcl.training import probe as module
from textcl.training.health import measure_health
from textcl.training.probe import Probe, draw_probe
from textcl.views.masking import Mask
from textcl.views.strength import Ramp


def told_sources(counts):
    """Sources from whose tokens the source and the row can be told."""
    return [hard_source(count, 0, table={"begin": 100_000 * number}) for number, count in enumerate(counts)]


def pairs_of(probe):
    """(source, row) of each pair of a probe."""
    tokens = [int(row[1]) for row in map(probe.batch.tokens_of(0, 1).row, range(len(probe.batch)))]
    return [divmod(token // 10, 10_000) for token in tokens]


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4), pairs=st.integers(1, 40), seed=st.integers(0, 9))
def test_a_probe_is_of_different_pairs_of_all_sources(counts, pairs, seed):
    sources = told_sources(counts)
    found = pairs_of(draw_probe(sources, pairs, seed))
    everything = [(number, row) for number, count in enumerate(counts) for row in range(count)]
    assert len(set(found)) == len(found) == min(pairs, len(everything))
    assert set(found) <= set(everything)
    assert found == pairs_of(draw_probe(sources, pairs, seed))


def test_a_single_source_is_several_of_one():
    source = told_sources([20])[0]
    alone, listed = (draw_probe(sources, 5, 3).batch for sources in (source, [source]))
    assert as_lists(alone.tokens) == as_lists(listed.tokens)
    assert alone.rows.tolist() == listed.rows.tolist() != draw_probe(source, 5, 4).batch.rows.tolist()


def test_a_probe_leaves_what_lies_far_behind_in_a_long_source_alone(monkeypatch):
    monkeypatch.setattr(module, "_LONGEST", 5)
    found = pairs_of(draw_probe(told_sources([8, 3, 30]), 100, 0))
    assert sorted(found) == [(0, row) for row in range(5)] + [(1, row) for row in range(3)] + [(2, r) for r in range(5)]


def test_a_probe_has_views_of_the_end_of_training_that_no_run_sees():
    source = hard_source(40, 0, table={"view": Mask(MASK, Ramp(0.0, 0.9))})
    batch = draw_probe(source, 40, 0).batch
    assert (batch.tokens.ids == MASK).mean() > 0.6
    seen = source.draw(batch.rows, 0, 1.0)
    assert batch.tokens.ids.tolist() != seen.tokens.ids.tolist()


def test_a_probe_measures_the_pairs_with_nothing_dropped(tiny_model_folder, tiny_corpus):
    method = new_simclr(tiny_model_folder, dropout=0.5)
    first, second = (pair_source(method.encoder, texts) for texts in (tiny_corpus[:10], tiny_corpus[10:30]))
    probe = draw_probe([first, second], 12, 0)
    method.train()
    found = [probe(method, 1) for _time in range(2)]
    assert not method.training
    expected = measure_health(*sides_of(method.encoder, probe.batch))
    assert found[0] == found[1] == pytest.approx(expected)


def test_a_probe_leaves_hard_negatives_out_of_account(tiny_model_folder, tiny_corpus):
    method = new_simclr(tiny_model_folder)
    sides = tiny_corpus[:8], tiny_corpus[8:16]
    hard, plain = (make_batch(method.encoder, *sides, hard=more) for more in ([tiny_corpus[16:24]], []))
    assert Probe(hard)(method, 1) == Probe(plain)(method, 1)
