"""Mined hard negatives: what mining takes, how many are false as far as judgements tell, and what they do in training.

    python -m benchmarks.mining --data FOLDER [--only scifact]            time and false negatives
    python -m benchmarks.mining --data FOLDER --train [--only scifact]    and training with and without them: hours

The embedded model mines for the train queries of SciFact and squad-sentences, from the whole corpus. Of each query with
several relevant documents mining is told the first alone; the others are hidden, and those among its candidates are
false negatives for sure. They are few (counts are given), and unjudged ones are not seen. Training: the same pairs,
steps and seeds, with in-batch negatives alone and with one more a row from several settings; nDCG@10 on the test
queries. A data set that is not asked for keeps its result.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from benchmarks import harness
from textcl.assemble.mined_file import write_mined
from textcl.assemble.mining import Side, mine_rows
from textcl.assemble.mining_pairs import MiningPairs, read_mining_pairs
from textcl.assemble.training import train
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import describe_encoder, load_encoder
from textcl.index.build import build_index
from textcl.index.mine import MiningSettings, select_negatives
from textcl.index.search import neighbours
from textcl.progress import bar
from textcl.recipe.reading import read_recipe

MODEL, MAX_TOKENS, LAST_RANK = "all-MiniLM-L6-v2", 128, 100
DATA = ("scifact", "squad-sentences")
RANKS = ((1, 10), (1, LAST_RANK), (11, LAST_RANK))
BOUNDS: dict[str, dict[str, Any]] = {
    "none": {},
    "margin 0": {"margin": 0.0},
    "margin 0.05": {"margin": 0.05},
    "margin 0.1": {"margin": 0.1},
    "relative margin 0.05": {"relative_margin": 0.05},
    "relative margin 0.1": {"relative_margin": 0.1},
}
ARMS: dict[str, MiningSettings | None] = {
    "in-batch negatives alone": None,
    "best": MiningSettings(),
    "best, relative margin 0.05": MiningSettings(relative_margin=0.05),
    "random of ranks 11 to 100, relative margin 0.05": MiningSettings(11, relative_margin=0.05, sampling="random"),
}
TRAINING = {"batch_size": 32, "epochs": 1000, "learning_rate": 2e-5, "save_every": None, "log_every": 25}
STEPS, SEEDS = 100, (0, 1, 2)


class Vectors:
    """Vectors of texts, each embedded once; `seconds` and `texts` say what that took."""

    def __init__(self, encoder: SentenceTransformer, pairs: MiningPairs) -> None:
        self.seconds: dict[str, float] = {}
        self.texts: dict[str, int] = {}
        self._rows: dict[str, NDArray[np.float32]] = {}
        columns: tuple[tuple[Side, Sequence[str]], ...] = (
            ("anchors", pairs.anchors),
            ("documents", pairs.documents.texts),
        )
        for name, column in columns:
            distinct = list(dict.fromkeys(column))
            started = time.perf_counter()
            vectors = embed_texts(encoder, distinct, progress=bar, description=f"encode {name}").vectors
            self.seconds[name], self.texts[name] = time.perf_counter() - started, len(distinct)
            self._rows |= dict(zip(distinct, vectors, strict=True))  # the model has no prompts: sides do not differ

    def __call__(self, texts: Sequence[str], _what: Side) -> NDArray[np.float32]:
        """Return (N, D)."""
        return np.stack([self._rows[text] for text in texts])


def times(encoder: SentenceTransformer, pairs: MiningPairs, vectors: Vectors) -> dict[str, Any]:
    """Return the seconds of each part of mining one negative a row."""
    rows, settings = np.arange(len(pairs.anchors)), MiningSettings(sampling="random", margin=0.05)
    anchors, documents = vectors(pairs.anchors, "anchors"), vectors(pairs.documents.texts, "documents")
    positives = vectors(pairs.positives, "positives")
    scores = np.einsum("nd,nd->n", anchors, positives)
    depth = min(LAST_RANK + int(pairs.forbidden.counts(rows).max()), len(documents))
    with tempfile.TemporaryDirectory() as folder:
        facts = describe_encoder(encoder, MODEL)
        started = time.perf_counter()
        made = build_index(Path(folder) / "i", vectors=documents, ids=pairs.documents.ids, texts=None, encoder=facts)
        build_s = time.perf_counter() - started
        with made as index:
            docs, found = neighbours(index, anchors, depth)
            forbidden = pairs.forbidden.mask(rows, docs)
            calls: dict[str, Callable[[], object]] = {
                "search": lambda: neighbours(index, anchors, depth),
                "forbidden": lambda: pairs.forbidden.mask(rows, docs),
                "select": lambda: select_negatives(found, docs, scores, forbidden, settings, rows),
            }
            measured = {name: harness.quartiles(one) for name, one in harness.interleaved(calls).items()}
    sizes = {"pairs": len(rows), "documents": len(documents), "candidates": depth}
    encode = {name: {"texts": vectors.texts[name], "seconds": vectors.seconds[name]} for name in vectors.seconds}
    return {**sizes, "encode": encode, "build_index_s": build_s, "seconds": measured}


def hide(pairs: MiningPairs) -> tuple[MiningPairs, list[set[int]]]:
    """Return the anchors with several positives, each with its first one, and the numbers of the hidden documents."""
    positives: dict[str, dict[str, None]] = {}
    for anchor, positive in zip(pairs.anchors, pairs.positives, strict=True):
        positives.setdefault(anchor, {})[positive] = None
    several = {anchor: list(found) for anchor, found in positives.items() if len(found) > 1}
    numbers = {text: number for number, text in enumerate(pairs.documents.texts)}
    hidden = [{numbers[text] for text in found[1:]} for found in several.values()]
    return MiningPairs(list(several), [found[0] for found in several.values()], pairs.documents), hidden


def false_negatives(encoder: SentenceTransformer, pairs: MiningPairs, vectors: Vectors) -> dict[str, Any]:
    """Return by ranks and bounds which share of the candidates is a hidden positive, and what the bounds cost."""
    few, hidden = hide(pairs)
    found: dict[str, Any] = {"queries": len(hidden), "hidden": sum(map(len, hidden)), "candidates": []}
    for first, last in RANKS:
        for name, bounds in BOUNDS.items():
            settings = MiningSettings(first, last, per_row=last - first + 1, **bounds)
            mined = mine_rows(encoder, few, settings, embed=vectors)
            kept = mined.negatives >= 0
            false = sum(len(one & set(row.tolist())) for one, row in zip(hidden, mined.negatives, strict=True))
            top = sum(int(row[0]) in one for one, row in zip(hidden, mined.negatives, strict=True))
            found["candidates"].append(
                {
                    "ranks": [first, last],
                    "bounds": name,
                    "kept": int(kept.sum()),
                    "kept_fraction": float(kept.mean()),
                    "false": false,
                    "false_fraction": false / max(1, int(kept.sum())),
                    "hidden_kept_fraction": false / found["hidden"],
                    "rows_whose_best_is_false_fraction": top / len(hidden),
                    "rows_with_a_negative_fraction": float(kept.any(axis=1).mean()),
                }
            )
    return found


def training(encoder: SentenceTransformer, pairs: MiningPairs, vectors: Vectors, folder: Path) -> dict[str, Any]:
    """Return nDCG@10 on the test queries after training on the same pairs, with each arm's negatives."""
    rows = np.arange(len(pairs.anchors))
    mined = {
        name: mine_rows(encoder, pairs, settings, embed=vectors)
        for name, settings in ARMS.items()
        if settings is not None
    }
    common = np.flatnonzero(np.all([one.negatives[:, 0] >= 0 for one in mined.values()], axis=0))
    arms: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, name in enumerate(ARMS):
            path = Path(scratch) / f"{number}.jsonl"
            chosen = mine_rows(encoder, pairs, ARMS[name] or MiningSettings(), rows=rows[common], embed=vectors)
            write_mined(path, pairs, chosen, rows[common])
            columns = {"anchor": "anchor", "positive": "positive"}
            hard = {} if ARMS[name] is None else {"hard_negatives": ["negative_1"]}
            runs = [
                _ndcg(
                    {"train": str(path), "columns": {**columns, **hard}},
                    folder,
                    seed,
                    Path(scratch) / f"{number}-{seed}",
                )
                for seed in SEEDS
            ]
            arms[name] = {"before": runs[0][0], "after": harness.spread([after for _before, after in runs])}
            print(name, arms[name], flush=True)
    return {"rows": len(common), "steps": STEPS, "seeds": SEEDS, "training": TRAINING, "ndcg@10": arms}


def _ndcg(data: Mapping[str, Any], folder: Path, seed: int, out: Path) -> tuple[float, float]:
    """Return nDCG@10 before and after one training."""
    document = {
        "seed": seed,
        "encoder": {"model": MODEL, "max_tokens": MAX_TOKENS, "dropout": 0.1},
        "data": data,
        "method": {"name": "pairs", "temperature": 0.05},
        "training": {**TRAINING, "max_steps": STEPS},
        "evaluation": {"collection": str(folder), "split": "test", "measures": ["ndcg@10"], "keep": "last"},
    }
    run = train(read_recipe(json.dumps(document)), out=out, progress=bar)
    assert run.steps == STEPS
    assert run.comparison is not None
    row = run.comparison.measures["ndcg@10"]
    return row.before, row.after


def main() -> None:
    """Measure, print and write results/mining.json, or results/mining_training.json."""
    asked = harness.parser(__doc__ or "")
    asked.formatter_class = argparse.RawDescriptionHelpFormatter
    asked.add_argument("--only", help="one of the data sets")
    asked.add_argument("--train", action="store_true", help="train with and without mined negatives")
    arguments = asked.parse_args()
    names = [arguments.only] if arguments.only else list(DATA)
    encoder = load_encoder(MODEL, max_tokens=MAX_TOKENS)
    result = "mining_training" if arguments.train else "mining"
    setting = {"model": MODEL, "max_tokens": MAX_TOKENS, "last_rank": LAST_RANK}
    found = _kept(result, setting)
    for name in names:
        folder = harness.data_folder(arguments, name)
        pairs = read_mining_pairs(folder, split="train")
        vectors = Vectors(encoder, pairs)
        if arguments.train:
            found[name] = training(encoder, pairs, vectors, folder)
        else:
            found[name] = {
                "time": times(encoder, pairs, vectors),
                "false_negatives": false_negatives(encoder, pairs, vectors),
            }
            _show(name, found[name])
    harness.write_result(result, {"setting": setting, "data": found})


def _kept(result: str, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data sets of the kept result, if that was measured in the same setting."""
    path = harness.RESULTS / f"{result}.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return dict(kept["data"]) if kept.get("setting") == setting else {}


def _show(name: str, measured: Mapping[str, Any]) -> None:
    took = measured["time"]
    print(f"\n{name}: {took['pairs']} pairs, {took['documents']} documents, {took['candidates']} candidates a row")
    for what, one in took["encode"].items():
        print(f"  encode {what:<12}{one['seconds']:>8.2f} s   {one['texts']} texts")
    print(f"  build the index    {took['build_index_s']:>8.2f} s")
    for what, seconds in took["seconds"].items():
        print(f"  {what:<19}{harness.in_words(seconds, '.3f', (8, 0))} s")
    few = measured["false_negatives"]
    print(f"  {few['hidden']} hidden positives of {few['queries']} queries")
    print(
        f"  {'ranks':<10}{'bound':<22}{'kept':>7}{'false':>8}{'hidden kept':>13}{'best is false':>15}{'with any':>10}"
    )
    for one in few["candidates"]:
        ranks = " to ".join(map(str, one["ranks"]))
        shares = [one[f"{key}_fraction"] for key in ("kept", "false", "hidden_kept")]
        rows = [one[f"rows_{key}_fraction"] for key in ("whose_best_is_false", "with_a_negative")]
        widths = (7, 8, 13, 15, 10)
        cells = "".join(f"{share:>{width}.3f}" for share, width in zip([*shares, *rows], widths, strict=True))
        print(f"  {ranks:<10}{one['bounds']:<22}{cells}")


if __name__ == "__main__":
    main()
