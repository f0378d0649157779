"""Whether a contrastive run is healthy, by its embeddings of a fixed probe set of pairs.

Each way to collapse shows in one quantity at least: all rows at one point in `spread` and `mean_cosine`, rows in a few
dimensions in `effective_rank`, pairs that are no nearer than other texts (or a second side that collapses alone) in
`gap`. What is usual differs between encoders by more than a collapse does, so they are judged against the begin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from textcl.errors import ConfigError, ShapeError
from textcl.losses.hypersphere import alignment, uniformity
from textcl.losses.info_nce import InfoNCE
from textcl.losses.rows import unit_rows

MEASURES = ("alignment", "uniformity", "effective_rank", "spread", "mean_cosine", "gap", "info_nce")
_ROUNDING = torch.finfo(torch.float32).eps  # encoders compute no finer, whatever the width here
_RISE = 0.1  # a mean cosine that rose by less was high before: untrained encoders have 0.9 and more
_NOISE = 0.05  # a gap below this share of the room that cosines have tells nothing


@dataclass(frozen=True)
class Limits:
    """Where a collapse begins.

    Args:
        least_rank: Share of the begin's effective rank, in [0, 1].
        least_spread: Share of the begin's spread, in [0, 1].
        least_gap: Share of the begin's gap, in [0, 1].
        most_cosine: Mean cosine of different rows, in [0, 1]; it counts if it rose by 0.1 since the begin.
    """

    least_rank: float = 0.5
    least_spread: float = 0.5
    least_gap: float = 0.25
    most_cosine: float = 0.9

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0 <= getattr(self, field.name) <= 1:
                raise ConfigError(field.name, getattr(self, field.name), "a number in [0, 1]")


def measure_health(first: Tensor, second: Tensor) -> dict[str, float]:
    """Return how P embedded pairs lie on the unit sphere, computed in float64 on the CPU; nothing depends on lengths.

    Args:
        first: (P, D) floats, P at least 2; a row of zeros stays one.
        second: (P, D), row i is the other view of what row i of `first` shows.

    Returns:
        All finite, or all NaN if an embedding is no finite number:

        - alignment: Mean squared distance of pairs, in [0, 4]; lower is closer.
        - uniformity: Log of the mean of exp(-2 d²) over different rows of `first`, at most 0; lower is more even.
        - effective_rank: Dimensions that `first` varies in, from 1 to min(P - 1, D); 0 if all rows are equal to
          float32's rounding. Of the centred rows: a direction that all rows share tells no text from another, yet
          holds most of the singular values of an encoder whose embeddings lie in a narrow cone.
        - spread: Mean over dimensions of the standard deviation of `first`, times √D, in [0, 1]; 1 is even. The only
          one that a rotation changes.
        - mean_cosine: Of different rows of `first`.
        - gap: Mean cosine of pairs less that of rows of `first` with other rows' second views.
        - info_nce: Of `first` among `second` at temperature 0.05, in nats; log P if nothing is told apart.

    Raises:
        ShapeError: If the shapes are not (P, D) with P at least 2, and equal.

    References:
        Wang and Isola (2020), arXiv:2005.10242, section 4.1, for alignment and uniformity; Roy and Vetterli (2007),
        The effective rank, EUSIPCO, Definition 1; Chen and He (2021), arXiv:2011.10566, section 4.1, for spread.
    """
    if first.ndim != 2 or len(first) < 2 or first.shape[1] == 0:
        raise ShapeError("first", first.shape, "(P, D), P at least 2 and D at least 1")
    if second.shape != first.shape:
        raise ShapeError("second", second.shape, f"{tuple(first.shape)}, as first has")
    first, second = _unit_rows(first), _unit_rows(second)
    if not (first.isfinite().all() and second.isfinite().all()):
        return dict.fromkeys(MEASURES, math.nan)
    P, D = first.shape
    different = ~torch.eye(P, dtype=torch.bool)
    cosines = first @ second.T
    values = (
        alignment(first, second),
        uniformity(first),
        _effective_rank(first),
        first.std(dim=0, correction=0).mean() * D**0.5,
        (first @ first.T)[different].mean().clamp(max=1),
        cosines.diagonal().mean() - cosines[different].mean(),
        InfoNCE(temperature=0.05)(first, second),
    )
    return {name: float(value) for name, value in zip(MEASURES, values, strict=True)}


def find_faults(now: Mapping[str, float], begin: Mapping[str, float], limits: Limits) -> list[str]:
    """Return what is wrong with a run, one clause a fault: what is seen, what it was at the begin, the limit.

    Two limits are no plain share of the begin. An effective rank below 1 means equal rows, and is a fault in any case.
    A begin's gap is taken for at least 0.05 of the room that cosines have (1 - mean cosine): where an untrained encoder
    has a gap near or below 0, the gap has no share to keep, and must not fall by more than that.

    Args:
        now: What `measure_health` says; other names are left alone.
        begin: The same before the first step.
        limits: Where a collapse begins.
    """
    if not _is_finite(now):
        return ["some embeddings are no finite numbers"]
    if not _is_finite(begin):
        return ["some embeddings were no finite numbers at the begin, so that there is nothing to judge by"]
    room = 1 - min(now["mean_cosine"], begin["mean_cosine"])
    least_gap = begin["gap"] - (1 - limits.least_gap) * max(begin["gap"], _NOISE * room)
    least_rank = max(1.0, limits.least_rank * begin["effective_rank"])
    least_spread = limits.least_spread * begin["spread"]
    faults = []
    if now["effective_rank"] < least_rank:
        faults.append(f"the embeddings collapse to few dimensions: {_seen('effective_rank', now, begin, least_rank)}")
    if now["spread"] < least_spread:
        faults.append(f"the embeddings collapse to one point: {_seen('spread', now, begin, least_spread)}")
    if now["mean_cosine"] > limits.most_cosine and now["mean_cosine"] - begin["mean_cosine"] >= _RISE:
        faults.append(f"the embeddings point one way: {_seen('mean_cosine', now, begin, limits.most_cosine, 'most')}")
    if now["gap"] < least_gap:
        faults.append(f"pairs are hardly nearer than other texts: {_seen('gap', now, begin, least_gap)}")
    return faults


def message(step: int, faults: Sequence[str], advice: str) -> str:
    """Return one line that says what was found at optimizer step `step` and what to change; it ends like `advice`."""
    said = f"step {step}: {'; '.join(faults)}"
    return f"{said}. {advice[0].upper()}{advice[1:]}" if advice else said


def _seen(name: str, now: Mapping[str, float], begin: Mapping[str, float], limit: float, which: str = "least") -> str:
    digits = 1 if name == "effective_rank" else 3
    values = [f"{value:z.{digits}f}" for value in (now[name], begin[name], limit)]
    return f"{name.replace('_', ' ')} {values[0]}, at the begin {values[1]} ({which}: {values[2]})"


def _is_finite(values: Mapping[str, float]) -> bool:
    return all(math.isfinite(values[name]) for name in MEASURES)


def _unit_rows(rows: Tensor) -> Tensor:
    """Return the rows at unit length, also those whose squares would be too large or too small for a float64."""
    wide = rows.detach().cpu().double()
    return unit_rows(wide / wide.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny))


def _effective_rank(rows: Tensor) -> Tensor:
    """Return exp of the entropy of the singular values, normalised to sum 1, of the centred rows of unit length."""
    found = torch.linalg.svdvals(rows - rows.mean(dim=0))
    found = found[found > _ROUNDING * len(rows) ** 0.5]
    return torch.special.entr(found / found.sum()).sum().exp() if len(found) else torch.zeros(())
