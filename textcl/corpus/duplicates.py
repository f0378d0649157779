"""Texts that are equal or nearly so, and the groups that they form.

Near-equal texts are proposed by MinHash and locality-sensitive hashing, and each proposal is checked against the
shingles themselves: a sketch may miss a pair, but it never makes one.

References:
    Broder (1997), On the resemblance and containment of documents, doi:10.1109/SEQUEN.1997.666900; Leskovec, Rajaraman
    and Ullman (2020), Mining of Massive Datasets, section 3.4 (bands and rows).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from textcl.corpus.tokens import offsets_of
from textcl.errors import ConfigError
from textcl.progress import Progress, quiet
from textcl.randomness import key_of

_MOST_HASHES = 256
_RECALL = 0.98
_NEIGHBOURS = 32  # a bucket of n texts costs at most 32 n comparisons
_CHUNK_TEXTS = 5000
_CHUNK_PAIRS = 50_000
_CHARACTER_BITS = np.uint64(21)  # Unicode ends at 0x10FFFF: a trigram is one 63-bit number, without a hash

Ids = NDArray[np.int64]


def find_duplicates(
    texts: Sequence[str], threshold: float | None = None, *, seed: int = 0, progress: Progress = quiet
) -> Ids:
    """Return (N,) group ids: texts of one group are equal, or near-equal with `threshold`.

    Near-equal texts have a Jaccard similarity of at least `threshold` between their shingles: the character trigrams
    of a text with its case folded, white space made single, and one space before and after. A chain of near-equal
    pairs is one group, so two texts of a group may be less alike.

    Args:
        texts: N texts; none gives no ids.
        threshold: Similarity in (0, 1); None groups equal strings alone, where letter case and white space count.
        seed: Draws the sketches that propose the pairs. A pair at the threshold is missed about once in fifty times,
            a more similar one less often; texts that no chain of pairs connects are never in one group.
        progress: Told the number of distinct texts sketched, and then of bands searched.

    Returns:
        Ids from 0 without gaps, in order of first appearance.

    Raises:
        ConfigError: If `threshold` is not between 0 and 1.
    """
    if threshold is None:
        with progress("group equal texts", len(texts)) as advance:
            ids = _numbered(texts)
            advance(len(texts))
        return ids
    if not 0 < threshold < 1:
        raise ConfigError("threshold", threshold, "a similarity in (0, 1)")
    plain = [" ".join(text.casefold().split()) for text in texts]
    ids = _numbered(plain)
    distinct = list(dict.fromkeys(plain))
    if not distinct:
        return ids
    sets, keys = _sketched(distinct, *bands_and_rows(threshold), seed, progress)
    labels = _connected(sets, keys, threshold, progress)
    return _numbered(labels[ids].tolist())  # scipy promises no order


def bands_and_rows(threshold: float) -> tuple[int, int]:
    """Return how many bands of how many hashes find a pair at `threshold`, at most 256 hashes in all.

    Two texts of similarity s have one of b bands of r hashes in common with chance 1 - (1 - s^r)^b. The more rows, the
    fewer pairs are proposed in vain, so r is the greatest that keeps this chance at 0.98 or above.
    """
    for rows in range(_MOST_HASHES, 1, -1):
        bands = _MOST_HASHES // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    return _MOST_HASHES, 1


def _numbered(values: Sequence[object]) -> Ids:
    numbers: dict[object, int] = {}
    return np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), np.int64, count=len(values))


def _sketched(
    texts: Sequence[str], bands: int, rows: int, seed: int, progress: Progress
) -> tuple[Any, NDArray[np.uint64]]:
    """Return the shingles of each text, a sparse (N, any) matrix, and its keys, (bands, N)."""
    keys = np.empty((bands, len(texts)), np.uint64)
    shingles, lengths = [], []
    with progress("sketch texts", len(texts)) as advance:
        for start in range(0, len(texts), _CHUNK_TEXTS):
            part = slice(start, start + _CHUNK_TEXTS)
            sets = _shingle_sets(texts[part])
            keys[:, part] = _band_keys(sets, bands, rows, key_of(seed, "duplicates"))
            shingles.append(sets.indices)
            lengths.append(np.diff(sets.indptr))
            advance(sets.shape[0])
    return _sparse(np.concatenate(shingles), offsets_of(np.concatenate(lengths))), keys


def _shingle_sets(texts: Sequence[str]) -> Any:  # noqa: ANN401 (scipy has no types)
    """Return one row a text, with the numbers of its trigrams as columns, sorted and each once."""
    padded = [f" {text} " for text in texts]
    ends = np.cumsum([len(text) for text in padded])
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    trigrams = codes[:-2] << 2 * _CHARACTER_BITS | codes[1:-1] << _CHARACTER_BITS | codes[2:]
    within = np.ones(len(codes), np.bool_)
    within[ends - 1] = within[ends - 2] = False  # these start in one text and end in the next
    lengths = np.diff(ends, prepend=0) - 2
    sets = _sparse(trigrams[within[: len(trigrams)]].view(np.int64), offsets_of(lengths))
    sets.sum_duplicates()
    return sets


def _sparse(columns: Ids, offsets: Ids) -> Any:  # noqa: ANN401 (scipy has no types)
    there = np.ones(len(columns), np.bool_)
    return csr_array((there, columns, offsets), shape=(len(offsets) - 1, np.iinfo(np.int64).max))


def _band_keys(sets: Any, bands: int, rows: int, seed: int) -> NDArray[np.uint64]:  # noqa: ANN401 (a sparse matrix)
    """Return (bands, N) keys; two texts have one in common if `rows` hashes of their MinHash sketches agree."""
    sketches = RMinHash.digest_matrix_from_flat_token_hashes(
        sets.indices.view(np.uint64), sets.indptr.astype(np.uint64), bands * rows, seed
    ).to_rows()
    hashes = np.fromiter(chain.from_iterable(sketches), np.uint64, count=len(sketches) * bands * rows)
    # Equal hashes have equal sums. That others do by chance is rare and harmless: what is proposed is checked.
    keys: NDArray[np.uint64] = hashes.reshape(len(sketches), bands, rows).sum(axis=2).T
    return keys


def _connected(sets: Any, keys: NDArray[np.uint64], threshold: float, progress: Progress) -> Ids:  # noqa: ANN401
    """Return the component of each text, (N,); the pairs of a component are not compared again."""
    count = sets.shape[0]
    labels = np.arange(count)
    left = right = np.empty(0, np.int64)
    with progress("compare texts, by bands", len(keys)) as advance:
        for band in range(len(keys)):
            for first, second in _proposed(keys, band):
                open_ = labels[first] != labels[second]
                first, second = first[open_], second[open_]
                near = _similarities(sets, first, second) >= threshold
                if near.any():
                    left, right = np.append(left, first[near]), np.append(right, second[near])
                    edges = coo_array((np.ones(len(left), np.bool_), (left, right)), shape=(count, count))
                    labels = connected_components(edges, directed=False)[1]
            advance(1)
    return labels


def _proposed(keys: NDArray[np.uint64], band: int) -> Iterator[tuple[Ids, Ids]]:
    """Yield pairs of texts with the same key: neighbours first, then those two apart, and so on up to 32.

    Texts of one bucket stand in the order of the band before, so in a bucket above 32 the most similar ones are
    likely to be near each other, and they are others in each band.
    """
    order = np.lexsort((keys[band - 1], keys[band]))
    ordered = keys[band, order]
    for distance in range(1, _NEIGHBOURS + 1):
        places = np.flatnonzero(ordered[:-distance] == ordered[distance:])
        if len(places) == 0:
            return
        yield order[places], order[places + distance]


def _similarities(sets: Any, first: Ids, second: Ids) -> NDArray[np.float64]:  # noqa: ANN401 (a sparse matrix)
    """Return the Jaccard similarity of each pair of rows, (n,)."""
    sizes = np.diff(sets.indptr)
    shared = np.zeros(len(first), np.int64)
    for start in range(0, len(first), _CHUNK_PAIRS):
        part = slice(start, start + _CHUNK_PAIRS)
        shared[part] = np.diff(sets[first[part]].multiply(sets[second[part]]).indptr)
    similarities: NDArray[np.float64] = shared / (sizes[first] + sizes[second] - shared)
    return similarities
