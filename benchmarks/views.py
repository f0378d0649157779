"""How fast are the views, against nlpaug, and does training wait for them?

    python -m benchmarks.views --data FOLDER

Three parts, each in a process of its own. On one core: texts a second of each view on lines of wiki-sentences, token
views in batches of 64 rows (as in training) and of 1,024, beside nlpaug's word deletion, all in turn. On all cores:
Apertium's round trip, whose work is done by processes. On all cores: the share of the time of a training step that goes
by until its batch is there, by recipes/masking.yaml.

Token views work on lines that are tokenised already, as they are once for all epochs; views of text are tokenised anew
each time, so what they cost in training is their own time and that of tokenising.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import importlib.metadata
import importlib.util
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import datasets
import numpy as np
import torch
import yaml
from sentence_transformers import SentenceTransformer

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
from textcl.assemble import training
from textcl.assemble.views import make_view
from textcl.corpus.tokens import tokenise
from textcl.encoder.load import EMBEDDED_MODEL, load_encoder, tokenizer_of
from textcl.errors import MissingExtraError
from textcl.methods.method import PairBatch
from textcl.randomness import RowRandom
from textcl.recipe.reading import read_recipe
from textcl.training.journal import Journal
from textcl.training.trainer import Trainer
from textcl.views import Apertium, BackTranslation, InverseCloze, Keywords, Neighbours
from textcl.views.view import AnyView, kind_of

ROOT = Path(__file__).parents[1]
BATCH_ROWS = (64, 1024)
TEXTS_OF_A_BUILD = 128  # at once, as `textcl views build` sends them
VIEWS = """
mask: {name: mask}
"mask, 80/10/10, whole words": {name: mask, random_fraction: 0.1, kept_fraction: 0.1, whole_words: true}
span_mask: {name: span_mask}
replace: {name: replace}
cutoff: {name: cutoff}
delete: {name: delete}
"delete, whole words": {name: delete, whole_words: true}
shuffle: {name: shuffle}
"shuffle, whole words": {name: shuffle, whole_words: true}
repeat: {name: repeat}
crop: {name: crop}
"chain of crop, shuffle, mask": {name: chain, of: [{name: crop}, {name: shuffle}, {name: mask}]}
"choice of mask, delete, crop": {name: choice, of: [{name: mask}, {name: delete}, {name: crop}]}
word_delete: {name: word_delete}
word_order: {name: word_order}
typos: {name: typos}
letter_case: {name: letter_case}
keywords: {name: keywords}
"""
TRAINED: dict[str, list[dict[str, object]]] = {
    "mask": [{"name": "mask"}],
    "word_delete and typos": [{"name": "word_delete"}, {"name": "typos"}],
}
WORKERS = (0, 2)
PEER = "nlpaug, RandomWordAug(action='delete')"

Call = tuple[str, int]
"""What is timed: a view, or something to compare with it, and how many rows it gets at once."""
StepTime = tuple[float, float]
"""Seconds until a step had its batch, and until it was done."""


def main() -> None:
    """Measure the three parts, write results/views.json and print it as tables."""
    arguments = _arguments()
    path = data_folder(arguments, "wiki-sentences") / "sentences-0.txt.gz"
    if not arguments.without_nlpaug and importlib.util.find_spec("nlpaug") is None:
        raise SystemExit("nlpaug is not installed; pip install nlpaug, or leave it out with --without-nlpaug")
    one_core = on_cores(1, measure_views, path, arguments.texts, arguments.repeats, not arguments.without_nlpaug)
    _print_views(one_core)
    apertium = on_cores(None, measure_apertium, path, arguments.apertium_texts, arguments.repeats)
    said = apertium.get("skipped") or f"{in_words(apertium['texts_per_s'], ',.0f')} texts/s"
    print(f"\nApertium's round trip, all cores: {said}")
    waiting = on_cores(None, measure_waiting, path, arguments.training_texts, arguments.steps, arguments.rounds)
    _print_waiting(waiting)
    measured = {"one_core": one_core, "apertium_round_trip": apertium, "training": waiting}
    write_result("views", {"data": f"wiki-sentences/{path.name}", **measured})


def _arguments() -> argparse.Namespace:
    asked = parser(__doc__ or "")
    asked.formatter_class = argparse.RawDescriptionHelpFormatter
    asked.add_argument("--texts", type=int, default=20_000, help="lines for the views")
    asked.add_argument("--repeats", type=int, default=FEWEST_REPEATS, help="of each view, at least 7")
    asked.add_argument("--without-nlpaug", action="store_true", help="measure no peer")
    asked.add_argument("--apertium-texts", type=int, default=1_000, help="lines for Apertium")
    asked.add_argument("--training-texts", type=int, default=2_000, help="lines to train on")
    asked.add_argument("--steps", type=int, default=12, help="of each training, the first of which is not counted")
    asked.add_argument("--rounds", type=int, default=3, help="trainings of each kind, in turn")
    return asked.parse_args()


def _lines(path: Path, count: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in itertools.islice(file, count)]
    if len(lines) < count:
        raise SystemExit(f"{path} has {len(lines)} lines; ask for no more")
    return lines


def measure_views(path: Path, texts: int, repeats: int, peer: bool) -> dict[str, Any]:
    """Return texts a second of each view, and how many times those of nlpaug they are."""
    lines = _lines(path, texts)
    encoder = load_encoder(EMBEDDED_MODEL, device="cpu")
    rows = tokenise(lines, tokenizer_of(encoder))
    calls: dict[Call, Callable[[], object]] = {}
    for name, view in _views(encoder, lines).items():
        of_text = kind_of(view) == "text"
        for size in BATCH_ROWS[:1] if of_text else BATCH_ROWS:  # text by text, the batch's size does not matter
            drawn = _batches(texts, size)
            seen = [([lines[row] for row in rng.rows] if of_text else rows.take(rng.rows), rng) for rng in drawn]
            calls[name, size] = partial(_through, view, seen)
    calls["tokenising", texts] = partial(tokenise, lines, tokenizer_of(encoder))
    peer_call = (PEER, texts)
    if peer:
        calls[peer_call] = partial(_nlpaug().augment, lines)
    seconds = interleaved(calls, repeats)
    return {
        "texts": texts,
        "tokens": len(rows.ids),
        "repeats": repeats,
        "cores": len(os.sched_getaffinity(0)),
        "nlpaug": importlib.metadata.version("nlpaug") if peer else None,
        "views": [_rated(call, took, texts, seconds.get(peer_call)) for call, took in seconds.items()],
    }


def _views(encoder: SentenceTransformer, lines: list[str]) -> dict[str, AnyView]:
    settings = yaml.safe_load(VIEWS)
    recipe = read_recipe("{}", {"data.train": "lines", "views.first": list(settings.values())})
    made = {name: make_view(view, encoder, name) for name, view in zip(settings, recipe.views.first, strict=True)}
    fitted = {name: view.fit(lines) for name, view in made.items() if isinstance(view, Keywords)}
    return {**made, **fitted, "inverse_cloze": InverseCloze(), "neighbours": Neighbours()}


def _batches(texts: int, size: int) -> list[RowRandom]:
    """Return the rows of each batch, with what views draw for them in training."""
    return [RowRandom((0, 0, "second"), np.arange(start, min(start + size, texts))) for start in range(0, texts, size)]


def _through(view: AnyView, batches: Sequence[tuple[Any, RowRandom]]) -> None:
    for rows, rng in batches:
        view(rows, rng)


def _nlpaug() -> Any:  # noqa: ANN401 (it ships no types)
    """Return nlpaug's word deletion as it comes: a third of the words, at least 1 and at most 10."""
    return importlib.import_module("nlpaug.augmenter.word").RandomWordAug(action="delete")


def _rated(call: Call, seconds: list[float], texts: int, peer: list[float] | None) -> dict[str, Any]:
    """Return what a call did in a second; the ratio is that of the same round."""
    name, rows = call
    rated: dict[str, Any] = {"name": name, "batch_rows": rows, "texts_per_s": quartiles([texts / s for s in seconds])}
    if peer is not None and name != PEER:
        rated["times_nlpaug"] = quartiles([theirs / ours for theirs, ours in zip(peer, seconds, strict=True)])
    return rated


def measure_apertium(path: Path, texts: int, repeats: int) -> dict[str, Any]:
    """Return texts a second from English to Spanish and back, or why there are none."""
    lines = _lines(path, texts)
    try:
        view = BackTranslation(Apertium("eng", "spa"), Apertium("spa", "eng"))
    except MissingExtraError as error:
        return {"skipped": str(error)}

    def round_trip() -> None:
        for start in range(0, len(lines), TEXTS_OF_A_BUILD):
            view.rewrite(lines[start : start + TEXTS_OF_A_BUILD])

    try:
        seconds = interleaved({"round trip": round_trip}, repeats)["round trip"]
    finally:
        view.close()
    return {
        "texts": len(lines),
        "repeats": repeats,
        "cores": len(os.sched_getaffinity(0)),
        "texts_per_s": quartiles([len(lines) / one for one in seconds]),
    }


class _TimedTrainer(Trainer):
    """The trainer, with a watch beside it."""

    times: list[StepTime]

    def _steps(self, journal: Journal | None) -> Iterator[list[PairBatch]]:
        """Yield the batches of each step, and note its times."""
        self.times = []
        steps = super()._steps(journal)
        while True:
            started = time.perf_counter()
            batches = next(steps, None)
            if batches is None:
                return
            waited = time.perf_counter() - started
            yield batches
            self.times.append((waited, time.perf_counter() - started))


def measure_waiting(path: Path, texts: int, steps: int, rounds: int) -> dict[str, Any]:
    """Return how long the steps of masking.yaml are, and how long they wait for their batches."""
    cases = [(name, workers) for workers in WORKERS for name in TRAINED]
    times: dict[tuple[str, int], list[StepTime]] = {case: [] for case in cases}
    for _round in range(rounds):
        for name, workers in cases:
            times[name, workers] += _timed_training(path, texts, steps, TRAINED[name], workers)
    measured = [_waited(name, workers, found) for (name, workers), found in times.items()]
    settings = {"recipe": "recipes/masking.yaml", "texts": texts, "steps": steps, "rounds": rounds}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {**settings, "device": device, "cores": len(os.sched_getaffinity(0)), "views": measured}


def _timed_training(path: Path, texts: int, steps: int, views: list[dict[str, object]], workers: int) -> list[StepTime]:
    """Return the times of all steps but the first, in which workers start and memory is taken."""
    made: list[_TimedTrainer] = []

    def make(*arguments: Any) -> Trainer:  # noqa: ANN401 (Trainer's own)
        made.append(_TimedTrainer(*arguments))
        return made[0]

    settings: dict[str, object] = {"data.train": str(path), "data.limit": texts, "views.second": views}
    settings |= {"training.max_steps": steps, "training.workers": workers}
    with tempfile.TemporaryDirectory() as folder:
        in_here = mock.patch.object(datasets.config, "HF_DATASETS_CACHE", folder)  # and not in the user's cache
        with in_here, mock.patch.object(training, "Trainer", make):
            training.train(ROOT / "recipes" / "masking.yaml", set=settings, out=Path(folder) / "run")
    return made[0].times[1:]


def _waited(name: str, workers: int, times: list[StepTime]) -> dict[str, Any]:
    waited, took = zip(*times, strict=True)
    return {
        "name": name,
        "workers": workers,
        "waited_fraction": sum(waited) / sum(took),
        "waited_fraction_of_steps": quartiles([wait / step for wait, step in times]),
        "waited_s": quartiles(waited),
        "step_s": quartiles(took),
    }


def _print_views(measured: Mapping[str, Any]) -> None:
    texts, tokens = measured["texts"], measured["tokens"]
    print(f"\n{texts} lines of {tokens / texts:.1f} tokens, one core, medians and quartiles of {measured['repeats']}")
    print(f"{'':<38}{'rows':>6}{'texts/s':>11}{'quartiles':>25}{'x nlpaug':>10}{'quartiles':>19}")
    for one in measured["views"]:
        rate = in_words(one["texts_per_s"], ",.0f", (11, 24))
        ratio = in_words(one["times_nlpaug"], ".2f", (10, 18)) if "times_nlpaug" in one else ""
        print(f"{one['name']:<38}{one['batch_rows']:>6}{rate}{ratio}")


def _print_waiting(measured: Mapping[str, Any]) -> None:
    counted = len(measured["views"][0]["step_s"]["values"])
    print(f"\n{measured['recipe']}, {measured['cores']} cores, medians of {counted} steps")
    print(f"{'second view':<30}{'workers':>9}{'step, ms':>10}{'waited, ms':>12}{'share of the time':>19}")
    for one in measured["views"]:
        step, waited = 1000 * one["step_s"]["median"], 1000 * one["waited_s"]["median"]
        print(f"{one['name']:<30}{one['workers']:>9}{step:>10.0f}{waited:>12.2f}{one['waited_fraction']:>19.4f}")


if __name__ == "__main__":
    main()
