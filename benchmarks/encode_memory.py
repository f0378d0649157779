"""Memory of encoding many texts.

    python -m benchmarks.encode_memory --data FOLDER [--texts 500000]

`textcl encode` of the first four words of every sentence of wiki-sentences, in a process of its own, in fp32: by how
much its anonymous memory (RssAnon, read twenty times a second) grows at most over that of the loaded model once it has
embedded a batch.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.encode_throughput import MODEL, sentences

WORDS = 4


def measure_memory(folder: str, count: int) -> dict[str, Any]:
    """Return how far anonymous memory grows while so many sentences are encoded."""
    from textcl.assemble.encoding import encode
    from textcl.encoder.embed import embed_texts
    from textcl.encoder.load import load_encoder

    encoder = load_encoder(MODEL)
    embed_texts(encoder, list(sentences(Path(folder), 64)), precision="fp32")
    loaded, seen, is_over = anonymous_mib(), [0.0], threading.Event()
    del encoder  # `encode` loads its own

    def watch() -> None:
        while not is_over.wait(0.05):
            seen.append(anonymous_mib())

    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "texts.txt"
        with source.open("w", encoding="utf-8") as file:
            file.writelines(f"{' '.join(text.split()[:WORDS])}\n" for text in sentences(Path(folder), count))
        watching = threading.Thread(target=watch)
        watching.start()
        started = time.perf_counter()
        try:
            _, manifest = encode(MODEL, source, out=Path(work) / "vectors", precision="fp32")
        finally:
            is_over.set()
            watching.join()
    found = {
        "texts": manifest["rows"], "words_of_a_text": WORDS, "precision": "fp32",
        "seconds": time.perf_counter() - started,
        "loaded_mib": loaded, "peak_mib": max(seen), "above_loaded_mib": max(seen) - loaded,
    }  # fmt: skip
    print(f"{count:,} texts: {found['above_loaded_mib']:.0f} MiB of anonymous memory above the loaded model")
    return found


def anonymous_mib() -> float:
    """Return the anonymous resident memory of this process in MiB."""
    found = re.search(r"^RssAnon:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("this system does not tell RssAnon")
    return int(found[1]) / 1024


def main() -> None:
    """Measure, print and write results/encode_memory.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--texts", type=int, default=500_000)
    arguments = made.parse_args()
    folder = str(harness.data_folder(arguments, "wiki-sentences"))
    memory = harness.on_cores(None, measure_memory, folder, arguments.texts)
    harness.write_result("encode_memory", {"model": MODEL, "memory": memory})


if __name__ == "__main__":
    main()
