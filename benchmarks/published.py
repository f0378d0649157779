"""Does an untouched model score here what is published for it?

    python -m benchmarks.published --data FOLDER

SciFact test: nDCG@10 of all-MiniLM-L6-v2 at 256 tokens, published 0.6451 (MTEB). STS-B test: Spearman 0.820.
"""

from __future__ import annotations

import sys

from benchmarks.harness import data_folder, parser, write_result
from textcl.assemble.evaluating import evaluate_retrieval, evaluate_sts
from textcl.corpus.collection import read_collection
from textcl.encoder.load import load_encoder
from textcl.progress import bar

EXPECTED = {"scifact test ndcg@10": (0.645, 0.003), "stsb test spearman": (0.820, 0.003)}


def main() -> int:
    """Measure both, write results/published.json, and return 1 if one is off."""
    arguments = parser(__doc__ or "").parse_args()
    encoder = load_encoder("all-MiniLM-L6-v2", max_tokens=256)
    scifact = evaluate_retrieval(encoder, read_collection(data_folder(arguments, "scifact")), progress=bar)
    sts = evaluate_sts(encoder, data_folder(arguments, "stsb") / "sts.tsv.gz", split="test", progress=bar)
    found = {
        "scifact test ndcg@10": scifact.measures["ndcg@10"].mean,
        "stsb test spearman": sts.spearman,
    }
    rows = {
        name: {"measured": found[name], "expected": expected, "tolerance": tolerance}
        for name, (expected, tolerance) in EXPECTED.items()
    }
    about = {"model": "all-MiniLM-L6-v2", "max_tokens": 256}
    write_result("published", {**about, "scores": rows, "scifact": scifact.to_json()})
    off = [name for name, (expected, tolerance) in EXPECTED.items() if abs(found[name] - expected) > tolerance]
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
