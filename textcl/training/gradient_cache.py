"""Batches larger than memory: the gradient of a whole batch from chunks of it.

Three steps, in the paper's words: a graph-less forward of all chunks, the loss with the gradient of every projection
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

from textcl.methods.method import Method, MethodOutput, PairBatch, Projections

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
        batch: 2B token rows.
        chunk_rows: Token rows a chunk.
        seed_chunk: Seeds torch's generators for a chunk number, so that both forwards of it drop the same units.
        backward: Runs backward from the loss, times whatever factor the step wants; the cache has that factor already,
            so that the chunks are not scaled again.
        no_sync: A context in which gradients are kept back from the other processes.

    Returns:
        The method's output, its loss detached.
    """
    inner = cast(Method, getattr(method, "module", method))
    chunks = list(_chunks(len(batch.tokens), chunk_rows))
    with torch.no_grad():
        projections = _embed_chunks(inner, batch, chunks, seed_chunk)
    leaves = {name: value.detach().requires_grad_() for name, value in projections.items()}
    with no_sync():
        output = inner.loss(leaves, batch)
        backward(output.loss)
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        with nullcontext() if last else no_sync():
            seed_chunk(number)
            again = method(tokens=batch.tokens.take(chunk))
            surrogate = torch.stack(
                [(again[name] * leaf.grad[chunk]).sum() for name, leaf in leaves.items() if leaf.grad is not None]
            ).sum()
            if last and method is not inner:
                surrogate = surrogate + touch_all(inner)
            surrogate.backward()  # type: ignore[no-untyped-call]
    return MethodOutput(output.loss.detach(), output.diagnostics)


def _chunks(rows: int, chunk_rows: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    for start in range(0, rows, chunk_rows):
        yield np.arange(start, min(start + chunk_rows, rows))


def _embed_chunks(
    method: Method,
    batch: PairBatch,
    chunks: list[np.ndarray[tuple[int], np.dtype[np.int64]]],
    seed_chunk: Callable[[int], None],
) -> Projections:
    parts = []
    for number, chunk in enumerate(chunks):
        seed_chunk(number)
        parts.append(method.embed(batch.tokens.take(chunk)))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def touch_all(method: Method) -> Tensor:
    """Return zero, with a gradient of zero for every parameter.

    Parameters that only the loss uses got their gradient before; DistributedDataParallel averages a parameter when
    backward reaches it in the synchronised pass, so it must be reached there too.
    """
    touched = [parameter.reshape(-1)[:1].sum() for parameter in method.parameters() if parameter.requires_grad]
    return 0.0 * torch.stack(touched).sum()
