from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import oracles
from tests.methods.batches import make_batch
from tests.strategies import plain_rows
from textcl.losses import InfoNCE
from textcl.methods import SimCLR
from textcl.methods.method import PairBatch, gather_batch, gather_rows


@st.composite
def label_tables(draw):
    """(B, G) labels, few enough to be shared."""
    columns = draw(st.integers(1, 3))
    row = st.lists(st.integers(0, 5), min_size=columns, max_size=columns)
    return draw(st.lists(row, min_size=1, max_size=6))


@given(label_tables())
def test_rows_are_the_same_where_they_share_a_label_in_any_columns(labels):
    count = len(labels)
    batch = PairBatch(plain_rows(*[[5]] * (2 * count)), np.arange(count), np.array(labels, dtype=np.int64))
    embeddings = torch.arange(2 * count * 3, dtype=torch.float32).reshape(2 * count, 3)
    gathered = gather_batch(embeddings, {"key": embeddings[count:]}, batch)
    assert [side.tolist() for side in gathered.sides] == [embeddings[:count].tolist(), embeddings[count:].tolist()]
    assert [side.tolist() for side in gathered.fixed["key"]] == [embeddings[count:].tolist()]
    assert gathered.negative_groups.shape == (count, 0, 1)
    assert gathered.kinds == ("text",) * len(labels[0])
    assert gathered.same.tolist() == [[oracles.share_a_label(first, second) for second in labels] for first in labels]


def test_without_processes_gathered_rows_are_the_rows_themselves():
    rows = torch.ones(3, 2)
    assert gather_rows(rows) is rows


def test_the_two_ways_of_forward_agree(tiny_encoder, tiny_corpus):
    method = SimCLR(tiny_encoder, InfoNCE())
    batch = make_batch(tiny_encoder, tiny_corpus[:4], tiny_corpus[4:8])
    embeddings = method(tokens=batch.tokens)
    assert embeddings.tolist() == method.embed(batch.tokens).tolist()
    from_embeddings, whole = method.loss(embeddings, method.embed_fixed(batch), batch), method(batch)
    assert whole.loss.item() == from_embeddings.loss.item()
    assert whole.diagnostics.keys() == from_embeddings.diagnostics.keys()


def test_forward_without_rows_says_what_it_needs(tiny_encoder):
    with pytest.raises(TypeError, match="forward needs tokens, or a batch"):
        SimCLR(tiny_encoder, InfoNCE())()


def test_the_length_of_a_batch_is_its_pairs(tiny_encoder, tiny_corpus):
    batch = make_batch(tiny_encoder, tiny_corpus[:4], tiny_corpus[4:8])
    assert (len(batch), len(batch.tokens)) == (4, 8)


def test_the_pooler_that_no_embedding_uses_is_frozen_and_nothing_else(tiny_encoder):
    assert all(parameter.requires_grad for parameter in tiny_encoder.parameters())
    method = SimCLR(tiny_encoder, InfoNCE())
    frozen = {name for name, parameter in method.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in method.named_parameters() if ".pooler." in name}
    assert len(frozen) == 2
