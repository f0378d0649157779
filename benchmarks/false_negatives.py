"""How many in-batch negatives are duplicates, what finds them, and what masking them changes.

    python -m benchmarks.false_negatives --data FOLDER [--jobs 2] [--seeds 3] [--only shares|training]

Shares: random batches of quora and captions pairs. What is really a duplicate is known for captions, whose pairs of one
image mean the same; for quora it is what equal texts connect. For each way of finding: the share of in-batch candidates
that it masks, how much of what is known it finds, and how much of what it masks is known.

Training: the embedded model on 4,000 quora and 4,000 captions pairs, in batches of 256 of one source, three seeds a way
of masking; average precision on 4,000 labelled quora dev pairs and STS-B dev. The ways differ in nothing else.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness

SHARE_ROWS, TRAIN_ROWS, DEV_PAIRS = 20_000, 4_000, 4_000
BATCHES = {64: 200, 256: 100, 1024: 25}
MODEL = "all-MiniLM-L6-v2"
ENCODER = {"model": MODEL, "max_tokens": 32, "dropout": 0.1}
TRAINING = {"batch_size": 256, "chunk_rows": 128, "max_steps": 40, "learning_rate": 2e-5, "save_every": None}
NEAR = (0.8, 0.6)
ABOVE = (0.95, 0.9, 0.8)
WAYS: dict[str, dict[str, Any]] = {
    "nothing masked": {},
    "equal texts": {},
    "equal texts, captions by image": {"group": "image"},
    "near-duplicates at 0.6": {"near_duplicates": 0.6},
    "guide above 0.9": {"false_negatives": {"above": 0.9, "guide": MODEL}},
    "guide above 0.8": {"false_negatives": {"above": 0.8, "guide": MODEL}},
    "model, margin 0.05": {"false_negatives": {"margin": 0.05}},
    "unique batches": {"unique_batches": True},
}


def read_rows(path: Path, rows: int) -> list[dict[str, Any]]:
    """Return the first lines of a jsonl file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line, _row in zip(lines, range(rows), strict=False)]


def measure_shares(path: Path) -> dict[str, Any]:
    """Return for one set of pairs and each size of batch what each way masks."""
    from textcl.assemble.sources import look_up
    from textcl.assemble.texts import text_labels
    from textcl.corpus.duplicates import find_duplicates
    from textcl.encoder.load import load_encoder
    from textcl.progress import quiet
    from textcl.training.order import components

    rows = read_rows(path, SHARE_ROWS)
    anchors, positives = ([row[side] for row in rows] for side in ("text1", "text2"))
    texts = text_labels([anchors, positives])
    known = np.array([row["image"] for row in rows]) if "image" in rows[0] else components(texts)
    count = len(rows)
    labels: dict[str, NDArray[np.int64]] = {"equal texts": texts}
    for threshold in NEAR:
        found = find_duplicates([*anchors, *positives], threshold)
        labels[f"near-duplicates at {threshold:g}"] = np.stack([found[:count], found[count:]], axis=1)
    guide = load_encoder(MODEL)
    sides = [look_up(guide, side, "document", quiet) for side in (anchors, positives)]
    vectors = [side.vectors[side.places] for side in sides]
    random = np.random.default_rng(0)
    return {str(size): _shares(size, batches, known, labels, vectors, random) for size, batches in BATCHES.items()} | {
        "pairs": count
    }


def _shares(
    size: int,
    batches: int,
    known: NDArray[np.int64],
    labels: Mapping[str, NDArray[np.int64]],
    vectors: list[NDArray[np.float32]],
    random: np.random.Generator,
) -> dict[str, Any]:
    masked: dict[str, int] = {}
    right: dict[str, int] = {}
    true = 0
    others = ~np.eye(size, dtype=bool)
    for _batch in range(batches):
        rows = random.choice(len(known), size, replace=False)
        same = (known[rows][:, None] == known[rows][None, :]) & others
        true += int(same.sum())
        found = {name: _share_a_label(table[rows]) for name, table in labels.items()}
        cosines = _highest([side[rows] for side in vectors])
        found |= {f"guide above {threshold:g}": cosines > threshold for threshold in ABOVE}
        for name, mask in found.items():
            masked[name] = masked.get(name, 0) + int((mask & others).sum())
            right[name] = right.get(name, 0) + int((mask & same).sum())
    candidates = batches * size * (size - 1)
    return {
        "known_fraction": true / candidates,
        "rows_with_a_known_one_in_batch": true / batches / size,
        "ways": {
            name: {
                "masked_fraction": number / candidates,
                "of_known_found": right[name] / true if true else None,
                "of_masked_known": right[name] / number if number else None,
            }
            for name, number in masked.items()
        },
    }


def _share_a_label(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    shared: NDArray[np.bool_] = (labels[:, None, :, None] == labels[None, :, None, :]).any(axis=(2, 3))
    return shared


def _highest(sides: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the highest of the four cosines of the texts of two rows."""
    highest: NDArray[np.float32] = np.maximum.reduce([first @ second.T for first in sides for second in sides])
    return highest


def train_one(way: str, seed: int, folder: str, data: str) -> dict[str, float]:
    """Train one way under one seed; return average precision on quora dev and Spearman on STS-B dev."""
    import torch
    from accelerate import Accelerator

    from textcl.assemble.components import make_components
    from textcl.assemble.loop import make_batches, make_settings
    from textcl.assemble.sources import make_sources
    from textcl.assemble.texts import TrainingTexts, read_training_texts
    from textcl.assemble.uses import sts_use
    from textcl.progress import quiet
    from textcl.recipe.reading import read_recipe
    from textcl.training.journal import read_journal
    from textcl.training.sources import PairSource
    from textcl.training.trainer import Trainer

    recipe = read_recipe(json.dumps(document(way, seed, folder)))
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    parts = make_components(recipe, str(accelerator.device))
    texts = read_training_texts(recipe.data, quiet)
    sources, _longer, _notes = make_sources(texts, parts, recipe, quiet)
    if way == "nothing masked":  # what no recipe can ask for: each row has a label of its own
        texts = [replace(one, groups=_own(one.groups)) for one in texts if isinstance(one, TrainingTexts)]
        sources = [replace(one, groups=_own(one.groups)) for one in sources if isinstance(one, PairSource)]
    batches = make_batches(sources, texts, recipe, parts.method, accelerator)
    out = Path(folder) / f"{way}-{seed}".replace(" ", "_")
    out.mkdir()
    Trainer(parts.method, batches, make_settings(recipe, batches.per_epoch), out, accelerator).train()
    masked = [line["value"] for line in read_journal(out / "journal.jsonl") if line["name"] == "masked_fraction"]
    return {
        "quora_dev_average_precision": quora_precision(parts.encoder, Path(data) / "quora" / "dev.labelled.jsonl.gz"),
        "sts_dev_spearman": sts_use(f"{data}/stsb/sts.tsv.gz", split="dev").of(parts.encoder).spearman,
        "masked_fraction": float(np.mean(masked)),
    }


def _own(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(groups))[:, None], groups.shape[1], axis=1)


def document(way: str, seed: int, folder: str) -> dict[str, Any]:
    """Return a way's recipe as plain values."""
    chosen = WAYS[way]
    columns = {"anchor": "text1", "positive": "text2"}
    sources = [{"name": name, "train": f"{folder}/{name}.jsonl", "columns": columns} for name in ("quora", "captions")]
    if "group" in chosen:
        sources[1]["group"] = chosen["group"]
    return {
        "seed": seed,
        "encoder": ENCODER,
        "data": {"sources": sources, "near_duplicates": chosen.get("near_duplicates")},
        "method": {"name": "pairs", "false_negatives": chosen.get("false_negatives")},
        "training": {**TRAINING, "log_every": 1, "health": None, "unique_batches": chosen.get("unique_batches", False)},
    }


def quora_precision(encoder: Any, path: Path) -> float:  # noqa: ANN401 (loaded late)
    """Return the average precision of cosines on labelled pairs."""
    from sklearn.metrics import average_precision_score

    from textcl.encoder.embed import embed_texts

    rows = read_rows(path, DEV_PAIRS)
    first, second = (embed_texts(encoder, [row[side] for row in rows]).vectors for side in ("text1", "text2"))
    return float(average_precision_score([int(row["label"]) for row in rows], np.einsum("nd,nd->n", first, second)))


def before(data: str) -> dict[str, float]:
    """Return the measures of the untrained model."""
    from textcl.assemble.uses import sts_use
    from textcl.encoder.load import load_encoder

    encoder = load_encoder(MODEL)
    return {
        "quora_dev_average_precision": quora_precision(encoder, Path(data) / "quora" / "dev.labelled.jsonl.gz"),
        "sts_dev_spearman": sts_use(f"{data}/stsb/sts.tsv.gz", split="dev").of(encoder).spearman,
    }


def measure_training(data: str, seeds: int, jobs: int) -> dict[str, Any]:
    """Return what each way reaches under each seed."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        for name in ("quora", "captions"):
            rows = read_rows(Path(data) / name / "train.pairs.jsonl.gz", TRAIN_ROWS)
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            (Path(folder) / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        cases = [(way, seed) for seed in range(seeds) for way in WAYS]

        def run(case: tuple[str, int]) -> dict[str, float]:
            return harness.on_cores(None, train_one, *case, folder, data)

        for (way, _seed), one in zip(cases, pool.map(run, cases), strict=True):
            found[way].append(one)
            print(f"{way:<32}" + "".join(f"{name} {value:.5f}  " for name, value in one.items()), flush=True)
    return {"before": before(data), "seeds": seeds, "ways": found}


def main() -> None:
    """Measure, print and write results/false_negatives.json; `--only` keeps the other part of it."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--only", choices=["shares", "training"])
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--jobs", type=int, default=1, help="trainings at a time, with one thread each if several")
    arguments = made.parse_args()
    quora, captions = (harness.data_folder(arguments, name) for name in ("quora", "captions"))
    harness.data_folder(arguments, "stsb")
    path = harness.RESULTS / "false_negatives.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() and arguments.only else {}
    found = {name: kept[name] for name in ("shares", "training") if name in kept}
    if arguments.only != "training":
        files = {"quora": quora / "train.pairs.jsonl.gz", "captions": captions / "train.pairs.jsonl.gz"}
        found["shares"] = {name: measure_shares(one) for name, one in files.items()}
        print(json.dumps(found["shares"], indent=1))
    if arguments.only != "shares":
        found["training"] = measure_training(str(quora.parent), arguments.seeds, arguments.jobs)
    setting = {"encoder": ENCODER, "training": TRAINING, "train_rows": TRAIN_ROWS, "share_rows": SHARE_ROWS}
    harness.write_result("false_negatives", {"setting": setting, **found})


if __name__ == "__main__":
    main()
