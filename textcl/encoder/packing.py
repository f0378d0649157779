"""A forward pass without padding: rows laid end to end as one sequence, with attention kept inside each row.

Everything in a transformer but attention works token by token, so only attention needs to know where rows end. It is
registered with transformers under a name of its own, which a model carries for the length of a forward pass alone; the
pooling of sentence-transformers takes the flat tokens by `cu_seq_lens_q`. Rows are sorted by length, so that rows of
one length lie side by side: a view of them is a batch without padding, and nothing is copied to make it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface

from textcl.corpus.tokens import TokenRows, concatenate
from textcl.encoder.dropout import drop_units
from textcl.encoder.layers import transformer_of
from textcl.encoder.transfer import send

FAMILIES = ("bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
"""Architectures whose attention takes nothing but queries, keys and values, and whose positions can be given."""
_NAME = "textcl_packed"
_FLASH_FROM = (8, 0)  # Ampere
_TOKENS_STEP, _FEW_TOKENS = 32, 256
_MODULES = (Transformer, Pooling, Dense, Normalize, nn.Identity)


@dataclass(frozen=True)
class Layout:
    """Where B rows lie in T tokens.

    Args:
        offsets: (B + 1,) int32 on the tokens' device.
        runs: Rows and tokens a row of each stretch of rows that are as long as each other, in their order.
    """

    offsets: Tensor
    runs: tuple[tuple[int, int], ...]

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(length for _, length in self.runs)


def is_packable(encoder: SentenceTransformer) -> bool:
    """Tell whether `packed_forward` knows the encoder's architecture and modules."""
    return (
        isinstance(encoder[0], Transformer)
        and transformer_of(encoder).config.model_type in FAMILIES
        and all(isinstance(module, _MODULES) for module in encoder)
    )


def packed_forward(encoder: SentenceTransformer, rows: TokenRows, prompt_tokens: int | None = None) -> Tensor:
    """Return the embedding of each row, (B, D).

    Args:
        encoder: One that `is_packable`.
        rows: B rows of at least one token, those of one length side by side.
        prompt_tokens: Tokens before the text, for poolings that exclude the prompt; None elsewhere.
    """
    transformer = transformer_of(encoder)
    device = next(encoder.parameters()).device
    count = len(rows)
    if device.type == "cpu" and prompt_tokens is None:
        rows = _filled(rows)
    layout = Layout(send(rows.offsets.astype(np.int32), device), tuple(_runs(rows.lengths)))
    positions = np.arange(len(rows.ids)) - np.repeat(rows.offsets[:-1], rows.lengths) + _first_position(transformer)
    features: dict[str, Any] = {
        "input_ids": send(rows.ids.astype(np.int64)[None], device),
        "position_ids": send(positions[None], device),
        "cu_seq_lens_q": layout.offsets,
        "seq_idx": send(np.repeat(np.arange(len(rows)), rows.lengths)[None], device),
        "packed_layout": layout,
    }
    if prompt_tokens is not None:
        features["prompt_length"] = prompt_tokens
    with _packed_attention(transformer):
        return cast(Tensor, encoder(features)["sentence_embedding"])[:count]


def _filled(rows: TokenRows) -> TokenRows:
    """Return many rows with one more behind them, where their tokens are not a multiple of 32.

    oneDNN makes a program for each number of tokens that it meets, and keeps up to 1,024: hundreds of megabytes.
    """
    fill = -len(rows.ids) % _TOKENS_STEP
    if not fill or len(rows.ids) < _FEW_TOKENS:
        return rows
    nothing = np.zeros(fill, dtype=np.int32)
    return concatenate([rows, TokenRows(nothing, np.array([0, fill]), nothing.astype(np.uint8))])


def _runs(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield rows and tokens a row of each run of equal lengths, (B,)."""
    bounds = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)]
    for first, end in pairwise(bounds):
        yield end - first, int(lengths[first])


def _first_position(transformer: Any) -> int:  # noqa: ANN401 (Hugging Face models have no narrower type)
    """Return the position of a row's first token: RoBERTa and its kin count from behind the padding's own position."""
    embeddings = transformer.embeddings
    padding = getattr(embeddings, "padding_idx", None)
    return 0 if padding is None or transformer.config.model_type == "modernbert" else int(padding) + 1


@contextmanager
def _packed_attention(transformer: Any) -> Iterator[None]:  # noqa: ANN401
    """Let the model use packed attention inside a `with`, and what it had before afterwards."""
    config = transformer.config
    before = config._attn_implementation
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _attention(
    module: nn.Module,  # noqa: ARG001 (transformers' signature)
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    *,
    packed_layout: Layout,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Return attention within rows, (1, T, H, D), of (1, H, T, D) queries, keys and values.

    Args:
        module: Not looked at.
        query: Of T tokens.
        key: Likewise.
        value: Likewise.
        attention_mask: None, since there is no padding.
        packed_layout: Where the rows lie.
        dropout: Share of the attention that is dropped.
        scaling: Of the scores; None for 1 / sqrt(D).
        sliding_window: A token sees those at a distance below it; None for all of its row.
    """
    tokens = tuple(one[0].transpose(0, 1) for one in (query, key, value))  # (T, H, D) each
    narrow = sliding_window is not None and packed_layout.longest > sliding_window
    if query.is_cuda:
        kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
        tokens = tuple(one.to(kind) for one in tokens)
        if kind in (torch.bfloat16, torch.float16) and torch.cuda.get_device_capability(query.device) >= _FLASH_FROM:
            window = sliding_window - 1 if narrow and sliding_window is not None else None
            return _flash(tokens, packed_layout, dropout, scaling, window)[None], None
        # With rows of several lengths this kernel would drop the same places in all heads.
        if kind != torch.float64 and not narrow and not dropout:
            return _efficient(tokens, packed_layout, scaling)[None], None
    # One split, whose gradient is one concatenation: slices would each fill a gradient of all tokens with zeros.
    parts = [torch.split(one, [rows * length for rows, length in packed_layout.runs]) for one in tokens]
    mixed = []
    for (rows, length), *run in zip(packed_layout.runs, *parts, strict=True):
        batch = [one.view(rows, length, *one.shape[1:]).transpose(1, 2) for one in run]
        mask = _band(length, sliding_window, query.device) if narrow else None
        mixed.append(_attend(batch, mask, dropout, scaling).transpose(1, 2).flatten(0, 1))
    return torch.cat(mixed)[None], None


def _attend(batch: list[Tensor], mask: Tensor | None, dropout: float, scaling: float | None) -> Tensor:
    """Return attention over whole rows, (B, H, S, D) like its inputs."""
    query, key, value = batch
    if not dropout or query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=scaling)
    # With dropout torch goes this way on a CPU too, and its draws cost more than all the rest of it.
    scores = query * (query.shape[-1] ** -0.5 if scaling is None else scaling) @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return drop_units(scores.softmax(dim=-1), dropout) @ value


def _flash(
    tokens: Sequence[Tensor], layout: Layout, dropout: float, scaling: float | None, window: int | None
) -> Tensor:
    """Return attention within rows, (T, H, D), of bf16 or fp16 tokens on a GPU by FlashAttention, in torch's own build.

    It sees `window` tokens to either side; None is all of a row. torch's public ways to the same kernel were no choice:
    `varlen_attn` knows no dropout, and nested tensors cost the host three times the rest of a step of a small encoder.
    """
    places, longest = layout.offsets, layout.longest
    query, key, value, scale, width = _in_eights(tokens, scaling)
    run = torch.ops.aten._flash_attention_forward
    mixed: Tensor = run(
        query, key, value, places, places, longest, longest, dropout, False, False,
        scale=scale, window_size_left=window, window_size_right=window,
    )[0]  # fmt: skip
    return mixed[..., :width]


def _efficient(tokens: Sequence[Tensor], layout: Layout, scaling: float | None) -> Tensor:
    """Return attention within rows, (T, H, D), of tokens on a GPU, by the memory-efficient kernel, without dropout."""
    places, longest = layout.offsets, layout.longest
    query, key, value, scale, width = _in_eights(tokens, scaling)
    run = torch.ops.aten._efficient_attention_forward
    mixed: Tensor = run(
        query[None], key[None], value[None], None, places, places, longest, longest, 0.0, 0, True, scale=scale
    )[0]
    return mixed[0, ..., :width]


def _in_eights(tokens: Sequence[Tensor], scaling: float | None) -> tuple[Tensor, Tensor, Tensor, float, int]:
    """Return (T, H, D) tokens widened by zeros to a multiple of 8, which the kernels want, their scale, and D."""
    width = tokens[0].shape[-1]
    query, key, value = (F.pad(one, (0, -width % 8)) if width % 8 else one for one in tokens)
    return query, key, value, width**-0.5 if scaling is None else scaling, width


def _band(length: int, width: int | None, device: torch.device) -> Tensor | None:
    """Return the (S, S) booleans of a window, true where a token is seen; None where it is the whole row."""
    if width is None or length <= width:
        return None
    place = torch.arange(length, device=device)
    return (place[:, None] - place[None, :]).abs() < width


def _no_mask(*_: object, **__: object) -> None:
    """Return the mask of packed attention."""
    return


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _no_mask)
