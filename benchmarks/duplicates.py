"""How fast are near-duplicates found, how many are there, and how many are missed?

    python -m benchmarks.duplicates --data FOLDER

Four parts. Time and peak memory of a process that groups all of wiki-sentences. For Quora's questions and the captions:
the share of texts that stand in a group with another one, and, on a sample, the groups against those of all pairs.
Which shingles leave edited texts near-equal. MinHash sketches by rensa and, if it is installed, by datasketch.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rensa import RMinHash
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from benchmarks.harness import (
    FEWEST_REPEATS,
    data_folder,
    in_words,
    interleaved,
    on_cores,
    parser,
    quartiles,
    write_result,
)
from textcl.corpus.duplicates import bands_and_rows, find_duplicates

THRESHOLDS = (0.9, 0.8, 0.7, 0.6)
HASHES = 252  # as many as find_duplicates takes at 0.8
PAIRS = {"quora": "train.pairs.jsonl.gz", "captions": "train.pairs.jsonl.gz"}


def main() -> None:
    """Measure the four parts and write results/duplicates.json."""
    arguments = _arguments()
    wiki = sorted(data_folder(arguments, "wiki-sentences").glob("*.txt.gz"))
    paths = {name: data_folder(arguments, name) / file for name, file in PAIRS.items()}
    speed = [on_cores(None, measure_speed, wiki, threshold) for threshold in (None, *THRESHOLDS)]
    print(*speed, sep="\n")
    pairs = {name: on_cores(None, measure_pairs, path, arguments.sample) for name, path in paths.items()}
    print(json.dumps(pairs, indent=1))
    shingles = measure_shingles(paths["captions"], arguments.edited)
    print(json.dumps(shingles, indent=1))
    sketches = on_cores(1, measure_sketches, wiki[0], arguments.sketched)
    print(*(f"{name}: {in_words(rate, ',.0f')} texts/s" for name, rate in sketches["texts_per_s"].items()), sep="\n")
    write_result("duplicates", {"wiki_sentences": speed, "pairs": pairs, "shingles": shingles, "sketches": sketches})


def _arguments() -> argparse.Namespace:
    asked = parser(__doc__ or "")
    asked.formatter_class = argparse.RawDescriptionHelpFormatter
    asked.add_argument("--sample", type=int, default=20_000, help="distinct texts of which all pairs are compared")
    asked.add_argument("--edited", type=int, default=5_000, help="captions to edit")
    asked.add_argument("--sketched", type=int, default=20_000, help="lines for both libraries")
    return asked.parse_args()


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file]


def measure_speed(paths: Sequence[Path], threshold: float | None) -> dict[str, Any]:
    """Return seconds by the clock and of the processor, peak memory with texts and interpreter in it, and groups."""
    texts = [line for path in paths for line in _lines(path)]
    before = _peak_bytes()
    started, worked = time.perf_counter(), time.process_time()
    ids = find_duplicates(texts, threshold)
    took, worked = time.perf_counter() - started, time.process_time() - worked
    groups = np.bincount(ids)
    return {
        "threshold": threshold,
        "texts": len(texts),
        "took_s": took,
        "cpu_s": worked,
        "peak_bytes": _peak_bytes(),
        "peak_bytes_before": before,
        "groups": len(groups),
        "grouped_fraction": float((groups[ids] > 1).mean()),
        "largest_group": int(groups.max()),
    }


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_pairs(path: Path, sample: int) -> dict[str, Any]:
    """Return what stands in groups, and what was missed among some distinct texts."""
    records = [json.loads(line) for line in _lines(path)]
    texts = [record[side] for record in records for side in ("text1", "text2")]
    grouped = []
    for threshold in (None, *THRESHOLDS):
        ids = find_duplicates(texts, threshold)
        groups = np.bincount(ids)
        pairs = ids.reshape(-1, 2)
        grouped.append(
            {
                "threshold": threshold,
                "groups": len(groups),
                "grouped_fraction": float((groups[ids] > 1).mean()),
                "pairs_in_one_group_fraction": float((pairs[:, 0] == pairs[:, 1]).mean()),
                "largest_group": int(groups.max()),
            }
        )
    plain = list(dict.fromkeys(map(_plain, texts)))
    sampled = random.Random(0).sample(plain, min(sample, len(plain)))
    return {"texts": len(texts), "grouped": grouped, "sampled": len(sampled), "recall": _recalls(sampled)}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _recalls(texts: Sequence[str]) -> list[dict[str, Any]]:
    left, right, similarity = _all_pairs(texts, min(THRESHOLDS))
    return [_recall(texts, left, right, similarity, threshold) for threshold in THRESHOLDS]


def _recall(texts: Sequence[str], left: Any, right: Any, similarity: Any, threshold: float) -> dict[str, Any]:  # noqa: ANN401 (arrays)
    """Return the share of pairs within a group, of all and of those that nothing else connects, over five seeds."""
    near = similarity >= threshold
    left, right, similarity = left[near], right[near], similarity[near]
    edges = coo_array((np.ones(len(left)), (left, right)), shape=(len(texts),) * 2)
    count, true = connected_components(edges, directed=False)
    lone = np.bincount(true)[true[left]] == 2
    close = lone & (similarity < threshold + 0.05)
    found, groups, false = [], [], 0
    for seed in range(5):
        ids = find_duplicates(texts, threshold, seed=seed)
        found.append(ids[left] == ids[right])
        groups.append(int(ids.max()) + 1)
        false += len(set(zip(ids.tolist(), true.tolist(), strict=True))) - groups[-1]  # a group in two true ones
    return {
        "threshold": threshold,
        "bands_and_rows": bands_and_rows(threshold),
        "pairs": len(left),
        "found_fraction": _share(found, slice(None)),
        "lone_pairs": int(lone.sum()),
        "lone_found_fraction": _share(found, lone),
        "lone_pairs_within_0.05": int(close.sum()),
        "lone_found_fraction_within_0.05": _share(found, close),
        "groups": groups,
        "true_groups": int(count),
        "false_merges": false,
    }


def _share(found: Sequence[Any], which: Any) -> float:  # noqa: ANN401 (a mask or a slice)
    return float(np.mean([one[which] for one in found]))


def _all_pairs(texts: Sequence[str], least: float) -> tuple[Any, Any, Any]:
    """Return all pairs of texts that are that similar, from the sizes of all intersections."""
    numbers: dict[str, int] = {}
    rows = [sorted({numbers.setdefault(gram, len(numbers)) for gram in trigrams(text)}) for text in texts]
    sizes = np.array([len(row) for row in rows])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    flat = np.fromiter(itertools.chain.from_iterable(rows), np.int64)
    sets = csr_array((np.ones(len(flat), np.int32), flat, offsets), shape=(len(texts), len(numbers)))
    turned = sets.T.tocsr()
    found = []
    for start in range(0, len(texts), 500):
        shared = (sets[start : start + 500] @ turned).tocoo()
        left, right = shared.row + start, shared.col
        similarity = shared.data / (sizes[left] + sizes[right] - shared.data)
        kept = (left < right) & (similarity >= least)
        found.append((left[kept], right[kept], similarity[kept]))
    left, right, similarity = (np.concatenate(part) for part in zip(*found, strict=True))
    return left, right, similarity


def trigrams(text: str) -> set[str]:
    """Return the shingles of textcl, by their definition."""
    return _grams(3)(text)


def _grams(size: int) -> Callable[[str], set[str]]:
    def of(text: str) -> set[str]:
        padded = f" {text} "
        return {padded[start : start + size] for start in range(len(padded) - size + 1)}

    return of


def _words(text: str) -> set[str]:
    words = text.split()
    return {*words, *(" ".join(two) for two in itertools.pairwise(words))}


def measure_shingles(path: Path, count: int) -> dict[str, Any]:
    """Return the share of edited captions that are near-equal to what they were at 0.8, by shingles and edit."""
    captions = [_plain(json.loads(line)["text1"]) for line in _lines(path)[:count]]
    kinds = {f"{size}-grams of characters": _grams(size) for size in (2, 3, 4, 5)} | {"words and pairs": _words}
    counts: Counter[tuple[str, str]] = Counter()
    rng = random.Random(0)
    made = [(name, text, edited) for text in captions for name, edited in _edits(text, captions, rng)]
    for name, text, edited in made:
        for kind, shingles in kinds.items():
            ours, theirs = shingles(text), shingles(edited)
            counts[kind, name] += len(ours & theirs) >= 0.8 * len(ours | theirs)
    names = sorted({name for name, _text, _edited in made})
    shares = {kind: {name: counts[kind, name] / len(captions) for name in names} for kind in kinds}
    return {"captions": len(captions), "threshold": 0.8, "near_equal_fraction": shares}


def _edits(text: str, captions: Sequence[str], rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield the text without its full stop, with one wrong letter, without a word, with another's word in its place."""
    place = rng.randrange(len(text))
    words = text.split()
    word = rng.randrange(len(words))
    other = rng.choice(rng.choice(captions).split())
    yield "no full stop", text.rstrip(". ")
    yield "a wrong letter", text[:place] + rng.choice("abcdefghijklmnopqrstuvwxyz") + text[place + 1 :]
    yield "a word less", " ".join(words[:word] + words[word + 1 :])
    yield "another word", " ".join([*words[:word], other, *words[word + 1 :]])
    yield (
        "half of it another text",
        " ".join(words[: len(words) // 2] + rng.choice(captions).split()[len(words) // 2 :]),
    )


def measure_sketches(path: Path, count: int, repeats: int = FEWEST_REPEATS) -> dict[str, Any]:
    """Return texts a second of each library from hashed trigrams to an array of hashes, on one core."""
    rng = np.random.default_rng(0)
    numbers: dict[str, int] = {}
    rows = [
        [numbers.setdefault(gram, len(numbers)) for gram in trigrams(_plain(line))] for line in _lines(path)[:count]
    ]
    random_of = rng.integers(0, 2**32, len(numbers), dtype=np.uint64)
    hashed = [random_of[row] for row in rows]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in hashed])]).astype(np.uint64)
    flat = np.concatenate(hashed)

    def by_rensa() -> object:
        sketches = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, HASHES, 0).to_rows()
        return np.fromiter(itertools.chain.from_iterable(sketches), np.uint32, count=len(hashed) * HASHES)

    calls: dict[str, Callable[[], object]] = {f"rensa {importlib.metadata.version('rensa')}": by_rensa}
    if importlib.util.find_spec("datasketch"):
        empty = importlib.import_module("datasketch").MinHash(HASHES, hashfunc=int)

        def by_datasketch() -> object:
            sketches = []
            for row in hashed:
                sketch = empty.copy()
                sketch.update_batch(row)
                sketches.append(sketch.hashvalues)
            return np.stack(sketches)

        calls[f"datasketch {importlib.metadata.version('datasketch')}"] = by_datasketch
    seconds = interleaved(calls, repeats)
    rates = {name: quartiles([count / one for one in took]) for name, took in seconds.items()}
    return {"texts": count, "hashes": HASHES, "texts_per_s": rates}


if __name__ == "__main__":
    main()
