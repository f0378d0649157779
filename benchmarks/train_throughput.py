"""Pairs a second in training, beside the trainer of sentence-transformers, and the share of the machine's peak.

    python -m benchmarks.train_throughput --data FOLDER [--batch 64] [--precision fp32] [--rounds 7]

The embedded model, dropout 0.1 (its own), InfoNCE at a scale of 20, AdamW at 2e-5, gradients clipped at norm 1, the
same batch, token limit and precision on both sides. Two sets: sentences of wiki-sentences, each its own positive
(at most 64 tokens), and question-answer pairs of medquad (at most 128). Ours is `textcl train`; theirs is
SentenceTransformerTrainer with MultipleNegativesRankingLoss and its default fused AdamW; rounds are too short for
either to log, save or look at anything. Rounds of both are run in turn in one process with all threads, each round
under a seed of its own, and a round's first steps are not counted: what is compared is the time from step to step,
tokenising included where a side does it there. The sides shuffle by generators of their own, so a round's pairs differ.
The peak is that of the product of some 1,100 tokens (32,768 on a GPU) with the weights of the model's widest linear
layer, by oneDNN on x86 CPUs, measured in between; operations are those of the set's mean pair, padding not counted (see
textcl.encoder.work).
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness

SETS = {"wiki-sentences": 64, "medquad": 128}
ROWS = 20_000
STEPS = {"cpu": (1, 4), "cuda": (5, 20)}  # of a round: skipped, counted
MODEL, SCALE, RATE, SEED = "all-MiniLM-L6-v2", 20.0, 2e-5, 1
Pairs = list[tuple[str, str]]


def read_pairs(folder: Path) -> Pairs:
    """Return the first pairs of a set."""
    if folder.name == "medquad":
        with gzip.open(folder / "pairs.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in itertools.islice(lines, ROWS)]
        return [(row["text1"], row["text2"]) for row in rows]
    with gzip.open(folder / "sentences-0.txt.gz", "rt", encoding="utf-8") as lines:
        return [(text.strip(), text.strip()) for text in itertools.islice(lines, ROWS)]


def seconds_between(ends: Sequence[float]) -> float:
    """Return the mean seconds of a step, the first ones not counted, from the moments at which steps ended."""
    skipped, _ = steps_of_a_round()
    return (ends[-1] - ends[skipped - 1]) / (len(ends) - skipped)


def note_end(ends: list[float]) -> None:
    """Put the moment behind the others; what a GPU has yet to do is waited for where the clock starts and stops."""
    import torch

    skipped, counted = steps_of_a_round()
    if torch.cuda.is_available() and len(ends) + 1 in (skipped, skipped + counted):
        torch.cuda.synchronize()
    ends.append(time.perf_counter())


def steps_of_a_round() -> tuple[int, int]:
    """Return how many steps a round skips and counts on this machine."""
    import torch

    return STEPS["cuda" if torch.cuda.is_available() else "cpu"]


def ours(model: str, pairs: Pairs, limit: int, batch: int, precision: str, folder: Path) -> Callable[[int], float]:
    """Return what trains a round under a seed and returns the seconds of a step."""
    from textcl.assemble.training import train
    from textcl.recipe.reading import read_recipe

    is_single = all(first == second for first, second in pairs)
    data = folder / "train.jsonl"
    named = ({"text": first} if is_single else {"question": first, "answer": second} for first, second in pairs)
    data.write_text("".join(json.dumps(row) + "\n" for row in named), encoding="utf-8")
    document: dict[str, Any] = {
        "encoder": {"model": model, "max_tokens": limit},
        "data": {"train": str(data)},
        "method": {"name": "pairs", "temperature": 1 / SCALE},
        "training": {
            "batch_size": batch, "max_steps": sum(steps_of_a_round()), "epochs": 9, "learning_rate": RATE,
            "clip_norm": 1.0, "precision": precision, "save_every": None,
        },
    }  # fmt: skip
    if not is_single:
        document["data"]["columns"] = {"anchor": "question", "positive": "answer"}
    else:
        document["method"]["name"] = "simcse"
        document["views"] = {"first": [{"name": "dropout"}], "second": [{"name": "dropout"}]}
    ends: list[float] = []

    @contextmanager
    def clock(description: str, total: int | None) -> Iterator[Callable[..., None]]:  # noqa: ARG001
        def advance(units: int, *_: object) -> None:
            if description == "train" and units:
                note_end(ends)

        yield advance

    def round_of_steps(seed: int) -> float:
        ends.clear()
        recipe = read_recipe(json.dumps({**document, "seed": seed}))
        train(recipe, out=folder / "run", force=True, progress=clock)
        return seconds_between(ends)

    return round_of_steps


def theirs(model: str, pairs: Pairs, limit: int, batch: int, precision: str, folder: Path) -> Callable[[int], float]:
    """Return the same by sentence-transformers."""
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    from textcl.encoder.load import load_encoder

    encoder = load_encoder(model, max_tokens=limit)
    data = Dataset.from_dict({"anchor": [first for first, _ in pairs], "positive": [second for _, second in pairs]})
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "theirs"), per_device_train_batch_size=batch, max_steps=sum(steps_of_a_round()),
        learning_rate=RATE, max_grad_norm=1.0, bf16=precision == "bf16", fp16=precision == "fp16",
        logging_strategy="no", save_strategy="no", eval_strategy="no", report_to=[], disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    ends: list[float] = []

    class Clock(TrainerCallback):
        """Notes when steps end."""

        def on_step_end(self, *_: object, **__: object) -> None:
            note_end(ends)

    def round_of_steps(seed: int) -> float:
        ends.clear()
        arguments.seed = seed
        loss = MultipleNegativesRankingLoss(encoder, scale=SCALE)
        trainer = SentenceTransformerTrainer(encoder, arguments, data, loss=loss, callbacks=[Clock()])
        for one in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(one)
        trainer.train()
        return seconds_between(ends)

    return round_of_steps


def useful_flop(model: str, pairs: Pairs, limit: int) -> tuple[float, float]:
    """Return the operations of a step's useful tokens for each pair, and the tokens of a pair; means over the set."""
    from textcl.corpus.tokens import concatenate, special_tokens, tokenise
    from textcl.encoder.load import load_encoder, tokenizer_of
    from textcl.encoder.work import work_of

    encoder = load_encoder(model, max_tokens=limit)
    around = special_tokens(tokenizer_of(encoder))
    columns = [tokenise([pair[side] for pair in pairs], tokenizer_of(encoder)) for side in (0, 1)]
    lengths = concatenate(columns).wrapped(*around, limit).lengths
    return work_of(encoder).training(lengths) / len(pairs), float(lengths.sum() / len(pairs))


def measure(name: str, model: str, pairs: Pairs, limit: int, batch: int, precision: str, rounds: int) -> dict[str, Any]:
    """Return what one set gives."""
    import torch

    from textcl.encoder.machine import measure_product

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seconds: dict[str, list[float]] = {"textcl": [], "sentence_transformers": []}
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "textcl": ours(model, pairs, limit, batch, precision, Path(folder)),
            "sentence_transformers": theirs(model, pairs, limit, batch, precision, Path(folder)),
        }
        for number in range(rounds + 1):  # the first is a warm-up
            for side, run in sides.items():
                peak = measure_product(384, 1536, precision, device)
                took = run(SEED + number)
                if number:
                    seconds[side].append(took)
                    peaks.append(peak)
    flop, tokens = useful_flop(model, pairs, limit)
    found: dict[str, Any] = {"pairs": len(pairs), "max_tokens": limit, "mean_tokens_of_a_pair": tokens}
    for side, steps in seconds.items():
        found[side] = {
            "pairs_per_second": harness.quartiles([batch / one for one in steps]),
            "share_of_peak": flop * batch / statistics.median(steps) / statistics.median(peaks),
        }
    ratios = [theirs / ours for ours, theirs in zip(*seconds.values(), strict=True)]
    found |= {"times_as_fast": harness.quartiles(ratios), "peak_flop_per_second": harness.quartiles(peaks)}
    print(
        f"{name:<16}{harness.in_words(found['textcl']['pairs_per_second'], '.1f')} pairs/s, "
        f"{harness.in_words(found['times_as_fast'], '.2f')} x sentence-transformers, "
        f"{found['textcl']['share_of_peak']:.0%} of the peak "
        f"(theirs {found['sentence_transformers']['share_of_peak']:.0%})",
        flush=True,
    )
    return found


def main() -> None:
    """Measure, print and write results/train_throughput.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--batch", type=int, default=64)
    made.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    made.add_argument("--rounds", type=int, default=7)
    made.add_argument("--model", default=MODEL, help="another one is for machines that lack the embedded one")
    made.add_argument("--sets", default=",".join(SETS))
    arguments = made.parse_args()
    import torch

    settings = {
        "model": Path(arguments.model).name, "scale": SCALE, "learning_rate": RATE, "optimizer": "fused AdamW",
        "clip_norm": 1.0,
        "dropout": 0.1, "batch": arguments.batch, "precision": arguments.precision, "rounds": arguments.rounds,
        "steps_a_round": steps_of_a_round()[1], "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }  # fmt: skip
    kind = f"_cuda_{arguments.precision}" if torch.cuda.is_available() else ""
    found: dict[str, Any] = {}
    for name in arguments.sets.split(","):
        pairs = read_pairs(harness.data_folder(arguments, name))
        options = (SETS[name], arguments.batch, arguments.precision, arguments.rounds)
        found[name] = harness.on_cores(None, measure, name, arguments.model, pairs, *options)
        harness.write_result(f"train_throughput{kind}", {"settings": settings, "sets": found})


if __name__ == "__main__":
    main()
