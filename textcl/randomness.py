"""(seed, epoch, row, view) → random numbers: the only source of randomness outside torch's dropout.

Numbers are counter-based: each is a pure function of a key (what it is for) and a counter (row, position, draw). A
batch and its single rows therefore agree, whatever the number of workers, their order, or a resume in between.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def key_of(*name: str | int) -> int:
    """Return the 64-bit key called `name`: equal names give equal keys, different names independent ones."""
    plain = tuple(part if isinstance(part, str) else int(part) for part in name)  # NumPy's numbers print in other words
    return int.from_bytes(hashlib.blake2b(repr(plain).encode(), digest_size=8).digest(), "big")


def stream(*name: str | int) -> random.Random:
    """Return Python's own generator for the stream called `name`."""
    return random.Random(key_of(*name))


def permutation(length: int, *name: str | int) -> NDArray[np.int64]:
    """Return the numbers 0 … length - 1 in the random order called `name`, (length,)."""
    return np.random.Generator(np.random.Philox(key=key_of(*name))).permutation(length).astype(np.int64)


def philox(counter: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Return Philox4x32-10 of each counter.

    Args:
        counter: (n, 4), each entry below 2**32.
        key: Below 2**64.

    Returns:
        (n, 4), each entry a random 32-bit number.

    References:
        Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3; section 3.3.
    """
    c0, c1, c2, c3 = (counter[:, column].astype(np.uint64) for column in range(4))
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _round in range(10):
        product0, product1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2  # 32 x 32 bits, exact in 64
        c0 = (product1 >> _HALF) ^ c1 ^ np.uint64(k0)
        c2 = (product0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = product1 & _LOW, product0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1)


@dataclass(frozen=True)
class RowRandom:
    """The random numbers of one view on one batch of rows.

    Args:
        name: What the numbers are for, such as (seed, epoch, "first"); other names give independent numbers.
        rows: (B,) row numbers in the data set, at least 0; the batch's order does not matter to any row's numbers.
        progress: How far training is, in [0, 1], for views whose strength has a schedule; no number depends on it.
    """

    name: tuple[str | int, ...]
    rows: NDArray[np.int64]
    progress: float = 0.0

    def named(self, *name: str | int) -> RowRandom:
        """Return independent numbers for a part of the view, such as one link of a chain."""
        return RowRandom((*self.name, *name), self.rows, self.progress)

    def take(self, places: NDArray[np.int64]) -> RowRandom:
        """Return the numbers of some of the rows: those at `places` (n,) of the batch."""
        return RowRandom(self.name, self.rows[places], self.progress)

    def per_row(self, draw: int = 0) -> NDArray[np.float64]:
        """Return one number in [0, 1) for each row, (B,); another `draw` gives independent ones."""
        return self._uniform(self.rows, np.zeros(len(self.rows), dtype=np.int64), draw, purpose="row")

    def per_token(self, offsets: NDArray[np.int64], draw: int = 0) -> NDArray[np.float64]:
        """Return one number in [0, 1) for each token of rows cut at `offsets` (B + 1,), as (offsets[-1],)."""
        lengths = np.diff(offsets)
        positions = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return self._uniform(np.repeat(self.rows, lengths), positions, draw, purpose="token")

    def for_text(self, index: int) -> random.Random:
        """Return Python's own generator for the row at `index` of the batch."""
        return stream(*self.name, int(self.rows[index]))

    def _uniform(
        self, rows: NDArray[np.int64], positions: NDArray[np.int64], draw: int, purpose: str
    ) -> NDArray[np.float64]:
        wide = rows.astype(np.uint64)
        columns = [wide & _LOW, wide >> _HALF, positions.astype(np.uint64), np.full(len(rows), draw, dtype=np.uint64)]
        words = philox(np.stack(columns, axis=1), key_of(*self.name, purpose))
        # 53 bits, as random.random() makes its floats.
        high, low = words[:, 0] >> np.uint64(5), words[:, 1] >> np.uint64(6)
        return (high.astype(np.float64) * 67108864.0 + low.astype(np.float64)) / 9007199254740992.0
