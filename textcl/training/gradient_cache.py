"""Batches larger than memory: the gradient of a whole batch from chunks of it.

Three steps, in the paper's words: a graph-less forward of all chunks, the loss with the gradient of every embedding
(the cache), and a second forward of each chunk through which its part of the cache flows back. The last chunk is spared
the second forward: its graph is kept while the loss is computed.

References:
    Gao, Zhang, Han and Callan (2021), arXiv:2101.06983, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from textcl.encoder.transfer import send
from textcl.methods.method import Method, MethodOutput, PairBatch

Backward = Callable[[Tensor], None]


def cached_backward(
    method: nn.Module,
    batch: PairBatch,
    seed_chunk: Callable[[int], None],
    backward: Backward,
    *,
    chunk_rows: int | None = None,
    chunk_tokens: int | None = None,
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> MethodOutput:
    """Add the gradients of the batch's loss to the parameters, holding the activations of one chunk at a time.

    Args:
        method: A Method, or DistributedDataParallel around one; each process may have its own number of chunks.
        batch: A whole batch.
        seed_chunk: Seeds torch's generators for a chunk number, so that both forwards of it drop the same units.
        backward: Runs backward from the loss, times whatever factor the step wants; the cache has that factor already,
            so that the chunks are not scaled again.
        chunk_rows: As `split_rows` has it.
        chunk_tokens: Likewise.
        no_sync: A context in which gradients are kept back from the other processes.

    Returns:
        The method's output, its loss detached.
    """
    inner = cast(Method, getattr(method, "module", method))
    tokens = inner.trained_tokens(batch)
    chunks = split_rows(tokens.lengths, chunk_rows, chunk_tokens)

    def embed(number: int, through: nn.Module = inner) -> Tensor:
        seed_chunk(number)
        embeddings: Tensor = through(tokens=tokens.take(chunks[number]))
        return embeddings

    # DistributedDataParallel must see a forward behind all backwards without it, so its only chunk is run twice.
    again = len(chunks) - 1 if len(chunks) > 1 or method is inner else 1
    with torch.no_grad():
        parts = [embed(number) for number in range(again)]
    kept = [embed(number) for number in range(again, len(chunks))]
    embeddings = _in_order([*parts, *kept], chunks).requires_grad_()
    with no_sync():
        output = inner.loss(embeddings, inner.embed_fixed(batch), batch)
        backward(output.loss)
        cache = [cast(Tensor, embeddings.grad)[chunk] for chunk in chunks]
        if kept:
            torch.autograd.backward(kept[0], cache[-1])
        for number in range(again - 1):
            torch.autograd.backward(embed(number), cache[number])
    if again:
        reached = [embed(again - 1, method), *([] if method is inner else [touch_all(inner)])]
        torch.autograd.backward(reached, [cache[again - 1], None][: len(reached)])
    return MethodOutput(output.loss.detach(), output.diagnostics)


def split_rows(
    lengths: NDArray[np.int64], chunk_rows: int | None = None, chunk_tokens: int | None = None
) -> list[NDArray[np.int64]]:
    """Return the row numbers of each chunk, (n,) with n at least 1; every row is in one of them.

    The longest rows come first and rows of one length keep their order: rows of a chunk are of like length, and the
    last chunk, which is kept beside what the loss needs, has the smallest activations.

    Args:
        lengths: (B,) tokens of each row.
        chunk_rows: Most rows of a chunk; None sets no limit.
        chunk_tokens: Most tokens of a chunk, padding not counted: `forward_rows` pads little, and to the longest row of
            a group, not of the chunk. A longer row is a chunk of its own. None sets no limit.
    """
    most_rows, most_tokens = chunk_rows or math.inf, chunk_tokens or math.inf
    order = np.argsort(-lengths, kind="stable")
    starts, total = [0], 0
    for place, tokens in enumerate(lengths[order].tolist()):
        total += tokens
        if place > starts[-1] and (place - starts[-1] == most_rows or total > most_tokens):
            starts.append(place)
            total = tokens
    return np.split(order, starts[1:])


def _in_order(parts: Sequence[Tensor], chunks: Sequence[NDArray[np.int64]]) -> Tensor:
    """Return the embeddings of all chunks, (B, D), in the batch's order and without a gradient."""
    place = np.argsort(np.concatenate(chunks))
    return torch.cat([part.detach() for part in parts])[send(place, parts[0].device)]


def touch_all(method: Method) -> Tensor:
    """Return zero, with a gradient of zero for every parameter.

    Parameters that only the loss uses got their gradient before; DistributedDataParallel averages a parameter when
    backward reaches it in the synchronised pass, so it must be reached there too.
    """
    touched = [parameter.reshape(-1)[:1].sum() for parameter in method.parameters() if parameter.requires_grad]
    return 0.0 * torch.stack(touched).sum()
