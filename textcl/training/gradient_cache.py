"""Batches larger than memory: the gradient of a whole batch from chunks of it.

Three steps, in the paper's words: a graph-less forward of all chunks, the loss with the gradient of every embedding
(the cache), and a second forward of each chunk through which its part of the cache flows back.

References:
    Gao, Zhang, Han and Callan (2021), arXiv:2101.06983, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from textcl.methods.method import Method, MethodOutput, PairBatch

Backward = Callable[[Tensor], None]


def cached_backward(
    method: nn.Module,
    batch: PairBatch,
    chunk_rows: int,
    seed_chunk: Callable[[int], None],
    backward: Backward,
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> MethodOutput:
    """Add the gradients of the batch's loss to the parameters, holding the activations of one chunk at a time.

    Args:
        method: A Method, or DistributedDataParallel around one.
        batch: A whole batch.
        chunk_rows: Token rows a chunk.
        seed_chunk: Seeds torch's generators for a chunk number, so that both forwards of it drop the same units.
        backward: Runs backward from the loss, times whatever factor the step wants; the cache has that factor already,
            so that the chunks are not scaled again.
        no_sync: A context in which gradients are kept back from the other processes.

    Returns:
        The method's output, its loss detached.
    """
    inner = cast(Method, getattr(method, "module", method))
    tokens = inner.trained_tokens(batch)
    chunks = list(_chunks(len(tokens), chunk_rows))
    with torch.no_grad():
        parts = []
        for number, chunk in enumerate(chunks):
            seed_chunk(number)
            parts.append(inner.embed(tokens.take(chunk)))
    embeddings = torch.cat(parts).requires_grad_()
    with no_sync():
        output = inner.loss(embeddings, inner.embed_fixed(batch), batch)
        backward(output.loss)
    cache = embeddings.grad
    assert cache is not None
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        with nullcontext() if last else no_sync():
            seed_chunk(number)
            surrogate = (method(tokens=tokens.take(chunk)) * cache[chunk]).sum()
            if last and method is not inner:
                surrogate = surrogate + touch_all(inner)
            surrogate.backward()
    return MethodOutput(output.loss.detach(), output.diagnostics)


def _chunks(rows: int, chunk_rows: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    for start in range(0, rows, chunk_rows):
        yield np.arange(start, min(start + chunk_rows, rows))


def touch_all(method: Method) -> Tensor:
    """Return zero, with a gradient of zero for every parameter.

    Parameters that only the loss uses got their gradient before; DistributedDataParallel averages a parameter when
    backward reaches it in the synchronised pass, so it must be reached there too.
    """
    touched = [parameter.reshape(-1)[:1].sum() for parameter in method.parameters() if parameter.requires_grad]
    return 0.0 * torch.stack(touched).sum()
