"""Texts a second into vectors, beside SentenceTransformer.encode; what lower precisions lose.

    python -m benchmarks.encode_throughput --data FOLDER [--rounds 7]

The embedded model on the CPU, all threads, unit-length vectors, tokenising included on both sides. Two sets: documents
of scifact (title and text, cut at the model's 256 tokens) and sentences of wiki-sentences, every n-th of the first
4,800 and 20,000. Rounds of all ways are taken in turn in one process: ours in fp32, bf16 and int8, theirs with batches
of 16, 32, 64 and 128, in fp32; what is divided is their best batch of the set, by median, by ours of the same round.
Whoever runs theirs in bf16 is faster too, which is not measured here, nor are their int8 exports, which cannot be
installed beside this transformers. The peak is that of the fp32 product of some 1,100 tokens with the weights of the
widest linear layer by oneDNN, measured in between; operations are those of the tokens, padding not counted (see
textcl.encoder.work). Cosines are those of our vectors to theirs.

Then nDCG@10 of scifact's test queries, documents and queries embedded in each precision.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import harness

MODEL = "all-MiniLM-L6-v2"
TEXTS = {"scifact": 96, "wiki-sentences": 800}
FIRST = {"scifact": 4800, "wiki-sentences": 20_000}
PRECISIONS = ("fp32", "bf16", "int8")
BATCHES = (16, 32, 64, 128)


def read_texts(folder: Path) -> list[str]:
    """Return some texts of a set, spread over its first ones."""
    step = FIRST[folder.name] // TEXTS[folder.name]
    if folder.name == "scifact":
        with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = map(json.loads, itertools.islice(lines, 0, FIRST[folder.name], step))
            return [f"{row['title']} {row['text']}" for row in rows][: TEXTS[folder.name]]
    return list(sentences(folder, FIRST[folder.name]))[::step]


def sentences(folder: Path, count: int) -> Iterator[str]:
    """Yield the first sentences of all files."""
    files = sorted(folder.glob("sentences-*.txt.gz"))
    lines = (line.strip() for file in files for line in gzip.open(file, "rt", encoding="utf-8"))
    return itertools.islice(lines, count)


def measure(texts: list[str], rounds: int) -> dict[str, Any]:
    """Return what one set gives."""
    import numpy as np
    import torch

    from textcl.corpus.tokens import special_tokens, tokenise
    from textcl.encoder.embed import embed_texts
    from textcl.encoder.load import load_encoder, tokenizer_of
    from textcl.encoder.machine import measure_product
    from textcl.encoder.work import work_of

    encoder = load_encoder(MODEL)
    vectors: dict[str, Any] = {}
    peaks: list[float] = []

    def ours(precision: Any) -> Callable[[], None]:  # noqa: ANN401
        def run() -> None:
            vectors[precision] = embed_texts(encoder, texts, precision=precision).vectors

        return run

    def theirs(batch: int) -> Callable[[], None]:
        def run() -> None:
            made = encoder.encode(texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False)
            vectors["theirs"] = made

        return run

    def peak() -> None:
        peaks.append(measure_product(384, 1536, "fp32", torch.device("cpu")))

    calls = {"peak": peak}
    calls |= {precision: ours(precision) for precision in PRECISIONS}
    calls |= {f"theirs_{batch}": theirs(batch) for batch in BATCHES}
    seconds = harness.interleaved(calls, rounds)
    lengths = tokenise(texts, tokenizer_of(encoder)).wrapped(*special_tokens(tokenizer_of(encoder)), 256).lengths
    flop, best = (
        work_of(encoder).forward(lengths),
        min(BATCHES, key=lambda one: statistics.median(seconds[f"theirs_{one}"])),
    )
    found: dict[str, Any] = {
        "texts": len(texts), "mean_tokens": float(lengths.mean()), "threads": torch.get_num_threads(),
        "peak_flop_per_second": harness.quartiles(peaks),
        "sentence_transformers": {
            "best_batch": best,
            "texts_per_second": {
                str(batch): harness.quartiles([len(texts) / one for one in seconds[f"theirs_{batch}"]])
                for batch in BATCHES
            },
            "share_of_peak": flop / statistics.median(seconds[f"theirs_{best}"]) / statistics.median(peaks),
        },
        "textcl": {},
    }  # fmt: skip
    for precision in PRECISIONS:
        mine = seconds[precision]
        found["textcl"][precision] = {
            "texts_per_second": harness.quartiles([len(texts) / one for one in mine]),
            "times_as_fast": harness.quartiles([b / a for a, b in zip(mine, seconds[f"theirs_{best}"], strict=True)]),
            "share_of_peak": flop / statistics.median(mine) / statistics.median(peaks),
            "least_cosine": float(np.sum(vectors[precision] * vectors["theirs"], axis=1, dtype=np.float64).min()),
        }
    return found


def measure_ranking(folder: str) -> dict[str, Any]:
    """Return nDCG@10 of the test queries in each precision."""
    import numpy as np

    from textcl.corpus.collection import read_collection
    from textcl.encoder.embed import embed_texts
    from textcl.encoder.load import load_encoder
    from textcl.evaluation.exact import top_documents
    from textcl.evaluation.measures import score_run

    encoder, collection = load_encoder(MODEL), read_collection(folder)
    found = {}
    for precision in PRECISIONS:
        documents, queries = (
            embed_texts(encoder, texts, precision=precision).vectors  # type: ignore[arg-type]
            for texts in (collection.documents, collection.queries)
        )
        run = top_documents(queries, collection.query_ids, documents, collection.doc_ids, 10)
        scores = score_run(run, collection.qrels, ["ndcg@10"])["ndcg@10"]
        found[precision] = 100 * float(np.mean(list(scores.values())))
    return {"ndcg@10": found, "loss_in_points": {name: found["fp32"] - found[name] for name in PRECISIONS[1:]}}


def main() -> None:
    """Measure, print and write results/encode_throughput.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--rounds", type=int, default=harness.FEWEST_REPEATS, help="at least 7")
    arguments = made.parse_args()
    found: dict[str, Any] = {}
    for name in TEXTS:
        found[name] = harness.on_cores(
            None, measure, read_texts(harness.data_folder(arguments, name)), arguments.rounds
        )
        for precision, one in found[name]["textcl"].items():
            print(
                f"{name:<16}{precision}  {harness.in_words(one['texts_per_second'], '.0f')} texts/s, "
                f"{harness.in_words(one['times_as_fast'], '.2f')} x sentence-transformers, "
                f"{one['share_of_peak']:.0%} of the fp32 peak, cosine {one['least_cosine']:.7f} at least",
                flush=True,
            )
    ranking = harness.on_cores(None, measure_ranking, str(harness.data_folder(arguments, "scifact")))
    print(ranking, flush=True)
    harness.write_result("encode_throughput", {"model": MODEL, "sets": found, "scifact_test": ranking})


if __name__ == "__main__":
    main()
