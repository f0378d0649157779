"""Rows, memory and a recall target → which FAISS family to build, with the reasons and the bytes.

What the order of the families rests on is measured in `benchmarks/index.py`; ADR 24 says how.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from textcl.errors import ConfigError
from textcl.index.families import Family, family_of

NEEDS = ("delete", "merge", "filter", "mmap")
"""What may be asked of an index: documents deleted often, shards built apart and made one, filters, files mapped."""
FLAT_ROWS = 20_000  # fewer are looked at in a millisecond or two
FLAT_QUERIES = 10_000  # fewer in all do not repay building (FAISS wiki, "Guidelines to choose an index")
_ROWS_A_CELL = 64  # what cells are learnt from; FAISS warns below 39
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True)
class Plan:
    """What to build.

    Args:
        family: The factory string and what it costs.
        rows: How many vectors there will be.
        reasons: Sentences, the deciding one last.
    """

    family: Family
    rows: int
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the command prints it."""
        return {
            "factory": self.family.factory,
            "rows": self.rows,
            "dimension": self.family.dimension,
            "memory_bytes": self.family.memory_bytes(self.rows),
            "disk_bytes": self.family.disk_bytes(self.rows),
            "reasons": list(self.reasons),
        }


def plan_index(
    rows: int,
    dimension: int,
    *,
    recall: float | None = None,
    max_memory: int | None = None,
    queries: int | None = None,
    needs: Collection[str] = (),
    factory: str | None = None,
) -> Plan:
    """Return what to build.

    Args:
        rows: Vectors, at least 1.
        dimension: Of the vectors.
        recall: The share of the exact answers that is to be found; None or 1 for all, which only exact search promises.
        max_memory: Bytes that `Family.memory_bytes` may be; None for no limit.
        queries: How many will be asked in all, as far as known; None for many.
        needs: Of `NEEDS`.
        factory: A factory string to take whatever the rest says; refused where it cannot do what is needed.

    Raises:
        ConfigError: If a number is out of range, a need is unknown, or nothing fits.
    """
    _check(rows, dimension, recall, max_memory, needs)
    if factory is not None:
        family = family_of(factory, dimension)
        for need in needs:
            if problem := _cannot(family, need):
                raise ConfigError("factory", problem=f"{factory}: {problem}")
        _check_fits(family, rows, max_memory)
        return Plan(family, rows, (f"{factory} was asked for",))
    flat = family_of("Flat", dimension)
    fits = max_memory is None or flat.memory_bytes(rows) <= max_memory
    for holds, reason in (
        (recall is None or recall >= 1, "without a recall target below 1 search is exact"),
        (rows < FLAT_ROWS, f"exact search of {rows:,} rows takes a millisecond or two"),
        (queries is not None and queries < FLAT_QUERIES, f"{queries or 0:,} queries do not repay building a structure"),
    ):
        if holds and fits:
            return Plan(flat, rows, (reason,))
    if recall is None or recall >= 1:
        problem = f"exact search takes {in_bytes(flat.memory_bytes(rows))}, {in_bytes(max_memory or 0)} are allowed"
        raise ConfigError("max_memory", problem=f"{problem}; allow more, or ask for a recall below 1")
    return _approximate(rows, dimension, max_memory, needs)


def _approximate(rows: int, dimension: int, max_memory: int | None, needs: Collection[str]) -> Plan:
    reasons: list[str] = []
    for factory, why in _candidates(rows, dimension):
        family = family_of(factory, dimension)
        problems = [problem for need in needs if (problem := _cannot(family, need))]
        size = family.memory_bytes(rows)
        if max_memory is not None and size > max_memory:
            problems.append(f"takes {in_bytes(size)} of memory, {in_bytes(max_memory)} are allowed")
        if not problems:
            return Plan(family, rows, (*reasons, f"{factory}: {why}"))
        reasons.append(f"not {factory}: {problems[0]}")
    least = min(family_of(factory, dimension).memory_bytes(rows) for factory, _ in _candidates(rows, dimension))
    problem = f"nothing fits: the smallest index of {rows:,} rows takes {in_bytes(least)}"
    raise ConfigError("max_memory", problem=f"{problem}; allow more, or keep fewer dimensions")


def _candidates(rows: int, dimension: int) -> list[tuple[str, str]]:
    """Return factory strings, the fastest first, each with what speaks for it."""
    cells = _cells(rows)
    centroids = f"IVF{cells}" if cells < 2**14 else f"IVF{cells}_HNSW32"
    packed = {
        each: f"{centroids},PQ{parts}x4fs"
        for each in (2, 4)
        if dimension <= 2 * each * (parts := _even_parts(dimension, each))  # a prime number of dimensions has none
    }
    found = [
        (packed.get(2), "codes of 4 bits for two numbers each, looked up in registers, then the vectors"),
        ("HNSW32", "a graph over the vectors"),
        (f"{centroids},SQ8", "a byte a number, mapped from disk cell by cell"),
        (f"{centroids},RaBitQ", "a bit a number, mapped from disk cell by cell"),
        (packed.get(4), "codes of 4 bits for four numbers each"),
    ]
    return [(factory, why) for factory, why in found if factory is not None]


def _cells(rows: int) -> int:
    """Return a power of two near four times the root of the rows, with enough rows to learn each cell from."""
    return int(2 ** round(math.log2(max(1, min(4 * math.sqrt(rows), rows / _ROWS_A_CELL)))))


def _even_parts(dimension: int, each: int) -> int:
    """Return into how many parts of about `each` numbers the vectors can be cut evenly."""
    wanted = max(1, dimension // each)
    return next(parts for parts in range(wanted, 0, -1) if dimension % parts == 0)


def _cannot(family: Family, need: str) -> str | None:
    """Return why a family cannot do what is needed; None where it can."""
    if need == "merge" and family.links:
        return "shards of graphs are not made one without building the graph again"
    if need == "mmap" and family.is_packed:
        return "FAISS reads its packed codes into memory"
    return None


def _check_fits(family: Family, rows: int, max_memory: int | None) -> None:
    if max_memory is not None and (size := family.memory_bytes(rows)) > max_memory:
        problem = f"{family.factory} takes {in_bytes(size)}, {in_bytes(max_memory)} are allowed"
        raise ConfigError("max_memory", problem=f"{problem}; allow more, or let the planner choose")


def _check(rows: int, dimension: int, recall: float | None, max_memory: int | None, needs: Collection[str]) -> None:
    for name, value in (("rows", rows), ("dimension", dimension), ("max_memory", max_memory)):
        if value is not None and value < 1:
            raise ConfigError(name, value, "a whole number of at least 1")
    if recall is not None and not 0 < recall <= 1:
        raise ConfigError("recall", recall, "a share in (0, 1]")
    for need in needs:
        if need not in NEEDS:
            raise ConfigError("needs", need, f"some of {', '.join(NEEDS)}")


def in_bytes(count: int) -> str:
    """Return a number of bytes in words, as `4.1 GB`."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def bytes_of(words: str) -> int:
    """Return how many bytes `4GB`, `500 MB`, `2GiB` or `1000` are; ConfigError if it is none of these."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", words.lower())
    if found is None or (found[3] and not found[2]):
        raise ConfigError("max_memory", words, "bytes, such as 4GB, 500MB or 2GiB")
    power = "kmgt".find(found[2]) + 1 if found[2] else 0
    return int(float(found[1]) * (1024**power if found[3] else _UNITS[found[2]]))
