"""An index from a recall target, beside hnswlib, usearch and FAISS with the parameters that autofaiss would choose.

    python -m benchmarks.index --data FOLDER --vectors FOLDER [--rows 100000] [--rounds 7]

Documents are the first sentences of wiki-sentences, each once, queries are 2,000 later ones; `--vectors` is where their
embeddings by the embedded model are, or will be kept. Half of the queries choose parameters, on both sides, the others
are what is reported. 10 hits, batches of 1,000 queries, all threads. Ours is what the planner says, tuned to each
target (the lower end of the interval reaches it); of the others it is the least width of a grid whose recall on the
choosing queries reaches the target. autofaiss would build HNSW32 with FAISS's efConstruction of 40. Rounds take all
ways in turn. Recall is the share of the exact ten best that is found, ties counted as found.

Then the bytes that were predicted beside those on disk and those in the memory of a process that has visited all of the
structure; and adding and searching beside the same FAISS calls by hand.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from textcl.index.build import build_index
from textcl.index.families import SearchSettings, default_settings, new_index
from textcl.index.grow import chunks, fill, training_rows
from textcl.index.plan import plan_index
from textcl.index.search import neighbours
from textcl.index.store import Index
from textcl.index.tune import tune

MODEL = "all-MiniLM-L6-v2"
QUERIES = 2000
TARGETS = (0.90, 0.95, 0.99)
AT = 10
WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
LINKS = (16, 32)
BUILD_WIDTH = 200  # what is kept in view while a graph is built, of the peers as of ours

Vectors = NDArray[np.float32]
Way = Callable[[Vectors], NDArray[np.int64]]


def sentences(folder: Path, count: int) -> Iterator[str]:
    """Yield so many sentences, each once."""
    seen: set[str] = set()
    files = sorted(folder.glob("sentences-*.txt.gz"))
    for line in itertools.chain.from_iterable(gzip.open(file, "rt", encoding="utf-8") for file in files):
        text = line.strip()
        if text and text not in seen:
            seen.add(text)
            yield text
            if len(seen) == count:
                return


def embeddings(data: Path, folder: Path, rows: int) -> Vectors:
    """Return the vectors of documents and queries, encoded now if they are not there."""
    from textcl.assemble.encoding import encode
    from textcl.progress import bar
    from textcl.unfinished import is_waiting

    if not (folder / "vectors.npy").is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        texts = folder.with_suffix(".txt")
        texts.write_text("".join(f"{text}\n" for text in sentences(data, rows + QUERIES)), encoding="utf-8")
        encode(MODEL, texts, out=folder, resume=is_waiting(folder), progress=bar)
    found: Vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    if len(found) < rows + QUERIES:
        raise SystemExit(f"{folder} holds {len(found)} vectors, {rows + QUERIES} are needed; name another folder")
    return found


def recall(found: NDArray[np.int64], documents: Vectors, queries: Vectors, bounds: Vectors) -> float:
    """Return the share of exact answers found, those that tie with the last counted as found."""
    scores = np.einsum("qkd,qd->qk", documents[found], queries)
    return float(np.minimum((scores >= bounds[:, None] - 1e-6).sum(axis=1), AT).mean() / AT)


def peers(documents: Vectors) -> dict[str, tuple[float, dict[int, Way]]]:
    """Return for each peer the seconds of building, and a way to ask for each width."""
    import hnswlib
    from usearch.index import Index as Usearch

    threads = faiss.omp_get_max_threads()
    found: dict[str, tuple[float, dict[int, Way]]] = {}
    for links in LINKS:
        started = time.perf_counter()
        graph = hnswlib.Index("ip", documents.shape[1])
        graph.init_index(len(documents), M=links, ef_construction=BUILD_WIDTH)
        graph.add_items(documents, num_threads=threads)
        found[f"hnswlib, M {links}"] = time.perf_counter() - started, {w: _hnswlib(graph, w, threads) for w in WIDTHS}
        started = time.perf_counter()
        other = Usearch(
            ndim=documents.shape[1], metric="ip", dtype="f32", connectivity=links, expansion_add=BUILD_WIDTH
        )
        other.add(np.arange(len(documents)), documents, threads=threads)
        took = time.perf_counter() - started
        found[f"usearch, connectivity {links}"] = took, {w: _usearch(other, w, threads) for w in WIDTHS}
    started = time.perf_counter()
    auto = faiss.index_factory(documents.shape[1], "HNSW32", faiss.METRIC_INNER_PRODUCT)
    auto.add(documents)
    found["FAISS as autofaiss builds it"] = time.perf_counter() - started, {w: _faiss(auto, w) for w in WIDTHS}
    return found


def _hnswlib(graph: Any, width: int, threads: int) -> Way:  # noqa: ANN401
    def ask(queries: Vectors) -> NDArray[np.int64]:
        graph.set_ef(width)
        rows: NDArray[np.int64] = graph.knn_query(queries, AT, num_threads=threads)[0].astype(np.int64)
        return rows

    return ask


def _usearch(graph: Any, width: int, threads: int) -> Way:  # noqa: ANN401
    def ask(queries: Vectors) -> NDArray[np.int64]:
        graph.expansion_search = width
        rows: NDArray[np.int64] = graph.search(queries, AT, threads=threads).keys.astype(np.int64)
        return rows

    return ask


def _faiss(index: Any, width: int) -> Way:  # noqa: ANN401
    def ask(queries: Vectors) -> NDArray[np.int64]:
        rows: NDArray[np.int64] = index.search(queries, AT, params=faiss.SearchParametersHNSW(efSearch=width))[1]
        return rows

    return ask


def measure(path: str, rows: int, rounds: int) -> dict[str, Any]:
    """Return what all sides give on the vectors in `path`."""
    mapped = np.load(path, mmap_mode="r")
    documents = np.array(mapped[:rows])
    asked = np.array(mapped[rows : rows + QUERIES])
    choosing, checking = asked[: QUERIES // 2], asked[QUERIES // 2 :]
    flat = faiss.IndexFlatIP(documents.shape[1])
    flat.add(documents)
    bounds = [np.ascontiguousarray(flat.search(some, AT)[0][:, -1]) for some in (choosing, checking)]
    planned = plan_index(rows, documents.shape[1], recall=0.95)
    print(*planned.reasons, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as work:
        started = time.perf_counter()
        index = _built(Path(work) / "index", documents, planned.family.factory)
        ours = {target: tune(index, choosing, recall=target, at=AT) for target in TARGETS}
        built_s = time.perf_counter() - started
        others = peers(documents)
        ways: dict[tuple[str, float], Way] = {}
        for target in TARGETS:
            ways["textcl", target] = _ours(index, ours[target].settings)
            for name, (_, widths) in others.items():
                good = [
                    w for w, way in widths.items() if recall(way(choosing), documents, choosing, bounds[0]) >= target
                ]
                if good:
                    ways[name, target] = widths[min(good)]
        ways["exact", 1.0] = _ours(index, None)
        calls = {name: (lambda way=way: way(checking)) for name, way in ways.items()}
        seconds = harness.interleaved(calls, rounds)
        table = [
            {
                "name": name, "target": target,
                "recall": recall(ways[name, target](checking), documents, checking, bounds[1]),
                "queries_per_second": harness.quartiles([len(checking) / one for one in seconds[name, target]]),
            }
            for name, target in ways
        ]  # fmt: skip
        found = {
            "rows": rows, "dimension": documents.shape[1], "factory": planned.family.factory,
            "threads": faiss.omp_get_max_threads(), "build_and_tune_s": built_s,
            "peers_build_s": {name: took for name, (took, _) in others.items()},
            "settings": {str(target): ours[target].settings.to_json() for target in TARGETS},
            "promises": {str(target): ours[target].promise for target in TARGETS},
            "search": table, "bulk": bulk(index, documents, checking, ours[0.95].settings, rounds),
            "bytes": sizes(index, path),
        }  # fmt: skip
        index.close()
    return found


def _built(folder: Path, documents: Vectors, factory: str) -> Index:
    encoder = {
        "model": MODEL, "fingerprint": "", "pooling": "mean", "max_tokens": 256, "query_prompt": "",
        "document_prompt": "", "dimension": documents.shape[1],
    }  # fmt: skip
    ids = [str(row) for row in range(len(documents))]
    return build_index(folder, vectors=documents, ids=ids, texts=None, encoder=encoder, factory=factory)


def _ours(index: Index, settings: SearchSettings | None) -> Way:
    return lambda queries: neighbours(index, queries, AT, settings=settings, exact=settings is None)[0]


def bulk(index: Index, documents: Vectors, queries: Vectors, settings: SearchSettings, rounds: int) -> dict[str, Any]:
    """Return our time of adding and searching, divided by that of the same FAISS calls by hand."""
    family = index.family
    trained = new_index(family.factory, family.dimension)
    trained.train(documents[training_rows(family, len(documents), 0)])
    by_hand, structure = faiss.clone_index(trained), index.shards[0].structure
    assert structure is not None
    fetch = int(AT * settings.rerank)
    parameters = structure._parameters(fetch, settings, None)

    def add() -> None:
        made = faiss.clone_index(trained)
        fill(made, chunks(documents), len(documents))

    def add_by_hand() -> None:
        made = faiss.clone_index(by_hand)
        for start in range(0, len(documents), 8192):
            made.add(documents[start : start + 8192])

    def search_by_hand() -> None:
        rows = structure.index.search(queries, fetch, params=parameters)[1]
        scores = np.empty(rows.shape, dtype=np.float32)
        faiss.fvec_inner_products_by_idx(
            faiss.swig_ptr(scores), faiss.swig_ptr(queries), index.shards[0].flat.get_xb(), faiss.swig_ptr(rows),
            queries.shape[1], len(queries), fetch,
        )  # fmt: skip
        np.take_along_axis(rows, np.argsort(-scores, axis=1)[:, :AT], axis=1)

    calls = {
        "add": add, "add_by_hand": add_by_hand, "search": lambda: neighbours(index, queries, AT, settings=settings),
        "search_by_hand": search_by_hand,
    }  # fmt: skip
    seconds = harness.interleaved(calls, rounds)
    ratios = {
        name: [a / b for a, b in zip(seconds[name], seconds[f"{name}_by_hand"], strict=True)]
        for name in ("add", "search")
    }
    return {name: harness.quartiles(values) for name, values in ratios.items()}


def sizes(index: Index, documents: str) -> dict[str, int]:
    """Return the bytes predicted, those on disk, and those in memory of a process that has opened and asked it."""
    files = index.manifest["files"]
    family, rows = index.family, index.rows
    on_disk = sum(one["bytes"] for name, one in files.items() if name.endswith(".faiss"))
    held = harness.on_cores(None, held_bytes, str(index.folder), documents)
    return {
        "disk": on_disk, "predicted_disk": family.disk_bytes(rows),
        "memory": held, "predicted_memory": family.memory_bytes(rows),
    }  # fmt: skip


def held_bytes(folder: str, documents: str) -> int:
    """Return the bytes of memory that an opened structure takes once all of it was visited.

    That is by how much anonymous memory grows, and what is resident of the structure's file where it is mapped. The
    process has opened and asked another index before, so that libraries and threads have what they need. Pages of the
    vectors' file, which the system can drop and read again, are not counted where a structure only scores with some.
    """
    from textcl.index.store import open_index

    queries = np.array(np.load(documents, mmap_mode="r")[:10])
    with (
        tempfile.TemporaryDirectory() as work,
        _built(Path(work) / "small", np.repeat(queries, 5, axis=0), "Flat") as small,
    ):
        neighbours(small, queries, AT, settings=default_settings(small.family))
    before = _status("RssAnon")
    with open_index(Path(folder)) as index:
        settings = default_settings(index.family)
        if index.family.cells:
            settings = replace(settings, nprobe=index.family.cells)
        neighbours(index, queries, AT, settings=settings)
        files = ("search.faiss", "vectors.faiss") if index.family.uses_vectors else ("search.faiss",)
        return _status("RssAnon") - before + sum(map(_mapped, files))


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"this system does not tell {name}")
    return int(found[1]) * 1024


def _mapped(name: str) -> int:
    """Return the resident bytes of the mappings of a file."""
    mappings = re.findall(rf"/{name}\n.*?\nRss:\s+(\d+) kB", Path("/proc/self/smaps").read_text(), re.DOTALL)
    return sum(int(one) * 1024 for one in mappings)


def main() -> None:
    """Measure, print and write results/index_ROWS.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--vectors", type=Path, required=True, help="folder of the embeddings, made if it is not there")
    made.add_argument("--rows", type=int, default=100_000)
    made.add_argument("--rounds", type=int, default=harness.FEWEST_REPEATS)
    arguments = made.parse_args()
    embeddings(harness.data_folder(arguments, "wiki-sentences"), arguments.vectors, arguments.rows)
    found = harness.on_cores(None, measure, str(arguments.vectors / "vectors.npy"), arguments.rows, arguments.rounds)
    for row in sorted(found["search"], key=lambda row: (row["target"], -row["queries_per_second"]["median"])):
        speed = harness.in_words(row["queries_per_second"], ",.0f")
        print(f"{row['target']:.2f}  {row['name']:<32} recall {row['recall']:.4f}  {speed} queries/s")
    print(json.dumps({name: found[name] for name in ("bulk", "bytes")}, indent=2, default=str))
    print({name: statistics.median(one["values"]) for name, one in found["bulk"].items()})
    harness.write_result(f"index_{arguments.rows}", {"model": MODEL, **found})


if __name__ == "__main__":
    main()
