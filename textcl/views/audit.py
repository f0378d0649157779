"""How much of its text a view keeps: similarity, shared tokens, length, and the worst examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textcl.corpus.tokens import TokenRows
from textcl.errors import ShapeError
from textcl.views.units import row_numbers

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Example:
    """A text, its view, and their cosine."""

    text: str
    view: str
    cosine: float


@dataclass(frozen=True)
class ViewAudit:
    """What a view does to N texts.

    Args:
        name: Of the view.
        texts: N.
        cosine: Mean cosine of text and view, in [-1, 1].
        quantiles: The cosine's quantiles, by their share.
        token_overlap: Mean of shared tokens / all tokens of the two, with their counts, in [0, 1].
        length_ratio: Mean of the view's tokens / the text's.
        unchanged: Share of views with the text's own tokens.
        empty: Share of views without any token.
        worst: The views with the lowest cosine, lowest first.
    """

    name: str
    texts: int
    cosine: float
    quantiles: dict[float, float]
    token_overlap: float
    length_ratio: float
    unchanged: float
    empty: float
    worst: tuple[Example, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers and examples as plain values."""
        return {**asdict(self), "quantiles": {f"{share:g}": value for share, value in self.quantiles.items()}}


def audit_view(
    name: str,
    texts: TokenRows,
    views: TokenRows,
    read: Callable[[TokenRows], list[str]],
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    worst: int = 5,
) -> ViewAudit:
    """Measure what a view did.

    Args:
        name: What the view is called.
        texts: N rows of at least one token: the texts.
        views: N rows: the view of each.
        read: Token rows → strings.
        embed: Strings → unit-length embeddings (N, D), under the encoder that judges.
        worst: How many of the worst examples are kept.

    Raises:
        ShapeError: If there are no texts, or not as many views.
    """
    if len(texts) != len(views) or not len(texts):
        raise ShapeError("views", (len(views),), f"({max(len(texts), 1)},)")
    before, after = read(texts), read(views)
    cosines = (embed(before) * embed(after)).sum(axis=1).astype(np.float64)
    lowest = np.argsort(cosines, kind="stable")[:worst]
    unchanged = [np.array_equal(texts.row(row), views.row(row)) for row in range(len(texts))]
    return ViewAudit(
        name=name,
        texts=len(texts),
        cosine=float(cosines.mean()),
        quantiles={share: float(np.quantile(cosines, share)) for share in QUANTILES},
        token_overlap=float(token_overlap(texts, views).mean()),
        length_ratio=float((views.lengths / np.maximum(texts.lengths, 1)).mean()),
        unchanged=float(np.mean(unchanged)),
        empty=float((views.lengths == 0).mean()),
        worst=tuple(Example(before[row], after[row], float(cosines[row])) for row in lowest),
    )


def token_overlap(first: TokenRows, second: TokenRows) -> NDArray[np.float64]:
    """Return shared tokens / all tokens of each pair of rows, tokens counted as often as they stand; (B,) in [0, 1].

    This is Jaccard's index of the two multisets; two empty rows share everything.
    """
    keys = [row_numbers(rows) << 32 | rows.ids.astype(np.int64) for rows in (first, second)]
    present, places = np.unique(np.concatenate(keys), return_inverse=True)
    counts = [
        np.bincount(part, minlength=len(present)) for part in (places[: len(first.ids)], places[len(first.ids) :])
    ]
    shared, total = (
        np.bincount(present >> 32, weights=combine(*counts), minlength=len(first))
        for combine in (np.minimum, np.maximum)
    )
    overlap: NDArray[np.float64] = np.where(total > 0, shared / np.maximum(total, 1), 1.0)
    return overlap
