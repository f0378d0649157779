from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import plain_rows
from textcl.encoder.forward import forward_rows, groups_of

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 3000))
def test_padded_groups_hold_every_row_once_and_little_padding(lengths, group_tokens):
    lengths = np.array(lengths)
    groups = list(groups_of(lengths, group_tokens, padded=True))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    for group in groups:
        longest, shortest = lengths[group].max(), lengths[group].min()
        assert longest <= max(shortest * 1.3, shortest + 2)
        assert len(group) == 1 or longest * len(group) <= group_tokens


@given(LENGTHS, st.integers(1, 3000))
def test_packed_groups_hold_every_row_once_and_are_filled(lengths, group_tokens):
    lengths = np.array(lengths)
    groups = list(groups_of(lengths, group_tokens, padded=False))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    assert (np.diff(lengths[np.concatenate(groups)]) >= 0).all()
    for group, following in zip(groups, [*groups[1:], None], strict=True):
        assert len(group) == 1 or lengths[group].sum() <= group_tokens
        assert following is None or lengths[group].sum() + lengths[following[0]] > group_tokens


def test_long_groups_are_filled():
    assert [len(group) for group in groups_of(np.full(10, 50), 200, padded=True)] == [4, 4, 2]


def test_more_padding_changes_nothing(tiny_encoder, tiny_corpus):
    rows = plain_rows([2, 20, 21, 3], [2, 20, 21, 22, 23, 3])
    together = forward_rows(tiny_encoder, rows, group_tokens=12, packed=False)
    alone = torch.cat([forward_rows(tiny_encoder, rows.take(np.array([row])), packed=False) for row in (0, 1)])
    assert len(list(groups_of(rows.lengths, 12, padded=True))) == 1  # so the first row is padded here
    assert torch.allclose(together, alone, atol=1e-6)


def test_the_answer_comes_in_the_caller_s_order(tiny_encoder):
    rows = plain_rows([2, *[20] * 40, 3], [2, 21, 3], [2, *[22] * 10, 3])
    alone = [forward_rows(tiny_encoder, rows.take(np.array([row])))[0] for row in range(3)]
    assert torch.allclose(forward_rows(tiny_encoder, rows), torch.stack(alone), atol=1e-6)


@pytest.mark.parametrize("include_prompt", [True, False])
def test_prompt_tokens_matter_where_the_pooling_leaves_out_the_prompt(tiny_encoder, include_prompt):
    tiny_encoder[1].include_prompt = include_prompt
    rows = plain_rows([2, 20, 21, 22, 23, 3])
    none, two = (forward_rows(tiny_encoder, rows, prompt_tokens=count) for count in (0, 2))
    assert torch.equal(none, two) == include_prompt


def test_gradients_flow_where_they_are_enabled(tiny_encoder):
    assert forward_rows(tiny_encoder, plain_rows([2, 20, 3])).requires_grad
    with torch.no_grad():
        assert not forward_rows(tiny_encoder, plain_rows([2, 20, 3])).requires_grad
