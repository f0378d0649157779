"""Texts that are equal, or nearly so, and the groups that they form.

Near-equal texts are proposed by MinHash (`rensa`) and locality-sensitive hashing, and each proposal is checked against
the shingles themselves: a sketch may miss a pair, but it never makes one.

References:
    Broder (1997), On the resemblance and containment of documents; Leskovec, Rajaraman and Ullman, Mining of Massive
    Datasets, section 3.4 (bands and rows).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from textcl.errors import ConfigError
from textcl.progress import Progress, quiet
from textcl.randomness import stream

_HASHES = 256
_RECALL = 0.98
_NEIGHBOURS = 32
_CHUNK_TEXTS = 5000
_CHUNK_PAIRS = 50_000
_CHARACTER_BITS = np.uint64(21)  # Unicode ends at 0x10FFFF, so three characters fit into 64 bits without a loss

Rows = NDArray[np.int64]


def find_duplicates(
    texts: Sequence[str], threshold: float | None = None, *, seed: int = 0, progress: Progress = quiet
) -> Rows:
    """Return (N,) group ids: texts of one group are equal, or near-equal with `threshold`.

    Near-equal texts have a Jaccard similarity of at least `threshold` between their shingles, the character trigrams
    of the text with its case folded, white space made single, and a space at either end. A group holds all texts that
    a chain of near-equal pairs connects, so its first and last may be less alike.

    Args:
        texts: N texts; none gives no ids.
        threshold: Similarity in (0, 1); None groups equal strings alone.
        seed: Draws the sketches that propose the pairs. A pair at the threshold is missed about once in fifty times,
            a more similar one less often; no group holds a pair that is not there.
        progress: Told the number of texts done.

    Returns:
        Ids from 0 without gaps, in order of first appearance.

    Raises:
        ConfigError: If `threshold` is not between 0 and 1.
    """
    if threshold is None:
        return _numbered(texts)
    if not 0 < threshold < 1:
        raise ConfigError("threshold", threshold, "a similarity in (0, 1)")
    plain = [" ".join(text.casefold().split()) for text in texts]
    ids = _numbered(plain)
    distinct = list(dict.fromkeys(plain))
    keys = _band_keys(distinct, *bands_and_rows(threshold), seed, progress)
    return _numbered(_join(distinct, keys, threshold)[ids].tolist())


def bands_and_rows(threshold: float) -> tuple[int, int]:
    """Return how many bands of how many hashes find a pair at the threshold.

    A pair of similarity s shares one of b bands of r hashes with chance 1 - (1 - s^r)^b. More rows propose fewer pairs
    that turn out not to be near-equal, so r is the greatest that leaves that chance at 0.98 or above.
    """
    for rows in range(_HASHES, 1, -1):
        bands = _HASHES // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return _HASHES, 1


def _numbered(values):
    numbers = {}
    return np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), np.int64, count=len(values))


def _shingles(texts):
    padded = [f" {text} " for text in texts]
    lengths = np.fromiter(map(len, padded), np.int64, count=len(texts))
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    trigrams = codes[:-2] << _CHARACTER_BITS * np.uint64(2) | codes[1:-1] << _CHARACTER_BITS | codes[2:]
    inside = np.ones(len(codes), bool)
    ends = np.cumsum(lengths)
    inside[ends - 1] = inside[ends - 2] = False
    rows = np.repeat(np.arange(len(texts)), lengths-2)
    return rows, trigrams[inside[:-2]]

def _mixed(values):
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values

def _band_keys(texts, bands, rows, seed, progress):
    keys = np.zeros((bands, len(texts)), np.uint64)
    drawn = stream(seed, "duplicates").getrandbits(64)
    with progress("sketch", len(texts)) as advance:
        for start in range(0, len(texts), _CHUNK_TEXTS):
            part = texts[start : start + _CHUNK_TEXTS]
            of, trigrams = _shingles(part)
            offsets = np.searchsorted(of, np.arange(len(part) + 1)).astype(np.uint64)
            m = RMinHash.digest_matrix_from_flat_token_hashes(_mixed(trigrams), offsets, bands * rows, drawn)
            flat = np.fromiter(chain.from_iterable(m.to_rows()), np.uint32, count=len(part) * bands * rows)
            h = flat.reshape(len(part), bands, rows)
            k = np.zeros((len(part), bands), np.uint64)
            for r in range(rows):
                k = _mixed(k + h[:, :, r])
            keys[:, start : start + len(part)] = k.T
            advance(len(part))
    return keys

STAT = {"proposed":0,"verified":0,"rounds":0}
def _join(texts, keys, threshold):
    labels = np.arange(len(texts))
    left = right = np.empty(0, np.int64)
    for band in range(len(keys)):
        order = np.lexsort((keys[band - 1], keys[band]))
        for distance in range(1, _NEIGHBOURS + 1):
            if distance >= len(order): break
            a, b = order[:-distance], order[distance:]
            same = keys[band, a] == keys[band, b]
            if not same.any():
                break
            a, b = a[same], b[same]
            new = labels[a] != labels[b]
            a, b = a[new], b[new]
            STAT["proposed"] += len(a); STAT["rounds"] += 1
            ok = _near(texts, a, b, threshold)
            if not ok.any(): continue
            STAT["verified"] += int(ok.sum())
            left = np.concatenate([left, a[ok]]); right = np.concatenate([right, b[ok]])
            labels = connected_components(coo_array((np.ones(len(left), bool), (left, right)), shape=(len(texts),) * 2), directed=False)[1]
    return labels

def _near(texts, a, b, threshold):
    if not len(a): return np.zeros(0, bool)
    return np.concatenate([_similarities(texts, a[i:i+_CHUNK_PAIRS], b[i:i+_CHUNK_PAIRS]) for i in range(0, len(a), _CHUNK_PAIRS)]) >= threshold

def _similarities(texts, a, b):
    used, position = np.unique(np.concatenate([a, b]), return_inverse=True)
    l, r = np.split(position, 2)
    rows, tri = _shingles([texts[i] for i in used])
    vocab, columns = np.unique(tri, return_inverse=True)
    sets = csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape=(len(used), len(vocab)))
    sets.data[:] = 1
    sizes = np.diff(sets.indptr)
    shared = sets[l].multiply(sets[r]).sum(axis=1)
    return shared / (sizes[l] + sizes[r] - shared)
