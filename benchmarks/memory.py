"""What the gradient cache saves and costs: peak memory and step time by batch, beside sentence-transformers.

    python -m benchmarks.memory --data FOLDER [--sizes 64,256,1024,4096]

The embedded model in float32 with dropout 0.1 and one thread, InfoNCE one way at temperature 0.05, on duplicate
questions of quora; steps of AdamW on batches that are tokenised before. Times are seconds of the processor, which other
programs on the machine do not add to; the clock's stand beside them. Four ways: `plain`, the whole batch at once;
`chunk_rows` and `chunk_tokens`, through the cache, 64 rows at a time or the tokens that 64 rows have on average; and
`sentence_transformers`, CachedMultipleNegativesRankingLoss with mini-batches of 64. Each way and size has a process of
its own, whose largest resident size is told; the steps of all ways are taken in turn, on the same pairs. A way that
would need more than the memory at hand, going by its need for the batch before, is left out and told so.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import harness

PAIRS, WARM_UP = 16_000, 64
ROUNDS = {64: 7, 256: 3, 1024: 1, 4096: 1}
Seconds = tuple[float, float]
CHUNK_ROWS, CHUNK_TOKENS = 64, 880
WAYS: dict[str, dict[str, int]] = {
    "plain": {},
    "chunk_rows": {"chunk_rows": CHUNK_ROWS},
    "chunk_tokens": {"chunk_tokens": CHUNK_TOKENS},
    "sentence_transformers": {},
}
_THREADS = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
_steps: list[Callable[[Sequence[int]], Seconds]] = []


def read_pairs(path: str) -> list[tuple[str, str]]:
    """Return the first pairs of a file of them."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in itertools.islice(lines, PAIRS)]
    return [(row["text1"], row["text2"]) for row in rows]


def start(way: str, path: str) -> float:
    """Make ready what this process measures; return its largest resident size in MiB so far."""
    pairs = read_pairs(path)
    _steps.append(_theirs(pairs) if way == "sentence_transformers" else _ours(pairs, WAYS[way]))
    return peak_mib()


def step(rows: Sequence[int]) -> Seconds:
    """Train on some pairs; return the processor's and the clock's seconds that took, without tokenising."""
    return _steps[0](rows)


def _now() -> Seconds:
    return time.process_time(), time.perf_counter()


def _since(started: Seconds) -> Seconds:
    now = _now()
    return now[0] - started[0], now[1] - started[1]


def peak_mib() -> float:
    """Return the largest resident size of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ours(pairs: Sequence[tuple[str, str]], limits: dict[str, int]) -> Callable[[Sequence[int]], Seconds]:
    import numpy as np
    import torch
    from accelerate import Accelerator

    from textcl.corpus.tokens import special_tokens, tokenise
    from textcl.encoder.load import load_encoder, tokenizer_of
    from textcl.losses.info_nce import InfoNCE
    from textcl.methods.pairs import Pairs
    from textcl.training.settings import TrainingSettings
    from textcl.training.sources import PairSource, Side
    from textcl.training.step import one_step
    from textcl.views.view import Chain

    encoder = load_encoder("all-MiniLM-L6-v2", dropout=0.1)
    around = special_tokens(tokenizer_of(encoder))
    sides = [
        Side(tokenise(texts, tokenizer_of(encoder)), *around, Chain()) for texts in map(list, zip(*pairs, strict=True))
    ]
    source = PairSource(sides[0], sides[1], np.arange(len(pairs))[:, None], encoder.max_seq_length or 512, 0)
    method, accelerator = Pairs(encoder, InfoNCE(0.05)), Accelerator(cpu=True)
    optimizer = torch.optim.AdamW([one for one in method.parameters() if one.requires_grad], fused=True)
    rows, tokens = limits.get("chunk_rows"), limits.get("chunk_tokens")
    settings = TrainingSettings(steps=1000, clip_norm=None, chunk_rows=rows, chunk_tokens=tokens)
    numbers = itertools.count()

    def run(rows: Sequence[int]) -> Seconds:
        batch = source.draw(np.array(rows), 0)
        started = _now()
        one_step(accelerator, method, optimizer, [batch], next(numbers), settings)
        return _since(started)

    return run


def _theirs(pairs: Sequence[tuple[str, str]]) -> Callable[[Sequence[int]], Seconds]:
    import torch
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    from textcl.encoder.load import load_encoder

    model = load_encoder("all-MiniLM-L6-v2", dropout=0.1).train()
    loss = CachedMultipleNegativesRankingLoss(model, scale=20.0, mini_batch_size=CHUNK_ROWS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, fused=True)

    def run(rows: Sequence[int]) -> Seconds:
        features = [model.preprocess([pairs[row][side] for row in rows]) for side in (0, 1)]  # as its collator does
        started = _now()
        loss(features, torch.empty(0)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return _since(started)

    return run


def measure(ways: Sequence[str], size: int, rounds: int, path: str) -> dict[str, dict[str, Any]]:
    """Return peaks and seconds of each way for one batch size, steps taken in turn."""
    import numpy as np

    random = np.random.default_rng(size)
    spawning = multiprocessing.get_context("spawn")
    taken: dict[str, list[Seconds]] = {way: [] for way in ways}
    with ExitStack() as stack:
        pools = {way: stack.enter_context(ProcessPoolExecutor(1, spawning)) for way in ways}
        before = {way: pool.submit(start, way, path).result() for way, pool in pools.items()}
        for pool in pools.values():
            pool.submit(step, list(range(WARM_UP))).result()
        for _ in range(rounds):
            rows = random.choice(PAIRS, size, replace=False).tolist()
            for way, pool in pools.items():
                taken[way].append(pool.submit(step, rows).result())
                print(f"{size:>6} {way:<24}{taken[way][-1][0]:>8.2f} s", flush=True)
        peaks = {way: pool.submit(peak_mib).result() for way, pool in pools.items()}
    seconds = {way: [processor for processor, _clock in both] for way, both in taken.items()}
    return {
        way: {
            "step_s": {"median": statistics.median(seconds[way]), "values": seconds[way]},
            "clock_s": [clock for _processor, clock in taken[way]],
            **_ratios(seconds, way),
            "peak_mib": peaks[way],
            "peak_mib_before_steps": before[way],
        }
        for way in ways
    }


def _ratios(seconds: dict[str, list[float]], way: str) -> dict[str, Any]:
    """Return the median ratio of a way's seconds to those of the ways that it is compared with, step by step."""
    return {
        f"times_{other}": statistics.median(
            own / theirs for own, theirs in zip(seconds[way], seconds[other], strict=True)
        )
        for other in ("plain", "sentence_transformers")
        if other in seconds and other != way
    }


def available_mib() -> float:
    """Return the memory that is free for new processes, in MiB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1024


def main() -> None:
    """Measure, print and write results/memory.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--sizes", help="batch sizes by commas; others than the usual are printed, not kept")
    arguments = made.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")] if arguments.sizes else list(ROUNDS)
    path = str(harness.data_folder(arguments, "quora") / "train.pairs.jsonl.gz")
    os.environ.update(_THREADS)  # the processes' libraries read it
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for size in sizes:
        needs = {}
        if found:
            smaller, last = next(reversed(found.items()))
            need = last["plain"].get("peak_mib", 0.0) - last["plain"].get("peak_mib_before_steps", 0.0)
            needs["plain"] = need * size / smaller
        room = 0.8 * available_mib()
        ways = [way for way in WAYS if needs.get(way, 0.0) < room]
        found[size] = measure(ways, size, ROUNDS.get(size, 1), path)
        for way in WAYS:
            if way not in ways:
                found[size][way] = {"left_out": "more than the memory at hand", "needs_mib": needs[way]}
        if sizes == list(ROUNDS):  # after each size: the last one takes most of the time
            setting = {"chunk_rows": CHUNK_ROWS, "chunk_tokens": CHUNK_TOKENS, "rounds": ROUNDS, "threads": 1}
            harness.write_result("memory", {"setting": setting, "batches": found})
    print(table(found))


def table(found: dict[int, dict[str, dict[str, Any]]]) -> str:
    """Return the results as lines."""
    lines = [f"{'pairs':>6} {'way':<24}{'step s':>8}{'x plain':>9}{'x s-t':>7}{'peak MiB':>10}"]
    for size, ways in found.items():
        for way, one in ways.items():
            if "left_out" in one:
                lines.append(f"{size:>6} {way:<24} left out: it would need {one['needs_mib']:.0f} MiB")
                continue
            ratios = [one.get(f"times_{other}") for other in ("plain", "sentence_transformers")]
            shown = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
            lines.append(
                f"{size:>6} {way:<24}{one['step_s']['median']:>8.2f}{shown[0]:>9}{shown[1]:>7}{one['peak_mib']:>10.0f}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
