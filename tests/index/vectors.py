"""Small indexes and what goes into them."""

from __future__ import annotations

import numpy as np

ENCODER = {
    "model": "tiny",
    "fingerprint": "0123abcd",
    "pooling": "mean",
    "max_tokens": 128,
    "query_prompt": "",
    "document_prompt": "passage: ",
    "dimension": 8,
}


def unit(seed, rows, width=8):
    found = np.random.default_rng(seed).normal(size=(rows, width))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def shard_of(folder):
    """The folder of an index's only shard."""
    (found,) = (folder / "shards").iterdir()
    return found


def parts(rows, seed=0, width=8):
    """What build_index takes for `rows` random documents."""
    numbers = np.random.default_rng(seed).permutation(rows)
    return {
        "vectors": unit(seed, rows, width),
        "ids": [f"d{number}" for number in numbers],
        "texts": [f"text of {number}, é" for number in numbers],
        "encoder": {**ENCODER, "dimension": width},
    }
