"""Every method on one budget: what it makes of an encoder, what a step costs, and whether its health stays silent.

    python -m benchmarks.methods --data FOLDER [--only simclr,moco] [--steps 300]

Each method trains the embedded model for 300 steps on the first 20,000 sentences of wiki-sentences, in a process of its
own. 512 sentences that no run sees, in the same views, are the probe: geometry and InfoNCE (temperature 0.05, among all
512) before and after; STS-B dev before and after. The settings of each method are in the table, chosen on this budget.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import harness

TEXTS, PROBE, STEPS = 20_000, 512, 300
ENCODER = {"model": "all-MiniLM-L6-v2", "max_tokens": 32, "dropout": 0.1}
CROP = {"name": "crop", "min_fraction": 0.4, "max_fraction": 0.8}
VIEWS = {"first": [CROP], "second": [CROP, {"name": "mask", "rate": 0.15}]}
TRAINING = {"batch_size": 64, "learning_rate": 1e-5, "save_every": None, "log_every": 25, "health": {"every": 25}}
PROJECTOR = {"hidden": 384, "out": 128}
METHODS: dict[str, dict[str, Any]] = {
    "simclr": {"projector": PROJECTOR},
    "simcse": {},
    "moco": {"queue_size": 4096, "momentum": 0.99},
    "byol": {},
    "simsiam": {},
    "pairs": {},
    "siglip": {},
    "barlow_twins": {},
    "vicreg": {},
}
HEAD_RATE = {"simclr": 10.0, "byol": 30.0, "simsiam": 30.0, "barlow_twins": 30.0, "vicreg": 30.0}


def measure(name: str, texts: str, sts: str, probe: list[str], steps: int) -> dict[str, Any]:
    """Train one method; return what it left and what it cost."""
    from textcl.assemble.components import make_components, make_source, read_training_texts
    from textcl.assemble.evaluating import evaluate_sts
    from textcl.assemble.training import train
    from textcl.encoder.load import load_encoder
    from textcl.progress import quiet
    from textcl.recipe.reading import read_recipe
    from textcl.training.probe import draw_probe

    folder = Path(texts).parent
    unseen = folder / "unseen.txt"
    unseen.write_text("".join(f"{text}\n" for text in probe), encoding="utf-8")
    method = {"name": name, **METHODS[name]}
    training = {**TRAINING, "max_steps": steps, "head_rate": HEAD_RATE.get(name, 1.0)}
    document = {"encoder": ENCODER, "data": {"train": texts}, "views": VIEWS, "method": method, "training": training}
    recipe = read_recipe(json.dumps(document))

    other = read_recipe(json.dumps({**document, "data": {"train": str(unseen)}}))
    parts = make_components(other, "cpu")
    source, _longer, _notes = make_source(read_training_texts(other.data, quiet), parts, other, quiet)
    look = draw_probe(source, len(probe), seed=0)

    before = look(parts.method, 0)
    sts_before = evaluate_sts(parts.encoder, sts, split="dev").spearman
    at_begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    stamps: list[float] = []
    run = train(recipe, out=folder / name, progress=_stamping(stamps))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts.method.encoder.load_state_dict(load_encoder(run.model).state_dict())
    after = look(parts.method, steps)
    seconds = [later - sooner for sooner, later in itertools.pairwise(stamps)]
    health = {
        key: [line["value"] for line in run.journal if line["name"] == f"health/{key}"]
        for key in ("effective_rank", "mean_cosine", "info_nce", "queue_age_steps")
    }
    return {
        "method": method,
        "head_rate": training["head_rate"],
        "before": {**before, "sts_dev_spearman": sts_before},
        "after": {**after, "sts_dev_spearman": evaluate_sts(parts.encoder, sts, split="dev").spearman},
        "rank_share": after["effective_rank"] / before["effective_rank"],
        "step_ms": 1000 * statistics.median(seconds),
        "peak_mib": peak / 1024,
        "peak_mib_before_training": at_begin / 1024,
        "health_in_training": {key: values for key, values in health.items() if values},
    }


def _stamping(stamps: list[float]) -> Any:  # noqa: ANN401 (textcl's Progress)
    """Return a progress that keeps the time of each training step."""

    @contextmanager
    def progress(description: str, total: int | None) -> Iterator[Any]:  # noqa: ARG001
        yield (lambda _units: stamps.append(time.perf_counter())) if description == "train" else lambda _units: None

    return progress


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as lines."""
    names = ("STS-B dev", "uniformity", "alignment", "rank", "InfoNCE", "step ms", "peak MiB")
    lines = [f"{'method':<14}" + "".join(f"{name:>12}" for name in names)]
    first = next(iter(found.values()))["before"]
    lines.append(f"{'before':<14}" + _numbers(first))
    for name, one in found.items():
        lines.append(f"{name:<14}" + _numbers(one["after"]) + f"{one['step_ms']:>12.0f}{one['peak_mib']:>12.0f}")
    return "\n".join(lines)


def _numbers(one: Mapping[str, float]) -> str:
    return "".join(
        f"{one[name]:>12.{digits}f}"
        for name, digits in (
            ("sts_dev_spearman", 4),
            ("uniformity", 3),
            ("alignment", 3),
            ("effective_rank", 1),
            ("info_nce", 4),
        )
    )


def main() -> None:
    """Measure all methods, print the table and write results/methods.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--only", help="some methods, by commas; the result is printed, not kept")
    made.add_argument("--steps", type=int, default=STEPS)
    arguments = made.parse_args()
    sentences = harness.data_folder(arguments, "wiki-sentences") / "sentences-0.txt.gz"
    sts = harness.data_folder(arguments, "stsb") / "sts.tsv.gz"
    with gzip.open(sentences, "rt", encoding="utf-8") as lines:
        texts = [line.rstrip("\n") for line in itertools.islice(lines, TEXTS + PROBE)]
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.txt"
        path.write_text("".join(f"{text}\n" for text in texts[:TEXTS]), encoding="utf-8")
        for name in arguments.only.split(",") if arguments.only else METHODS:
            found[name] = harness.on_cores(None, measure, name, str(path), str(sts), texts[TEXTS:], arguments.steps)
            print(table({name: found[name]}), flush=True)
    print(table(found))
    if arguments.only is None and arguments.steps == STEPS:
        setting = {"texts": TEXTS, "probe": PROBE, "steps": STEPS, "encoder": ENCODER, "views": VIEWS}
        harness.write_result("methods", {**setting, "training": TRAINING, "methods": found})


if __name__ == "__main__":
    main()
