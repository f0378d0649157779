"""FAISS factory strings → what an index of that family can do, costs, and is searched with.

textcl keeps the float vectors of every index beside its search structure, maps them into memory, and scores again
whatever FAISS proposes. So a family may be lossy and yet its hits have exact scores; ids stay outside FAISS, and
deletions are a selector at search. What cannot take a selector is refused here, before anything is built.

Names of parameters are FAISS's: `nprobe` cells that are visited, `efSearch` nodes of a graph that are kept in view.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from textcl.errors import ConfigError

_REFUSED = {  # what a factory string may hold, and what to do instead
    "IDMap": "ids are kept outside of FAISS; leave IDMap out",
    "Refine": "all hits are scored again with the float vectors anyway; leave Refine out",
    "RFlat": "all hits are scored again with the float vectors anyway; leave RFlat out",
    "Panorama": "FAISS pads each list to whole blocks and cannot map the file; use IVF…,Flat",
}
_TRIED = (  # what takes a selector at search, and codes that can be counted; FAISS 1.14.3 to 1.15.1
    faiss.IndexHNSWFlat, faiss.IndexHNSWSQ, faiss.IndexIVFFlat, faiss.IndexIVFScalarQuantizer, faiss.IndexIVFPQ,
    faiss.IndexIVFPQFastScan, faiss.IndexIVFRaBitQ, faiss.IndexIVFRaBitQFastScan, faiss.IndexScalarQuantizer,
    faiss.IndexRaBitQ,
)  # fmt: skip
_EF_CONSTRUCTION = 200  # of a graph; FAISS's 40 is too low for text


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """How widely an approximate index is searched.

    Args:
        nprobe: Cells visited, at least 1; nothing for a family without cells.
        ef_search: Nodes of a graph kept in view, at least 1; nothing for a family without a graph.
        rerank: Candidates that are scored with the float vectors, as a multiple of the hits wanted; at least 1.
    """

    nprobe: int | None = None
    ef_search: int | None = None
    rerank: float = 1.0

    def __post_init__(self) -> None:
        for name in ("nprobe", "ef_search"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(name, value, "a whole number of at least 1")
        if not self.rerank >= 1:
            raise ConfigError("rerank", self.rerank, "a multiple of at least 1")

    def to_json(self) -> dict[str, Any]:
        """Return the settings that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


_PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Family:
    """What a factory string is.

    Args:
        factory: As FAISS reads it; `Flat` for exact search.
        dimension: Of the vectors.
        cells: Inverted lists; 0 without.
        links: Neighbours a node of the graph over the vectors has in an upper layer (M); 0 without.
        cell_links: The same of a graph over the centroids.
        code_bytes: A vector in the search structure, without links and FAISS's own number of it.
        is_lossless: The structure scores with the float vectors themselves.
        keeps_vectors: The structure holds the float vectors a second time.
        inner_dimension: Of the vectors after a transformation, where there is one.
        transform_bytes: Of the matrices of that.
        is_packed: Codes lie in blocks of 32, which FAISS reads into memory whole.
        fewest_training_rows: FAISS refuses to train on fewer.
    """

    factory: str
    dimension: int
    cells: int = 0
    links: int = 0
    cell_links: int = 0
    code_bytes: float = 0
    is_lossless: bool = True
    keeps_vectors: bool = False
    inner_dimension: int = 0
    transform_bytes: int = 0
    is_packed: bool = False
    fewest_training_rows: int = 0

    @property
    def is_flat(self) -> bool:
        """Whether there is no search structure beside the vectors."""
        return self.factory == "Flat"

    def search_bytes(self, rows: int) -> int:
        """Return the bytes of the search structure of so many rows."""
        if self.is_flat:
            return 0
        each = self.code_bytes
        # A node is in one upper layer more with probability 1/M: M/(M - 1) links of 4 bytes above its 2M below; an
        # offset of 8 bytes and a level of 4 (FAISS, HNSW.h).
        each += _graph_bytes(self.links) if self.links else 0
        each += 8 if self.cells else 0
        fixed = float(self.transform_bytes)
        fixed += self.cells * (4 * self.inner_dimension + 8 + (_graph_bytes(self.cell_links) if self.cell_links else 0))
        fixed += self.cells * 16 * self.code_bytes if self.is_packed else 0  # the last block of a list is half full
        return int(rows * each + fixed)

    def vector_bytes(self, rows: int) -> int:
        """Return the bytes of the float vectors of so many rows."""
        return 4 * self.dimension * rows

    @property
    def uses_vectors(self) -> bool:
        """Whether a search visits the float vectors themselves, not just to rank again what a structure proposed."""
        return self.is_flat or (self.is_lossless and not self.keeps_vectors)

    def memory_bytes(self, rows: int) -> int:
        """Return the bytes of the structure, and of the vectors where it scores with them.

        Vectors that are read to rank again what a structure proposed stay on disk and are not counted.
        """
        return self.search_bytes(rows) + self._slack_bytes(rows) + (self.vector_bytes(rows) if self.uses_vectors else 0)

    def _slack_bytes(self, rows: int) -> int:
        """Return the bytes that lists of packed codes take in memory beyond their codes.

        FAISS makes room for a power of two (AlignedTable.h), 1/ln 2 of what is needed in the mean over sizes; of the
        rest, pages that hold nothing else are never touched.
        """
        if not self.is_packed or not self.cells:
            return 0
        codes = (rows / self.cells + 16) * self.code_bytes
        return int(self.cells * min(codes * (1 / math.log(2) - 1), _PAGE_BYTES))

    def disk_bytes(self, rows: int) -> int:
        """Return the bytes of structure and vectors; ids and texts come on top."""
        return self.search_bytes(rows) + self.vector_bytes(rows)


def _graph_bytes(links: int) -> float:
    return 4 * (2 * links + links / (links - 1)) + 12


def family_of(factory: str, dimension: int) -> Family:
    """Return what a factory string is.

    Raises:
        ConfigError: If FAISS does not know it, or textcl cannot keep its promises with it.
    """
    if factory == "Flat":
        return Family(factory, dimension, code_bytes=0)
    for part, advice in _REFUSED.items():
        if part in factory:
            raise ConfigError("factory", problem=f"{factory}: {advice}")
    index = new_index(factory, dimension)
    inner = inner_index(index)
    is_plain = not isinstance(index, faiss.IndexPreTransform)
    if type(inner) not in _TRIED:
        advice = "use an IVF, HNSW, SQ or RaBitQ family, or Flat"
        raise ConfigError("factory", problem=f"{factory}: FAISS cannot leave out deleted documents there; {advice}")
    cells = int(inner.nlist) if isinstance(inner, faiss.IndexIVF) else 0
    quantizer = faiss.downcast_index(inner.quantizer) if cells else None
    has_graph = isinstance(inner, faiss.IndexHNSW)
    shares_vectors = is_plain and isinstance(inner, faiss.IndexHNSWFlat)
    return Family(
        factory, dimension, cells=cells,
        links=_links(inner) if has_graph else 0,
        cell_links=_links(quantizer) if isinstance(quantizer, faiss.IndexHNSW) else 0,
        code_bytes=_code_bytes(inner) if not shares_vectors else 0,
        is_lossless=is_plain and isinstance(inner, faiss.IndexHNSWFlat | faiss.IndexIVFFlat),
        keeps_vectors=is_plain and isinstance(inner, faiss.IndexIVFFlat),
        inner_dimension=int(inner.d),
        # A PCA keeps all of its components beside those it uses.
        transform_bytes=0 if is_plain else 4 * dimension * (int(inner.d) + ("PCA" in factory) * dimension),
        is_packed=isinstance(inner, faiss.IndexIVFFastScan),
        fewest_training_rows=_fewest_training_rows(inner, cells),
    )  # fmt: skip


def _links(index: Any) -> int:  # noqa: ANN401 (faiss has no types)
    if (links := int(index.hnsw.nb_neighbors(1))) < 2:
        raise ConfigError("factory", problem=f"a graph needs at least 2 links a node, there are {links}")
    return links


def _code_bytes(inner: Any) -> float:  # noqa: ANN401
    if isinstance(inner, faiss.IndexHNSW):
        return float(faiss.downcast_index(inner.storage).sa_code_size())
    return float(inner.code_size)


def _fewest_training_rows(inner: Any, cells: int) -> int:  # noqa: ANN401
    quantizer = getattr(inner, "pq", None)
    return max(cells, int(quantizer.ksub) if quantizer is not None else 0)


def new_index(factory: str, dimension: int) -> Any:  # noqa: ANN401
    """Return an empty FAISS index for inner products; ConfigError if FAISS cannot make it."""
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        said = str(error).rsplit(": ", 1)[-1].strip()
        problem = f"FAISS makes no index of {factory!r} with {dimension} dimensions ({said})"
        raise ConfigError("factory", problem=problem) from error
    inner = inner_index(index)
    if isinstance(inner, faiss.IndexHNSW):
        inner.hnsw.efConstruction = _EF_CONSTRUCTION
    return index


def inner_index(index: Any) -> Any:  # noqa: ANN401
    """Return the index behind a transformation of the vectors, or `index` itself, as the class that it is."""
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


class Structure:
    """A trained FAISS index, and how it is asked.

    Args:
        index: The FAISS index.
    """

    def __init__(self, index: Any) -> None:  # noqa: ANN401
        self.index = index
        self._inner = inner_index(index)
        self._is_wrapped = isinstance(self.index, faiss.IndexPreTransform)
        self._quantizer = faiss.downcast_index(self._inner.quantizer) if self.has_cells else None

    @property
    def has_cells(self) -> bool:
        """Whether `nprobe` means something."""
        return isinstance(self._inner, faiss.IndexIVF)

    def nearest(
        self,
        queries: NDArray[np.float32],
        fetch: int,
        settings: SearchSettings,
        allowed: NDArray[np.uint8] | None,
    ) -> NDArray[np.int64]:
        """Return the rows that FAISS proposes, (Q, fetch), -1 where it finds no more.

        Args:
            queries: (Q, D) float32, contiguous.
            fetch: Rows a query.
            settings: How widely to look.
            allowed: One bit a row, lowest bit first, for those that may be found; None for all.
        """
        selector = faiss.IDSelectorBitmap(allowed) if allowed is not None else None
        parameters = self._parameters(fetch, settings, selector)
        found: NDArray[np.int64] = self.index.search(queries, fetch, params=parameters)[1]
        return found

    def decoded(self, vectors: NDArray[np.float32], start: int) -> NDArray[np.float32]:
        """Return what the codes of rows `start` … hold of `vectors` (n, D), their float vectors, as (n, D)."""
        if isinstance(self._inner, faiss.IndexHNSW):
            made = self.index.reconstruct_n(start, len(vectors))
        else:
            made = self.index.sa_decode(self.index.sa_encode(np.ascontiguousarray(vectors)))
        codes: NDArray[np.float32] = made
        return codes

    def _parameters(self, fetch: int, settings: SearchSettings, selector: Any) -> Any:  # noqa: ANN401
        # A graph that keeps fewer nodes in view than are wanted loses recall.
        view = max(settings.ef_search or 1, fetch)
        if self.has_cells:
            extra = {}
            if isinstance(self._quantizer, faiss.IndexHNSW):
                view = max(settings.ef_search or 1, 2 * (settings.nprobe or 1))
                extra["quantizer_params"] = faiss.SearchParametersHNSW(efSearch=view)
            made = faiss.SearchParametersIVF(nprobe=settings.nprobe or 1, sel=selector, **extra)
        elif isinstance(self._inner, faiss.IndexHNSW):
            made = faiss.SearchParametersHNSW(efSearch=view, sel=selector)
        else:
            made = faiss.SearchParameters(sel=selector)
        return faiss.SearchParametersPreTransform(index_params=made) if self._is_wrapped else made


def default_settings(family: Family) -> SearchSettings:
    """Return settings for an index that nobody has tuned: wide rather than fast."""
    return SearchSettings(
        nprobe=max(1, round(family.cells / 8)) if family.cells else None,
        ef_search=128 if family.links else None,
        rerank=1.0 if family.is_lossless else 8.0,
    )
