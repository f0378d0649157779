"""Queries and a recall target → the fastest search settings that reach it, checked on other queries.

Half of the queries choose, the other half say what was achieved, with a 95 % interval.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError, DataError
from textcl.index.exact import exact_neighbours
from textcl.index.families import SearchSettings
from textcl.index.recall import Asked, answered, recall_interval
from textcl.index.search import documents_among, neighbours, neighbours_among
from textcl.index.store import Index, check_width, lengths_of
from textcl.progress import Progress, quiet
from textcl.randomness import permutation

FEWEST_QUERIES = 20
_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_DEPTHS = (1, 2, 4, 8, 16, 32)  # of re-ranking
_SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # of rows that a filter allows
_SINGLE = 100  # queries asked one at a time
_MOST_QUERIES = 10_000
_CHOOSING = 99.0  # level of the interval whose lower end chooses
_REPEATS = 3
_FULL = 0.999  # recall from which a curve ends


@dataclass(frozen=True, slots=True)
class Point:
    """What some settings reach.

    Args:
        settings: Of the search; None for exact search.
        recall: Mean over queries.
        low: Lower end of its 95 % interval.
        high: Upper end.
        queries_per_s: In one batch, on all threads.
        p50_ms: Median time of a single query.
        p95_ms: Its 95 % quantile.
    """

    settings: SearchSettings | None
    recall: float
    low: float
    high: float
    queries_per_s: float
    p50_ms: float
    p95_ms: float

    def to_json(self) -> dict[str, Any]:
        """Return the point as the manifest has it."""
        shown = self.settings.to_json() if self.settings is not None else "exact"
        return {**asdict(self), "settings": shown}


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning found.

    Args:
        settings: The chosen ones.
        curve: Exact search, then wider and wider search.
        filter_from: Share of allowed rows from which the structure keeps its recall under a filter.
        promise: As the manifest has it: target, k, what other queries got, and whether the interval is above it.
    """

    settings: SearchSettings
    curve: list[Point]
    filter_from: float
    promise: dict[str, Any]

    def facts(self) -> dict[str, Any]:
        """Return what changes in the manifest."""
        return {
            "search": self.settings.to_json(),
            "curve": [point.to_json() for point in self.curve],
            "filter_from": self.filter_from,
            "promise": self.promise,
        }


def tune(
    index: Index,
    queries: NDArray[np.float32],
    *,
    recall: float,
    at: int = 10,
    kind: str = "given",
    own: NDArray[np.int64] | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> Tuned:
    """Return the fastest settings whose recall at `at` is at least `recall`, and what other queries get with them.

    Args:
        index: Open, with a search structure or exact.
        queries: (Q, D), as for `search`; half of them choose, the others check.
        recall: The target, in (0, 1].
        at: k.
        kind: What the queries are, for the promise: given ones, or made from the corpus.
        own: (Q,) the row that each query was made from, if it is one of the index's: its document does not count.
        seed: Of which queries choose, and of the interval.
        progress: Told of settings tried.

    Raises:
        ConfigError: If a setting is out of range.
        DataError: If there are too few queries.
        ShapeError: If `queries` is not (Q, D).
    """
    if not 0 < recall <= 1:
        raise ConfigError("recall", recall, "a share in (0, 1]")
    if at < 1:
        raise ConfigError("at", at, "a whole number of at least 1")
    check_width("queries", queries, index.dimension)
    if len(queries) < FEWEST_QUERIES:
        raise DataError(f"{len(queries)} queries cannot show a recall; give at least {FEWEST_QUERIES}")
    queries, own = queries[:_MOST_QUERIES], None if own is None else own[:_MOST_QUERIES]
    at = min(at, index.documents - (own is not None))
    if at < 1:
        raise DataError("one document cannot be asked for others; give queries")
    asked = answered(index, queries, at, own)
    order = permutation(len(queries), "tuning queries", seed)
    choosing, checking = asked.part(order[: len(order) // 2]), asked.part(order[len(order) // 2 :])
    exact = _point(index, choosing, None, seed)
    curve = [exact]
    settings = index.settings
    if not index.family.is_flat:
        with progress("tune", None) as advance:
            settings, points = _chosen(index, choosing, recall, seed, advance)
        curve += points
    found = _recall_of(index, checking, None if index.family.is_flat else settings)
    low, high = recall_interval(found, seed)
    promise = {
        "recall": recall, "at": at, "queries": kind, "chosen_on": len(choosing.queries), "checked_on": len(found),
        "measured": float(found.mean()), "low": low, "high": high, "kept": bool(low >= recall),
        "threads": faiss.omp_get_max_threads(), "generation": index.manifest["generation"] + 1,
    }  # fmt: skip
    share = 0.0 if index.family.is_flat else _filter_share(index, choosing, settings, recall, seed)
    return Tuned(settings, curve, share, promise)


def _chosen(
    index: Index,
    asked: Asked,
    recall: float,
    seed: int,
    advance: Any,  # noqa: ANN401
) -> tuple[SearchSettings, list[Point]]:
    """Return the fastest settings that reach the target, else those of the highest recall; and the curve of them."""
    tried: dict[SearchSettings, tuple[float, float, float]] = {}
    reaching: list[SearchSettings] = []
    for line in _lines(index, asked.at):
        for settings in line:
            found = _recall_of(index, asked, settings)
            # Surer than the promise: what is just above the line would be below it half of the time.
            low, _ = recall_interval(found, seed, _CHOOSING)
            tried[settings] = (float(found.mean()), low, _seconds(index, asked, settings))
            advance(1)
            if tried[settings][1] >= recall or tried[settings][0] >= 1:
                reaching.append(settings)
                break
            if _is_hopeless(tried, line, settings, recall):
                break
    best = (
        min(reaching, key=lambda one: tried[one][2])
        if reaching
        else max(tried, key=lambda one: (tried[one][0], -tried[one][2]))
    )
    points = []
    for settings in next(line for line in _lines(index, asked.at) if best in line):
        points.append(_point(index, asked, settings, seed))
        advance(1)
        if points[-1].recall >= _FULL:
            break
    return best, points


def _lines(index: Index, at: int) -> Iterator[list[SearchSettings]]:
    """Yield settings that get wider, one line for each depth of re-ranking."""
    family = index.family
    for depth in (1,) if family.is_lossless else _DEPTHS:
        if family.cells:
            widths = [width for width in _WIDTHS if width < family.cells] + [family.cells]
            yield [SearchSettings(nprobe=width, rerank=depth) for width in widths]
        elif family.links:
            # A graph keeps at least the candidates in view, so that less is no other search.
            least = math.ceil((at + 1) * depth)
            widths = sorted({least, 2 * least, 4 * least, *(width for width in _WIDTHS if width > least)})
            yield [SearchSettings(ef_search=width, rerank=depth) for width in widths]
        else:
            yield [SearchSettings(rerank=depth)]


def _is_hopeless(
    tried: dict[SearchSettings, tuple[float, float, float]],
    line: Sequence[SearchSettings],
    now: SearchSettings,
    recall: float,
) -> bool:
    """Tell whether three steps wider have brought next to nothing: what is lost is lost by the codes."""
    place = line.index(now)
    return place >= 3 and tried[now][0] < recall and tried[now][0] - tried[line[place - 3]][0] < 1e-3


def _recall_of(index: Index, asked: Asked, settings: SearchSettings | None) -> NDArray[np.float64]:
    rows, scores = _search(index, asked.queries, asked.fetched, settings)
    return asked.recall(rows, scores)


def _search(
    index: Index, queries: NDArray[np.float32], k: int, settings: SearchSettings | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return neighbours(index, queries, k, settings=settings, exact=settings is None)


def _seconds(index: Index, asked: Asked, settings: SearchSettings | None) -> float:
    """Return the median time of the batch."""
    taken = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        _search(index, asked.queries, asked.fetched, settings)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def _point(index: Index, asked: Asked, settings: SearchSettings | None, seed: int) -> Point:
    found = _recall_of(index, asked, settings)
    low, high = recall_interval(found, seed)
    single = []
    for query in asked.queries[:_SINGLE]:
        started = time.perf_counter()
        _search(index, query[None], asked.fetched, settings)
        single.append(1000 * (time.perf_counter() - started))
    rate = len(asked.queries) / _seconds(index, asked, settings)
    return Point(settings, float(found.mean()), low, high, rate, *np.percentile(single, [50, 95]).tolist())


def _filter_share(index: Index, asked: Asked, settings: SearchSettings, recall: float, seed: int) -> float:
    """Return the least share of allowed rows, drawn at random, under which the structure reaches the target."""
    reached = 1.0
    lengths = lengths_of(asked.queries)
    for share in _SHARES:
        masks = []
        for number, shard in enumerate(index.shards):
            mask = np.zeros(shard.rows, dtype=np.bool_)
            mask[permutation(shard.rows, "filter", seed, number)[: max(1, round(share * shard.rows))]] = True
            masks.append(mask if (live := index.live[number]) is None else mask & live)
        k = min(asked.at, documents_among(index, masks))
        if k == 0:
            break
        bounds = exact_neighbours(index, asked.queries, lengths, k, masks)[1][:, -1]
        rows, scores = neighbours_among(index, asked.queries, k, masks, settings)
        found = Asked(asked.queries, bounds, k, None, index).recall(rows, scores).mean()
        if found < recall:
            break
        reached = share
    return reached
