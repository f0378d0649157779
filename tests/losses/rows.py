"""Rows and masks that the tests of losses draw."""

from __future__ import annotations

import torch
from hypothesis import strategies as st


def gaussian_rows(seed, *counts, width=8):
    """One (count, width) float64 tensor for each count."""
    generator = torch.Generator().manual_seed(seed % 2**31)
    return [torch.randn(count, width, dtype=torch.float64, generator=generator) for count in counts]


def drawn_same(data, batch):
    """A symmetric (B, B) relation with a true diagonal, as equal labels make it."""
    labels = data.draw(st.lists(st.integers(0, 3), min_size=batch, max_size=batch))
    return [[first == second for second in labels] for first in labels]


def drawn_masks(data, batch, extra):
    """`drawn_same`, and any (B, K) relation; or None for both."""
    if not data.draw(st.booleans()):
        return None, None
    row = st.lists(st.booleans(), min_size=extra, max_size=extra)
    return drawn_same(data, batch), data.draw(st.lists(row, min_size=batch, max_size=batch))


def drawn_positives(data, batch):
    """A symmetric (B, B) relation that need not go on from one row to the next, with any diagonal; or None."""
    if not data.draw(st.booleans()):
        return None
    drawn = data.draw(st.lists(st.lists(st.booleans(), min_size=batch, max_size=batch), min_size=batch, max_size=batch))
    return [[drawn[min(i, j)][max(i, j)] for j in range(batch)] for i in range(batch)]


def as_mask(rows):
    """A boolean tensor of lists."""
    return None if rows is None else torch.tensor(rows, dtype=torch.bool)


def gradients(loss, *rows):
    """The gradients of a scalar by each of the matrices."""
    rows = [matrix.detach().clone().requires_grad_() for matrix in rows]
    return torch.autograd.grad(loss(*rows), rows)


def central_differences(function, *rows, step=1e-6):
    """The slopes of a function of lists of lists, by moving one number at a time."""
    found = []
    for place, matrix in enumerate(rows):
        slopes = torch.zeros_like(matrix)
        for i in range(matrix.shape[0]):
            for j in range(matrix.shape[1]):
                ends = []
                for sign in (1, -1):
                    moved = [other.tolist() for other in rows]
                    moved[place][i][j] += sign * step
                    ends.append(function(*moved))
                slopes[i, j] = (ends[0] - ends[1]) / (2 * step)
        found.append(slopes)
    return found
