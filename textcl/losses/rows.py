"""What losses do to their rows first: check their shapes, widen half precision, scale to unit length, multiply."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from textcl.errors import ShapeError


def check_rows(name: str, rows: Tensor, least: int = 1, letter: str = "B") -> None:
    """Raise ShapeError unless `rows` is a matrix of at least `least` rows."""
    if rows.ndim != 2 or len(rows) < least:
        raise ShapeError(name, rows.shape, f"({letter}, D), {letter} at least {least}")


def check_pair(first: Tensor, second: Tensor, names: tuple[str, str] = ("first", "second"), least: int = 1) -> None:
    """Raise ShapeError unless both are (B, D) with B at least `least`."""
    check_rows(names[0], first, least)
    if second.shape != first.shape:
        raise ShapeError(names[1], second.shape, f"{tuple(first.shape)}, as the {names[0]} has")


def widen(rows: Tensor) -> Tensor:
    """Return the rows in float32 at least.

    Half precision has too few digits for a softmax over similarities that are divided by a small temperature, and for
    sums over a batch.
    """
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def unit_rows(rows: Tensor) -> Tensor:
    """Return the rows at unit length, in float32 at least; a row of zeros stays one."""
    return F.normalize(widen(rows), dim=-1)


def products(first: Tensor, second: Tensor) -> Tensor:
    """Return the inner product of each row of `first` (N, D) with each of `second` (M, D), (N, M)."""
    with torch.autocast(first.device.type, enabled=False):  # it would take the products back to half precision
        return first @ second.T
