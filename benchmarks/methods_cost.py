"""What a step of each method costs, in time beside plain pairs and in memory.

    python -m benchmarks.methods_cost --data FOLDER

The settings are those of benchmarks.methods. Time: steps of all methods in turn, in one process, medians and the ratio
to the step of `pairs` beside it. Memory: each method in a process of its own, the largest resident size after three
steps, and how much of that was there before the first.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.methods import METHODS, STEPS, document, read_sentences, write_texts

ROUNDS, TEXTS = 9, 2_000


def stepper(name: str, texts: str) -> Callable[[], object]:
    """Return what runs the next step of a method's training."""
    import torch
    from accelerate import Accelerator

    from textcl.assemble.components import make_components
    from textcl.assemble.loop import make_batches, make_settings
    from textcl.assemble.sources import make_source
    from textcl.assemble.texts import held, read_training_texts
    from textcl.progress import quiet
    from textcl.recipe.reading import read_recipe
    from textcl.training.optimizer import parameter_groups
    from textcl.training.step import one_step

    recipe = read_recipe(json.dumps(document(name, texts, STEPS)))
    parts, accelerator = make_components(recipe, "cpu"), Accelerator(cpu=True)
    read = held(read_training_texts(recipe.data, quiet)[0])
    source, _longer, _notes = make_source(read, parts, recipe, quiet)
    batches = make_batches([source], [read], recipe, parts.method, accelerator)
    settings = make_settings(recipe, batches.per_epoch)
    optimizer = torch.optim.AdamW(parameter_groups(parts.method, 0.01), fused=True)
    wrapped, optimizer = accelerator.prepare(parts.method, optimizer)
    done = iter(range(STEPS))

    def step() -> None:
        number = next(done)
        one_step(accelerator, wrapped, optimizer, [batches[number]], number, settings)

    return step


def peak(name: str, texts: str) -> dict[str, float]:
    """Return the largest resident size of this process in MiB, before the first step and after three."""
    step = stepper(name, texts)
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        step()
    return {
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_mib_before_steps": begin / 1024,
    }


def times(texts: str) -> dict[str, list[float]]:
    """Return the seconds of each method's steps, taken in turn."""
    return harness.interleaved({name: stepper(name, texts) for name in METHODS}, ROUNDS, warm_up=2)


def main() -> None:
    """Measure, print and write results/methods_cost.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments = made.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = write_texts(Path(folder) / "texts.txt", read_sentences(arguments, TEXTS))
        seconds = harness.on_cores(None, times, texts)
        found: dict[str, Any] = {}
        for name in METHODS:
            ratios = [own / other for own, other in zip(seconds[name], seconds["pairs"], strict=True)]
            found[name] = {
                "step_ms": harness.quartiles([1000 * one for one in seconds[name]]),
                "times_pairs": harness.quartiles(ratios),
                **harness.on_cores(None, peak, name, texts),
            }
            one = found[name]
            print(
                f"{name:<14}{one['step_ms']['median']:>8.0f} ms{statistics.median(ratios):>7.2f} x"
                f"{one['peak_mib']:>8.0f} MiB",
                flush=True,
            )
    harness.write_result("methods_cost", {"texts": TEXTS, "rounds": ROUNDS, "methods": found})


if __name__ == "__main__":
    main()
