"""Every method on one budget: what it makes of an encoder, and whether its health stays silent.

    python -m benchmarks.methods --data FOLDER [--jobs 2] [--only simclr,moco] [--steps 300]
    python -m benchmarks.methods_cost --data FOLDER

Each method trains the embedded model for 300 steps on the first 20,000 sentences of wiki-sentences; a sign of collapse
would stop it. 512 sentences that no run sees, in the same views, are the probe: geometry and InfoNCE (temperature 0.05,
among all 512) before and after; STS-B dev before and after. `--only` adds to the kept result. What a step costs is
measured by methods_cost, one method beside the other.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import harness

TEXTS, PROBE, STEPS = 20_000, 512, 300
ENCODER = {"model": "all-MiniLM-L6-v2", "max_tokens": 32, "dropout": 0.1}
CROP = {"name": "crop", "min_fraction": 0.4, "max_fraction": 0.8}
VIEWS = {"first": [CROP], "second": [CROP, {"name": "mask", "rate": 0.15}]}
TRAINING = {"batch_size": 64, "learning_rate": 1e-5, "save_every": None, "log_every": 25, "health": {"every": 25}}
GEOMETRY = ("alignment", "uniformity", "effective_rank", "spread", "mean_cosine", "gap", "info_nce")
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
HEAD_RATE = {"simclr": 10.0, "siglip": 30.0, "byol": 30.0, "simsiam": 30.0, "barlow_twins": 30.0, "vicreg": 30.0}


def document(name: str, texts: str, steps: int) -> dict[str, Any]:
    """Return a method's recipe as plain values."""
    training = {**TRAINING, "max_steps": steps, "head_rate": HEAD_RATE.get(name, 1.0)}
    method = {"name": name, **METHODS[name]}
    return {"encoder": ENCODER, "data": {"train": texts}, "views": VIEWS, "method": method, "training": training}


def write_texts(path: Path, texts: Sequence[str]) -> str:
    """Write one text a line; return where."""
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return str(path)


def measure(name: str, texts: str, sts: str, unseen: list[str], steps: int, out: str) -> dict[str, Any]:
    """Train one method; return what it made of the encoder."""
    from textcl.assemble.components import make_components
    from textcl.assemble.sources import make_source
    from textcl.assemble.texts import held, read_training_texts
    from textcl.assemble.training import train
    from textcl.assemble.uses import sts_use
    from textcl.encoder.load import load_encoder
    from textcl.progress import quiet
    from textcl.recipe.reading import read_recipe
    from textcl.training.probe import draw_probe

    folder = Path(out)
    folder.mkdir()
    other = read_recipe(json.dumps(document(name, write_texts(folder / "unseen.txt", unseen), steps)))
    parts = make_components(other, "cpu")
    source, _longer, _notes = make_source(held(read_training_texts(other.data, quiet)[0]), parts, other, quiet)
    look = draw_probe(source, len(unseen), seed=0)

    def look_at_all() -> dict[str, float]:
        found = look(parts.method, 0)
        spearman = sts_use(sts, split="dev").of(parts.encoder).spearman
        return {key: found[key] for key in GEOMETRY} | {"sts_dev_spearman": spearman}

    before = look_at_all()
    recipe = read_recipe(json.dumps(document(name, texts, steps)))
    run = train(recipe, out=folder / "run")  # a collapse would end it with an error
    parts.encoder.load_state_dict(load_encoder(run.model).state_dict())
    after = look_at_all()
    watched: dict[str, list[float]] = {}
    for line in run.journal:
        if line["name"].startswith("health/"):
            watched.setdefault(line["name"], []).append(line["value"])
    return {
        "settings": recipe.method.model_dump(mode="json"),
        "head_rate": recipe.training.head_rate,
        "before": before,
        "after": after,
        "rank_share": after["effective_rank"] / before["effective_rank"],
        "steps": run.steps,
        "health_in_training": watched,
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as lines."""
    names = ("STS-B dev", "uniformity", "alignment", "rank", "InfoNCE")
    lines = [f"{'method':<14}" + "".join(f"{name:>12}" for name in names)]
    lines.append(f"{'before':<14}" + _numbers(next(iter(found.values()))["before"]))
    return "\n".join([*lines, *(f"{name:<14}" + _numbers(one["after"]) for name, one in found.items())])


def _numbers(one: Mapping[str, float]) -> str:
    digits = {"sts_dev_spearman": 4, "uniformity": 3, "alignment": 3, "effective_rank": 1, "info_nce": 4}
    return "".join(f"{one[name]:>12.{places}f}" for name, places in digits.items())


def read_sentences(arguments: argparse.Namespace, count: int) -> list[str]:
    """Return the first sentences of wiki-sentences."""
    path = harness.data_folder(arguments, "wiki-sentences") / "sentences-0.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in itertools.islice(lines, count)]


def main() -> None:
    """Measure the methods, print the table and write results/methods.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--only", help="some methods, by commas; the others' kept results stay")
    made.add_argument("--steps", type=int, default=STEPS, help="another number is printed, not kept")
    made.add_argument("--jobs", type=int, default=1, help="methods at a time; more than one have one thread each")
    arguments = made.parse_args()
    sts = str(harness.data_folder(arguments, "stsb") / "sts.tsv.gz")
    sentences = read_sentences(arguments, TEXTS + PROBE)
    names = arguments.only.split(",") if arguments.only else list(METHODS)
    setting = {"texts": TEXTS, "probe": PROBE, "encoder": ENCODER, "views": VIEWS, "training": TRAINING}
    setting = json.loads(json.dumps({**setting, "steps": arguments.steps}))
    found = _kept(setting)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments.jobs) as pool:
        texts = write_texts(Path(folder) / "texts.txt", sentences[:TEXTS])
        unseen = sentences[TEXTS:]
        if arguments.jobs > 1:
            os.environ["OMP_NUM_THREADS"] = "1"

        def run(name: str) -> tuple[str, dict[str, Any]]:
            out = str(Path(folder) / name)
            return name, harness.on_cores(None, measure, name, texts, sts, unseen, arguments.steps, out)

        for name, one in pool.map(run, names):
            found[name] = one
            print(table({name: one}), flush=True)
            if arguments.steps == STEPS:
                kept = {known: found[known] for known in METHODS if known in found}
                harness.write_result("methods", {"setting": setting, "methods": kept})
    print(table(found))


def _kept(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return the methods of the kept result, if that was measured in the same setting."""
    path = harness.RESULTS / "methods.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return dict(kept["methods"]) if kept.get("setting") == setting else {}


if __name__ == "__main__":
    main()
