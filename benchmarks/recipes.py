"""What do the recipes do to a model, and does the whole way run through on public data?

    python -m benchmarks.recipes --data FOLDER

masking.yaml and simcse_unsupervised.yaml train on lines of wiki-sentences, pairs.yaml on the demo's questions and
answers. Each model is measured before and after on SciFact (through an index that is built for it), on STS-B test, and
for pairs on the demo's dev topics.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import data_folder, parser, write_result
from textcl.assemble.evaluating import evaluate_retrieval, evaluate_sts
from textcl.assemble.searching import build_index
from textcl.assemble.training import train
from textcl.corpus.collection import Collection, Texts, read_collection
from textcl.progress import bar

ROOT = Path(__file__).parents[1]
MEASURES = ("ndcg@10", "recall@100")


def main() -> None:
    """Run three recipes and write results/recipes.json."""
    asked = parser(__doc__ or "")
    asked.add_argument("--limit", type=int, default=20_000, help="lines for masking.yaml")
    asked.add_argument("--simcse-limit", type=int, default=6_400, help="lines for simcse_unsupervised.yaml")
    arguments = asked.parse_args()
    sentences = str(data_folder(arguments, "wiki-sentences") / "sentences-0.txt.gz")
    collection = read_collection(data_folder(arguments, "scifact"))
    sts = data_folder(arguments, "stsb") / "sts.tsv.gz"
    demo = ROOT / "textcl" / "demo_data"
    runs: dict[str, dict[str, object]] = {
        "masking": {"data.train": sentences, "data.limit": arguments.limit},
        "simcse_unsupervised": {"data.train": sentences, "data.limit": arguments.simcse_limit},
        "pairs": {
            "data.train": str(demo / "train.jsonl.gz"),
            "data.columns": {"anchor": "question", "positive": "answer"},
            "evaluation": {"collection": str(demo / "dev"), "split": "dev", "measures": list(MEASURES)},
        },
    }
    measured: dict[str, Any] = {"untouched": _scores("all-MiniLM-L6-v2", collection, sts)}
    for name, settings in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            recipe = ROOT / "recipes" / f"{name}.yaml"
            run = train(recipe, set=settings, out=Path(folder) / "run", progress=bar, say=print)
            train_s = time.perf_counter() - started
            measured[name] = {
                "steps": run.steps,
                "train_s": round(train_s, 1),
                **_scores(run.model, collection, sts),
                "difference_on_its_collection": None if run.comparison is None else run.comparison.to_json(),
            }
    limits = {"masking_lines": arguments.limit, "simcse_lines": arguments.simcse_limit}
    write_result("recipes", {**limits, "recipes": measured})


def _scores(model: str | Path, collection: Collection, sts: Path) -> dict[str, Any]:
    """Return the measures of SciFact through an index, and the correlation on STS-B test."""
    with tempfile.TemporaryDirectory() as folder:
        texts = Texts(collection.doc_ids, collection.documents, collection.name)
        searcher = build_index(model, texts, out=Path(folder) / "index", progress=bar)
        retrieval = evaluate_retrieval(searcher, collection, measures=MEASURES, progress=bar)
    spearman = evaluate_sts(model, sts, split="test", progress=bar).spearman
    return {"scifact": retrieval.to_json(), "stsb_test_spearman": spearman}


if __name__ == "__main__":
    main()
