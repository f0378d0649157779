"""Token rows → embeddings, through a sentence-transformers model, with little padding.

Rows are sorted by length and run in groups of like length, so that short rows do not pay for long ones; the answer
comes back in the caller's order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import Tensor

from textcl.corpus.tokens import TokenRows

_GROUP_TOKENS = 2048  # about what stays in a core's cache at the widths of small encoders
_LONGEST_TO_SHORTEST = 1.3  # within a group, or two tokens more: what is padded is small, and the groups are few


def forward_rows(
    encoder: SentenceTransformer, rows: TokenRows, *, prompt_tokens: int = 0, group_tokens: int = _GROUP_TOKENS
) -> Tensor:
    """Return the embedding of each row, (B, D), with gradients where they are enabled.

    Args:
        encoder: Its device is used.
        rows: B rows of at least one token, special tokens included.
        prompt_tokens: Tokens before the text, left out by poolings that exclude the prompt.
        group_tokens: Padded tokens run at a time; decides speed; the numbers stay, dropout's draws aside.
    """
    device = next(encoder.parameters()).device
    groups = list(_groups(rows.lengths, group_tokens))
    outputs = []
    for group in groups:
        ids, mask = _pad(rows.take(group), encoder)
        features: dict[str, object] = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
        if excludes_prompt(encoder):
            features["prompt_length"] = prompt_tokens
        outputs.append(encoder(features)["sentence_embedding"])
    order = torch.from_numpy(np.argsort(np.concatenate(groups), kind="stable")).to(device)
    return torch.cat(outputs)[order]


def _groups(lengths: NDArray[np.int64], group_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers, shortest rows first, in groups of like length."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order):
            longest, shortest = lengths[order[end]], lengths[order[start]]
            if longest <= max(shortest * _LONGEST_TO_SHORTEST, shortest + 2) and longest * (end + 1 - start) <= max(
                group_tokens, longest
            ):
                continue
        yield order[start:end]
        start = end


def _pad(rows: TokenRows, encoder: SentenceTransformer) -> tuple[Tensor, Tensor]:
    """Return ids and mask, (B, S) each, padded on the right."""
    lengths = rows.lengths
    mask = np.arange(lengths.max(initial=0))[None, :] < lengths[:, None]
    ids = np.full(mask.shape, encoder.tokenizer.pad_token_id or 0, dtype=np.int64)
    ids[mask] = rows.ids
    return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))


def excludes_prompt(encoder: SentenceTransformer) -> bool:
    """Tell whether the encoder's pooling leaves the prompt's tokens out."""
    return any(isinstance(module, Pooling) and not module.include_prompt for module in encoder)
