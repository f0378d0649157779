"""What every benchmark shares: the facts of the machine, and one JSON file a run under results/."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

RESULTS = Path(__file__).parent / "results"
FEWEST_REPEATS = 7
Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")
_ONE_THREAD = {**dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"), "TOKENIZERS_PARALLELISM": "false"}
_PACKAGES = ("textcl", "torch", "transformers", "sentence-transformers", "faiss-cpu", "datasets", "numpy")


def data_folder(arguments: argparse.Namespace, name: str) -> Path:
    """Return the folder of one public data set below --data or TEXTCL_DATA; there is no default."""
    root = arguments.data or os.environ.get("TEXTCL_DATA")
    if not root:
        raise SystemExit(f"where is the data? Give --data FOLDER or set TEXTCL_DATA to the folder that holds {name}/")
    folder = Path(root) / name
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder")
    return folder


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the option that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--data", help="folder of public data sets; TEXTCL_DATA if left out")
    return made


def facts() -> dict[str, Any]:
    """Return commit, versions and machine."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed_since": bool(_git("status", "--porcelain", "textcl")),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, sample deviation, extremes and the values themselves."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "mean": statistics.fmean(values),
        "deviation": deviation,
        "low": min(values),
        "high": max(values),
        "values": list(values),
    }


def interleaved(
    calls: Mapping[Name, Callable[[], object]], repeats: int = FEWEST_REPEATS, warm_up: int = 1
) -> dict[Name, list[float]]:
    """Return the seconds of each call, as often as it was repeated; what the warm-up takes is not in there.

    All are called in turn within one process, so that what slows the machine for a while slows all of them, and the
    n-th seconds of two calls can be divided by each other.

    Raises:
        ValueError: If there are fewer than 7 repeats.
    """
    if repeats < FEWEST_REPEATS:
        raise ValueError(f"{repeats} repeats are too few for a median and quartiles; {FEWEST_REPEATS} are the least")
    seconds: dict[Name, list[float]] = {name: [] for name in calls}
    for round_number in range(warm_up + repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            took = time.perf_counter() - started
            if round_number >= warm_up:
                seconds[name].append(took)
    return seconds


def quartiles(values: Sequence[float]) -> dict[str, Any]:
    """Return median, lower and upper quartile, and the values themselves; at least two of them."""
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "quartiles": [lower, upper], "values": list(values)}


def in_words(measured: Mapping[str, Any], form: str, widths: tuple[int, int] = (0, 0)) -> str:
    """Return what `quartiles` did in a number format: the median, and both quartiles, each at least so wide."""
    between = " to ".join(format(one, form) for one in measured["quartiles"])
    return f"{format(measured['median'], form):>{widths[0]}} {between:>{widths[1]}}"


def on_cores(count: int | None, measure: Callable[..., Result], *arguments: object) -> Result:
    """Return what `measure` returns in a new process, pinned from its first import on.

    Args:
        count: Cores that it has, the last ones; with 1, libraries start one thread. None leaves it all.
        measure: A function of a module.
        arguments: What it is called with.
    """
    before = os.sched_getaffinity(0)
    environment = _ONE_THREAD if count == 1 else {}
    spawning = multiprocessing.get_context("spawn")
    with mock.patch.dict(os.environ, environment), ProcessPoolExecutor(1, spawning) as pool:
        os.sched_setaffinity(0, sorted(before)[-count:] if count else before)  # inherited by processes and threads
        try:
            result = pool.submit(measure, *arguments)
        finally:
            os.sched_setaffinity(0, before)
        return result.result()


def write_result(name: str, measured: Mapping[str, Any]) -> Path:
    """Write results/NAME.json and return its path."""
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**facts(), **measured}, indent=2) + "\n", encoding="utf-8")
    print(path)
    return path


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
