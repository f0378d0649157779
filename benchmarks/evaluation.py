"""How fast a ranking is scored, and with how much memory, beside sentence-transformers' InformationRetrievalEvaluator.

    python -m benchmarks.evaluation --data FOLDER [--queries 1000] [--documents 100000] [--width 384] [--cores 1]

Random unit vectors, each query judged on some documents near to it; the same vectors go to both. Theirs is the whole
of `compute_all_metrics` on given vectors, with inner products, and its `compute_metrics`, which begins when the
search is done. Ours is exact search, a callable that gives a run (`top_documents`), and `evaluate_run` on that run:
all that both have and more, with intervals, tie bounds and judged shares, which theirs has not. Both at the same
four cutoffs, in turn in one process; the largest resident size while one evaluates comes from a
process for each. The values of the
measures that both have must agree to 1e-6, or there is no result; but for MAP below five ranks, which theirs divides
by the cutoff where more documents are relevant, and trec_eval and ours do not.

Then scifact's test queries by the embedded model, loaded before: the first evaluation, which encodes the collection,
and later ones, which find its embeddings kept.
"""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness

CUTOFFS = (1, 3, 10, 100)
MOST_RELEVANT = 5
NAMES = ("hit_rate", "judged", "map", "mrr", "ndcg", "precision", "recall")
MEASURES = (*(f"{name}@{k}" for name in NAMES for k in CUTOFFS), "r_precision")
THEIR_NAMES = {
    "hit_rate": "accuracy@k",
    "map": "map@k",
    "mrr": "mrr@k",
    "ndcg": "ndcg@k",
    "precision": "precision@k",
    "recall": "recall@k",
}


@dataclass(frozen=True)
class Task:
    """Vectors and judgements.

    Args:
        queries: (Q, D) float32, of unit length.
        documents: (N, D) float32, of unit length.
        qrels: Query id → document id → 1.
    """

    queries: NDArray[np.float32]
    documents: NDArray[np.float32]
    qrels: dict[str, dict[str, int]]

    @property
    def query_ids(self) -> list[str]:
        """Q names."""
        return list(self.qrels)

    @property
    def doc_ids(self) -> list[str]:
        """N names."""
        return [f"d{number}" for number in range(len(self.documents))]


def make_task(queries: int, documents: int, width: int, seed: int = 0) -> Task:
    """Return a task in which a query lies between its one to five relevant documents and noise."""
    rng = np.random.default_rng(seed)
    corpus = rng.standard_normal((documents, width), dtype=np.float32)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    asked = np.empty((queries, width), dtype=np.float32)
    qrels = {}
    for row in range(queries):
        relevant = rng.choice(documents, size=int(rng.integers(1, MOST_RELEVANT + 1)), replace=False)
        noise = rng.standard_normal(width) / np.sqrt(width)
        asked[row] = corpus[relevant].mean(axis=0) + 2.5 * noise
        qrels[f"q{row}"] = {f"d{one}": 1 for one in relevant.tolist()}
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    return Task(asked, corpus, qrels)


class Parts:
    """Seconds of the parts of each call, in the order they were made."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def timed(self, name: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 (whatever the call returns)
        """Return what `call` returns."""
        started = time.perf_counter()
        made = call()
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)
        return made


def ours(task: Task, parts: Parts) -> Callable[[], dict[str, float]]:
    """Return what searches and evaluates, and returns the means."""
    from textcl.evaluation.exact import top_documents
    from textcl.evaluation.ranking import Run
    from textcl.evaluation.retrieval import evaluate_run

    query_ids, doc_ids = task.query_ids, task.doc_ids

    def search() -> Run:
        return top_documents(task.queries, query_ids, task.documents, doc_ids, max(CUTOFFS))

    def evaluate() -> dict[str, float]:
        run = parts.timed("search", search)
        result = parts.timed("measures", lambda: evaluate_run(run, task.qrels, MEASURES))
        return {name: interval.mean for name, interval in result.measures.items()}

    return evaluate


def theirs(task: Task, parts: Parts) -> Callable[[], dict[str, float]]:
    """Return what does the same with sentence-transformers' evaluator."""
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import dot_score

    class Timed(InformationRetrievalEvaluator):
        def compute_metrics(self, queries_result_list: list[object]) -> Any:  # noqa: ANN401 (as theirs)
            return parts.timed("measures", lambda: super(Timed, self).compute_metrics(queries_result_list))

    class Given:
        def encode_query(self, *_arguments: object, **_more: object) -> torch.Tensor:
            return torch.from_numpy(task.queries)

    cuts = list(CUTOFFS)
    model: Any = Given()
    corpus = torch.from_numpy(task.documents)
    evaluator = Timed(
        queries=dict.fromkeys(task.query_ids, ""),
        corpus=dict.fromkeys(task.doc_ids, ""),
        relevant_docs={query_id: set(judged) for query_id, judged in task.qrels.items()},
        mrr_at_k=cuts,
        ndcg_at_k=cuts,
        accuracy_at_k=cuts,
        precision_recall_at_k=cuts,
        map_at_k=cuts,
        score_functions={"dot": dot_score},
        write_csv=False,
    )

    def evaluate() -> dict[str, float]:
        found: Any = evaluator.compute_all_metrics(model, corpus_embeddings=corpus)["dot"]
        return {f"{name}@{k}": float(found[their][k]) for name, their in THEIR_NAMES.items() for k in cuts}

    return evaluate


WAYS = {"ours": ours, "theirs": theirs}


def measure_times(queries: int, documents: int, width: int, repeats: int) -> dict[str, Any]:
    """Return seconds of both, whole and apart, and their ratios round by round."""
    task = make_task(queries, documents, width)
    parts = {name: Parts() for name in WAYS}
    calls = {name: make(task, parts[name]) for name, make in WAYS.items()}
    found = {name: call() for name, call in calls.items()}
    check_agreement(found["ours"], found["theirs"])
    whole = harness.interleaved(calls, repeats)
    seconds: dict[str, dict[str, list[float]]] = {name: {"whole": whole[name]} for name in WAYS}
    for name, of in parts.items():
        for part, values in of.seconds.items():
            seconds[name][part] = values[-repeats:]
    seconds["theirs"]["search"] = [
        one - measures for one, measures in zip(whole["theirs"], seconds["theirs"]["measures"], strict=True)
    ]
    ratios = {
        part: [b / a for a, b in zip(seconds["ours"][part], seconds["theirs"][part], strict=True)]
        for part in ("whole", "search", "measures")
    }
    return {
        "seconds": {
            name: {part: harness.quartiles(values) for part, values in of.items()} for name, of in seconds.items()
        },
        "times_faster": {part: harness.quartiles(values) for part, values in ratios.items()},
    }


def check_agreement(mine: dict[str, float], other: dict[str, float]) -> None:
    """Raise ValueError if a measure that both have differs by more than 1e-6."""
    other_definition = {f"map@{k}" for k in CUTOFFS if k < MOST_RELEVANT}
    for name, value in other.items():
        if name not in other_definition and abs(mine[name] - value) > 1e-6:
            raise ValueError(f"{name}: {mine[name]} here and {value} there; no speed without equal values")


def measure_memory(way: str, queries: int, documents: int, width: int) -> dict[str, float]:
    """Return the largest resident size in MiB of a process that evaluates once, before and after that."""
    evaluate = WAYS[way](make_task(queries, documents, width), Parts())
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew here, not where the vectors were made
    before = _peak_mib()
    evaluate()
    return {"ready_mib": before, "peak_mib": _peak_mib()}


def measure_again(folder: str, repeats: int) -> dict[str, Any]:
    """Return the seconds of a first evaluation of a collection and of later ones, and how much faster these are."""
    import datasets

    from textcl.assemble.evaluating import evaluate_retrieval
    from textcl.corpus.collection import read_collection
    from textcl.encoder.load import load_encoder

    with tempfile.TemporaryDirectory() as cache:
        datasets.config.HF_DATASETS_CACHE = Path(cache)
        encoder, collection = load_encoder("all-MiniLM-L6-v2"), read_collection(folder)
        seconds, found = [], []
        for _time in range(1 + repeats):
            started = time.perf_counter()
            found.append(evaluate_retrieval(encoder, collection).to_json())
            seconds.append(time.perf_counter() - started)
    if any(one != found[0] for one in found):
        raise ValueError("a later evaluation found other measures than the first one")
    return {
        "first_s": seconds[0],
        "later_s": harness.quartiles(seconds[1:]),
        "times_faster": seconds[0] / statistics.median(seconds[1:]),
        "measures": found[0],
    }


def _peak_mib() -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("this system does not tell VmHWM")
    return int(found[1]) / 1024


def main() -> None:
    """Measure, print and write the result."""
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=harness.FEWEST_REPEATS)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--name", default="evaluation", help="of the file in results/; empty writes none")
    given = parser.parse_args()
    sizes = given.queries, given.documents, given.width
    times = harness.on_cores(given.cores, measure_times, *sizes, given.repeats)
    memory = {way: harness.on_cores(given.cores, measure_memory, way, *sizes) for way in WAYS}
    for part, ratios in times["times_faster"].items():
        mine, other = (times["seconds"][way][part]["median"] for way in WAYS)
        print(f"{part:<10}{mine:>8.3f} s beside {other:>8.3f} s, {harness.in_words(ratios, '.2f')} times faster")
    for way, of in memory.items():
        print(f"{way:<10}{of['peak_mib']:>8.0f} MiB at most, {of['ready_mib']:.0f} before")
    again = harness.on_cores(None, measure_again, str(harness.data_folder(given, "scifact")), given.repeats)
    print(f"scifact first {again['first_s']:.1f} s, then {harness.in_words(again['later_s'], '.2f')} s")
    settings = {"queries": given.queries, "documents": given.documents, "width": given.width, "cores": given.cores}
    if given.name:
        harness.write_result(
            given.name, {"settings": settings, "cutoffs": CUTOFFS, **times, "memory": memory, "scifact": again}
        )


if __name__ == "__main__":
    main()
