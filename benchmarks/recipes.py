"""What do the recipes do to a model, and does the whole way run through on public data?

    python -m benchmarks.recipes --data FOLDER

masking.yaml and simcse_unsupervised.yaml train on lines of wiki-sentences and are measured on SciFact test before and
after, at the recipe's own token limit; pairs.yaml trains on the demo's questions and answers and is measured on the dev
topics. Then an index of the collection is built with the trained model and searched: its measures must be the same.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import data_folder, parser, write_result
from textcl.assemble.evaluating import evaluate_retrieval
from textcl.assemble.indexing import build_index
from textcl.assemble.training import train
from textcl.corpus.collection import read_collection
from textcl.corpus.documents import Texts
from textcl.progress import bar
from textcl.recipe.reading import read_recipe

ROOT = Path(__file__).parents[1]
MEASURES = ["ndcg@10", "recall@100"]


def main() -> None:
    """Run three recipes and write results/recipes.json."""
    asked = parser(__doc__ or "")
    asked.add_argument("--limit", type=int, default=20_000, help="lines for masking.yaml")
    asked.add_argument("--simcse-limit", type=int, default=6_400, help="lines for simcse_unsupervised.yaml")
    arguments = asked.parse_args()
    sentences = str(data_folder(arguments, "wiki-sentences") / "sentences-0.txt.gz")
    demo = ROOT / "textcl" / "demo_data"
    scifact = {"collection": str(data_folder(arguments, "scifact")), "split": "test", "measures": MEASURES}
    topics = {"collection": str(demo / "dev"), "split": "dev", "measures": MEASURES}
    columns = {"anchor": "question", "positive": "answer"}
    answers: dict[str, object] = {
        "data.train": str(demo / "train.jsonl.gz"),
        "data.columns": columns,
        "evaluation": topics,
    }
    measured = {
        "masking": _run("masking", {"data.train": sentences, "data.limit": arguments.limit, "evaluation": scifact}),
        "simcse_unsupervised": _run(
            "simcse_unsupervised",
            {"data.train": sentences, "data.limit": arguments.simcse_limit, "evaluation": scifact},
        ),
        "pairs": _run("pairs", answers),
    }
    limits = {"masking_lines": arguments.limit, "simcse_lines": arguments.simcse_limit}
    write_result("recipes", {**limits, "recipes": measured})


def _run(name: str, settings: dict[str, object]) -> dict[str, Any]:
    """Train by one recipe, index its collection, and return what both measured."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = train(ROOT / "recipes" / f"{name}.yaml", set=settings, out=Path(folder) / "run", progress=bar, say=print)
        seconds = time.perf_counter() - started
        evaluation = read_recipe(run.folder / "recipe.yaml").evaluation
        assert evaluation is not None
        assert run.comparison is not None
        collection = read_collection(evaluation.collection, evaluation.split)
        texts = Texts(collection.doc_ids, collection.documents, collection.name)
        searcher = build_index(run.model, texts, out=Path(folder) / "index", progress=bar)
        indexed = evaluate_retrieval(searcher, collection, measures=MEASURES, progress=bar)
        return {
            "steps": run.steps,
            "seconds": round(seconds, 1),
            "collection": collection.name,
            "max_tokens": searcher.encoder.max_seq_length,
            "difference": run.comparison.to_json(),
            "through_the_index": indexed.to_json(),
        }


if __name__ == "__main__":
    main()
