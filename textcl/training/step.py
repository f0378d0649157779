"""One optimizer step: the gradients of its batches, plain or through the gradient cache, and the update."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor

from textcl.methods.method import Method, MethodOutput, PairBatch
from textcl.randomness import key_of
from textcl.training.gradient_cache import cached_backward, touch_all
from textcl.training.optimizer import set_learning_rate
from textcl.training.schedules import learning_rate_at
from textcl.training.settings import TrainingSettings


def one_step(
    accelerator: Accelerator,
    wrapped: torch.nn.Module,
    optimizer: Any,  # noqa: ANN401 (Accelerate's, which has no types)
    batches: Sequence[PairBatch],
    step: int,
    settings: TrainingSettings,
    rate_share: float = 1.0,
) -> dict[str, Tensor]:
    """Train on the batches of one step; return its scalars, still on the device.

    Args:
        accelerator: Decides precision and processes.
        wrapped: A Method, or what `accelerator.prepare` made of one.
        optimizer: What it made of the optimizer.
        batches: Their gradients are averaged.
        step: Optimizer steps done before.
        settings: Numbers of the loop.
        rate_share: Factor of the schedule's learning rate.
    """
    method = cast(Method, accelerator.unwrap_model(wrapped))
    method.train()
    method.before_update(min(step / max(settings.steps - 1, 1), 1.0))
    scheduled = learning_rate_at(
        step, settings.steps, settings.learning_rate, settings.warmup_fraction, settings.schedule
    )
    set_learning_rate(optimizer, rate_share * scheduled)
    outputs = [
        _backward(accelerator, wrapped, batch, settings, (step, place), len(batches))
        for place, batch in enumerate(batches)
    ]
    values = {"loss": torch.stack([output.loss.detach() for output in outputs]).mean()}
    for name in outputs[0].diagnostics:
        values[name] = torch.stack([output.diagnostics[name] for output in outputs]).mean()
    if settings.clip_norm is not None:
        values["gradient_norm"] = accelerator.clip_grad_norm_(method.parameters(), settings.clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    method.after_update(step + 1)
    values["learning_rate"] = torch.tensor(rate_share * scheduled)
    return values


def _backward(
    accelerator: Accelerator,
    wrapped: torch.nn.Module,
    batch: PairBatch,
    settings: TrainingSettings,
    place: tuple[int, int],
    count: int,
) -> MethodOutput:
    """Add the gradients of one batch, at (step, number) `place`, as its share of a step of `count` batches."""

    def no_sync() -> Any:  # noqa: ANN401 (Accelerate's own context)
        return accelerator.no_sync(wrapped)

    def backward(loss: Tensor) -> None:
        accelerator.backward(loss / count)

    def seed_chunk(number: int) -> None:
        torch.manual_seed(key_of(settings.seed, "dropout", *place, accelerator.process_index, number))

    with no_sync() if place[1] < count - 1 else nullcontext():
        chunks = {"chunk_rows": settings.chunk_rows, "chunk_tokens": settings.chunk_tokens}
        if any(chunks.values()):
            with accelerator.autocast():
                return cached_backward(wrapped, batch, seed_chunk, backward, **chunks, no_sync=no_sync)
        seed_chunk(0)
        output: MethodOutput = wrapped(batch=batch)
        # Every parameter must be reached, or DistributedDataParallel waits for it.
        method = accelerator.unwrap_model(wrapped)
        backward(output.loss if wrapped is method else output.loss + touch_all(method))
        return output
