"""Dropout whose draws cost little on a CPU.

torch draws a number for each unit one after the other, which takes a tenth of a training step of a small encoder. Here
a draw of 64 bits decides four units, and the result is the same but for the rate, which is rounded to 1 / 65,536; the
factor of the kept units has the rounded rate, so that the expectation stays exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STEPS = 1 << 16
_LOWEST = -(1 << 15)


class CheapDropout(nn.Dropout):
    """nn.Dropout with cheap draws where it runs on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Return (...) units, some of them zero, like nn.Dropout."""
        if not self.training or self.inplace or input.device.type != "cpu":
            return super().forward(input)
        return drop_units(input, self.p)


def draw_cheaply(module: nn.Module) -> None:
    """Turn every nn.Dropout inside `module` into a CheapDropout, in place; what is saved of it is the same."""
    for one in module.modules():
        if type(one) is nn.Dropout:
            one.__class__ = CheapDropout


def drop_units(units: Tensor, rate: float) -> Tensor:
    """Return the units, each zero with probability `rate`, the others divided by 1 - `rate`.

    Args:
        units: (...) on a CPU; elsewhere torch's own dropout draws as fast.
        rate: In [0, 1].
    """
    steps = round(rate * _STEPS)
    if units.device.type != "cpu" or steps in (0, _STEPS):
        return F.dropout(units, rate)
    dropped: Tensor = _Drop.apply(units, steps)  # type: ignore[no-untyped-call]
    return dropped


class _Drop(torch.autograd.Function):
    """Zero where 16 random bits are a number among the lowest."""

    @staticmethod
    def forward(ctx: Any, units: Tensor, steps: int) -> Tensor:  # noqa: ANN401 (torch's context, which has no public type)
        bits = torch.empty(-(-units.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
        kept = (bits.view(torch.int16)[: units.numel()] >= _LOWEST + steps).view(units.shape)
        ctx.save_for_backward(kept)
        ctx.factor = _STEPS / (_STEPS - steps)
        return torch.where(kept, units, 0.0).mul_(ctx.factor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (kept,) = ctx.saved_tensors
        return torch.where(kept, gradient, 0.0).mul_(ctx.factor), None
