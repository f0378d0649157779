"""An index folder, opened and checked.

manifest.json        what it is, which encoder made the vectors, how it is searched; names every file with its checksum
shards/NAME/         see `shards.py`; never changed once the manifest names them
shards/NAME/deleted-G.npy    numbers of the documents of a shard that generation G has deleted

`generations.py` says how it changes. A reader keeps the files that it has opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from textcl.artifacts import MANIFEST, read_manifest
from textcl.errors import ArtifactError, ConfigError, ShapeError
from textcl.index.families import Family, SearchSettings, family_of
from textcl.index.shard_files import in_words
from textcl.index.shards import Shard

KIND = "index"
FORMAT_VERSION = 2
SHARDS = "shards"
ENCODER_FACTS = ("dimension", "pooling", "max_tokens", "query_prompt", "document_prompt", "fingerprint")
"""What a query encoder must share with the encoder of the documents, the most telling first."""
UNIT_TOLERANCE = 1e-3  # of a length of 1: float32 is off by 1e-7, half precision by less than 1e-3

_FACTS = ("factory", "dimension", "normalised", "longest", "texts", "fields", "encoder", "search", "shards")
_TRIES = 5  # at opening a folder that changes meanwhile


class Index:
    """An open index; `open_index` and `build_index` make it. Close it, or use it in a `with` block.

    Rows are vectors, numbered through all shards; deleted ones keep their numbers until `compact`. A row is a document,
    or a passage of one.

    Args:
        folder: The folder, whose manifest is `manifest`.
        manifest: As `read_manifest` returned it.

    Raises:
        ArtifactError: If a file cannot be read or the files do not fit together.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder, self.manifest = folder, dict(manifest)
        self.family: Family = family_of(manifest["factory"], manifest["dimension"])
        self.settings = SearchSettings(**manifest["search"])
        self.shards: list[Shard] = []
        try:
            for facts in manifest["shards"]:
                self.shards.append(Shard(folder / SHARDS / facts["name"], facts, self.family))
            self._deleted = [self._read_deleted(facts) for facts in manifest["shards"]]
        except BaseException:
            self.close()
            raise
        self.starts: NDArray[np.int64] = np.cumsum([0, *(shard.rows for shard in self.shards)])
        masks = [~deleted if deleted.any() else None for deleted in self._deleted]
        self.live: list[NDArray[np.bool_] | None] = [
            None if mask is None else shard.rows_of(mask) for shard, mask in zip(self.shards, masks, strict=True)
        ]

    @property
    def rows(self) -> int:
        """How many rows have numbers, deleted ones too."""
        return int(self.starts[-1])

    @property
    def documents(self) -> int:
        """How many documents can be found."""
        return sum(shard.documents - int(gone.sum()) for shard, gone in zip(self.shards, self._deleted, strict=True))

    @property
    def dimension(self) -> int:
        """D of the vectors."""
        return self.family.dimension

    @property
    def normalised(self) -> bool:
        """Whether all vectors have length 1, as queries then must."""
        return bool(self.manifest["normalised"])

    @property
    def longest(self) -> float:
        """The greatest length of a vector."""
        return float(self.manifest["longest"])

    @property
    def has_passages(self) -> bool:
        """Whether documents may have several rows."""
        return any(shard.passages is not None for shard in self.shards)

    def ids(self) -> Iterator[str]:
        """Yield the id of each document that can be found."""
        for shard, deleted in zip(self.shards, self._deleted, strict=True):
            numbers = np.flatnonzero(~deleted).tolist()
            names = shard.ids_of(numbers)
            yield from (names[number] for number in numbers)

    def ids_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """Return the ids of the documents of `rows`, in their order; IndexError for a row that is not there."""
        found: list[str] = [""] * len(rows)
        for shard, places, local in self._parts(rows):
            numbers = shard.documents_of(local).tolist()
            names = shard.ids_of(numbers)
            for place, number in zip(places.tolist(), numbers, strict=True):
                found[place] = names[number]
        return found

    def texts_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str | None]:
        """Return the texts of `rows`, in their order, None where the index keeps none; IndexError as `ids_of`."""
        return [text for text, _ in self.contents_of(rows)]

    def contents_of(self, rows: Sequence[int] | NDArray[np.int64]) -> list[tuple[str | None, dict[str, Any]]]:
        """Return the text of each row, that of the passage where it is one, and the metadata of its document."""
        found: list[tuple[str | None, dict[str, Any]]] = [(None, {})] * len(rows)
        for shard, places, local in self._parts(rows):
            for place, row, number in zip(places.tolist(), local.tolist(), shard.documents_of(local), strict=True):
                text, known = shard.text_of(int(number))
                if shard.passages is not None and text is not None:
                    text = text[shard.passages[row, 1] : shard.passages[row, 2]]
                found[place] = text, known
        return found

    def vectors_of(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of `rows` (n,) as (n, D); IndexError as `ids_of`."""
        found = np.empty((len(rows), self.dimension), dtype=np.float32)
        for shard, places, local in self._parts(rows):
            found[places] = shard.vectors[local]
        return found

    def documents_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each row a number that rows of one document share and others do not, (n,)."""
        if not self.has_passages:
            return rows
        found = np.empty(len(rows), dtype=np.int64)
        for shard, places, local in self._parts(rows):
            # No shard has more documents than rows, so that those of different shards stay apart.
            found[places] = shard.documents_of(local) + self.starts[self.shards.index(shard)]
        return found

    def rows_with(self, filters: Mapping[str, object]) -> list[NDArray[np.bool_]]:
        """Return for each shard which rows can be found and have these metadata values, (rows,) each.

        Raises:
            ConfigError: If no document has such a field.
        """
        for field in filters:
            if field not in self.manifest["fields"]:
                known = ", ".join(self.manifest["fields"]) or "none; build the index with fields to have some"
                raise ConfigError("filter", problem=f"the documents have no field {field!r}; fields: {known}")
        found = []
        for shard, deleted in zip(self.shards, self._deleted, strict=True):
            kept = ~deleted
            for field, value in filters.items():
                has = np.zeros(shard.documents, dtype=np.bool_)
                has[shard.with_value(field, in_words(value))] = True
                kept &= has
            found.append(shard.rows_of(kept))
        return found

    def places_of(self, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return shard and document number of those ids that can be found."""
        found: dict[str, tuple[int, int]] = {}
        for place, (shard, deleted) in enumerate(zip(self.shards, self._deleted, strict=True)):
            found |= {one: (place, number) for one, number in shard.numbers_of(ids).items() if not deleted[number]}
        return found

    def deleted_of(self, place: int) -> NDArray[np.bool_]:
        """Return which documents of a shard are deleted, (documents,)."""
        return self._deleted[place]

    def check_encoder(self, facts: Mapping[str, Any]) -> None:
        """Refuse queries of another encoder than the one that made the index.

        Args:
            facts: The query encoder's, at least the `ENCODER_FACTS`; a missing one counts as None.

        Raises:
            ArtifactError: If a fact differs; all that do are named, with both values.
        """
        built = self.manifest["encoder"]
        odd = [
            f"{fact} {built[fact]!r} in the index, {facts.get(fact)!r} in the query encoder"
            for fact in ENCODER_FACTS
            if built[fact] != facts.get(fact)
        ]
        if odd:
            advice = f"search with {built['model']!r} as it was, or build the index again"
            raise ArtifactError(self.folder, f"was built with another encoder: {'; '.join(odd)}; {advice}")

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        for shard in self.shards:
            shard.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parts(
        self, rows: Sequence[int] | NDArray[np.int64]
    ) -> Iterable[tuple[Shard, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield each shard with the places in `rows` that lie in it, and its own numbers of those."""
        wanted = np.asarray(rows, dtype=np.int64)
        # FAISS answers -1 where it finds nothing; as a Python index that would be the last row.
        if len(odd := wanted[(wanted < 0) | (wanted >= self.rows)]):
            raise IndexError(f"row {odd[0]} is not among the {self.rows} rows of the index")
        owners = np.searchsorted(self.starts, wanted, side="right") - 1
        for number, shard in enumerate(self.shards):
            if len(places := np.flatnonzero(owners == number)):
                yield shard, places, wanted[places] - self.starts[number]

    def _read_deleted(self, facts: Mapping[str, Any]) -> NDArray[np.bool_]:
        gone = np.zeros(facts["documents"], dtype=np.bool_)
        if facts["deleted"] is not None:
            path = self.folder / facts["deleted"]
            try:
                gone[np.load(path)] = True
            except (ValueError, IndexError) as error:
                raise ArtifactError(path, "is damaged: not numbers of documents; build the index again") from error
        return gone


def is_index(folder: Path) -> bool:
    """Tell whether `folder` holds an index, sound or damaged."""
    return (folder / SHARDS).is_dir()


def open_index(folder: Path, *, verify: bool = False) -> Index:
    """Return the index in `folder`, open.

    Args:
        folder: What `build_index` wrote.
        verify: Read every file and compare checksums; without it names, sizes and counts are compared.

    Raises:
        ArtifactError: If the folder is missing, no index, of another version, or damaged.
    """
    for _ in range(_TRIES):
        before = _bytes_of_manifest(folder)
        try:
            return Index(folder, read_facts(folder, verify=verify))
        except (ArtifactError, OSError):
            if before == _bytes_of_manifest(folder):
                raise  # nobody has changed the index meanwhile
    raise ArtifactError(folder, "changes faster than it can be opened; try again when nobody writes it")


def _bytes_of_manifest(folder: Path) -> bytes | None:
    try:
        return (folder / MANIFEST).read_bytes()
    except OSError:
        return None


def read_facts(folder: Path, *, verify: bool = False) -> dict[str, Any]:
    """Return the manifest of an index; ArtifactError as `open_index`."""
    manifest = read_manifest(folder, KIND, FORMAT_VERSION, verify=verify)
    if missing := [fact for fact in _FACTS if fact not in manifest]:
        raise ArtifactError(folder, f"its manifest does not say {', '.join(missing)}; build the index again")
    return manifest


def lengths_of(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Euclidean length of each row, (n,); NaN or infinite where the row is not finite."""
    lengths: NDArray[np.float64] = np.linalg.norm(np.asarray(rows, dtype=np.float64), axis=1)
    return lengths


def check_width(name: str, rows: NDArray[np.float32], width: int) -> None:
    """Raise ShapeError unless `rows` is (n, width)."""
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ShapeError(name, rows.shape, f"(Q, {width})")
