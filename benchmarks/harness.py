"""What every benchmark shares: the facts of the machine, and one JSON file a run under results/."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
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
