"""Token rows → embeddings, through a sentence-transformers model, with no padding or little.

Rows are sorted by length and run in groups; the answer comes back in the caller's order. Where the encoder's
architecture is known a group is packed; elsewhere it is padded, and rows of a group are of like length, so that short
rows do not pay for long ones.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor

from textcl.corpus.tokens import TokenRows
from textcl.encoder.packing import is_packable, packed_forward
from textcl.encoder.products import products
from textcl.encoder.transfer import send

GROUP_TOKENS = {"cpu": 2048, "cuda": 65_536}
"""On a CPU about what stays in a core's cache at the widths of small encoders; on a GPU what keeps all of it busy."""
one_at_a_time = threading.RLock()
"""Held while something is set on an encoder, such as its attention, which another thread's pass would lose halfway."""
_LONGEST_TO_SHORTEST = 1.3  # within a padded group, or two tokens more: what is padded is small, and the groups are few


def forward_rows(
    encoder: SentenceTransformer,
    rows: TokenRows,
    *,
    prompt_tokens: int = 0,
    group_tokens: int | None = None,
    packed: bool = True,
) -> Tensor:
    """Return the embedding of each row, (B, D), with gradients where they are enabled.

    Args:
        encoder: Its device is used.
        rows: B rows of at least one token, special tokens included.
        prompt_tokens: Tokens before the text, left out by poolings that exclude the prompt.
        group_tokens: Tokens run at a time, padding included; decides speed; the numbers stay, dropout's draws aside.
            None for what suits the device.
        packed: Run without padding where the encoder is one that can.
    """
    packed = packed and is_packable(encoder)
    prompt = prompt_tokens if excludes_prompt(encoder) else None
    group_tokens = group_tokens or GROUP_TOKENS[encoder.device.type]
    groups = list(groups_of(rows.lengths, group_tokens, padded=not packed))
    run = packed_forward if packed else _padded_forward
    with one_at_a_time, products(encoder):
        outputs = [run(encoder, rows.take(group), prompt) for group in groups]
    order = np.argsort(np.concatenate(groups), kind="stable")
    return torch.cat(outputs)[send(order, outputs[0].device)]


def groups_of(lengths: NDArray[np.int64], group_tokens: int, *, padded: bool) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers, shortest rows first, in groups of at most `group_tokens` tokens or a single row.

    Args:
        lengths: (B,) tokens of each row.
        group_tokens: Counted with padding where it is `padded`, to the group's longest row.
        padded: Keep to rows of like length too.
    """
    order = np.argsort(lengths, kind="stable")
    start, total = 0, 0
    for place, length in enumerate(lengths[order].tolist()):
        shortest = lengths[order[start]]
        total = length * (place + 1 - start) if padded else total + length
        unlike = padded and length > max(shortest * _LONGEST_TO_SHORTEST, shortest + 2)
        if place > start and (unlike or total > group_tokens):
            yield order[start:place]
            start, total = place, length
    yield order[start:]


def _padded_forward(encoder: SentenceTransformer, rows: TokenRows, prompt_tokens: int | None) -> Tensor:
    """Return the embedding of each row, (B, D), padded to the longest."""
    device = next(encoder.parameters()).device
    ids, mask = _pad(rows, encoder)
    features: dict[str, object] = {"input_ids": send(ids, device), "attention_mask": send(mask, device)}
    if prompt_tokens is not None:
        features["prompt_length"] = prompt_tokens
    embeddings: Tensor = encoder(features)["sentence_embedding"]
    return embeddings


def _pad(rows: TokenRows, encoder: SentenceTransformer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and mask, (B, S) each, padded on the right."""
    lengths = rows.lengths
    mask = np.arange(lengths.max(initial=0))[None, :] < lengths[:, None]
    ids = np.full(mask.shape, encoder.tokenizer.pad_token_id or 0, dtype=np.int64)
    ids[mask] = rows.ids
    return ids, mask.astype(np.int64)


def excludes_prompt(encoder: SentenceTransformer) -> bool:
    """Tell whether the encoder's pooling leaves the prompt's tokens out."""
    return any(isinstance(module, Pooling) and not module.include_prompt for module in encoder)
