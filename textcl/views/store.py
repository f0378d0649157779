"""Slow views are written once: a store on disk, keyed by the text and by all that decides what is written of it.

One SQLite file holds it. A batch of texts is one transaction, so a kill at any moment leaves each text either with all
of its variants or as one that is still to do.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textcl.artifacts import fingerprint
from textcl.errors import ArtifactError
from textcl.progress import Progress, quiet
from textcl.randomness import RowRandom
from textcl.views.back_translation import Rewriter
from textcl.views.view import Kind

FILE = "views.sqlite"

_VERSION = 1
_TEXTS_AT_ONCE = 128  # what a kill can cost, and enough for a translator to batch by length
_TABLES = """
CREATE TABLE makers (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, facts TEXT NOT NULL);
CREATE TABLE done (maker INTEGER, text BLOB, PRIMARY KEY (maker, text)) WITHOUT ROWID;
CREATE TABLE views (
    maker INTEGER, text BLOB, variant INTEGER, view TEXT NOT NULL, PRIMARY KEY (maker, text, variant)
) WITHOUT ROWID;
CREATE TABLE similarities (
    judge TEXT, maker INTEGER, text BLOB, variant INTEGER, cosine REAL NOT NULL,
    PRIMARY KEY (judge, maker, text, variant)
) WITHOUT ROWID;
"""


class ViewStore:
    """The views of a folder.

    Args:
        folder: Holds the file; made when the first view is written.

    Raises:
        ArtifactError: By every method, if the file is damaged or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder.expanduser() / FILE

    def check_writable(self) -> None:
        """Make the folder, and raise ArtifactError if nothing can be written there; call it before long work starts."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(self.path.parent, f"cannot be the folder of a store: {error.strerror}") from error
        with self._open(write=True):
            pass

    def missing(self, facts: Mapping[str, Any], texts: Sequence[str]) -> list[str]:
        """Return those of the texts, each once, that the maker with these facts has not seen."""
        with self._open() as base:
            maker = _maker(base, facts)
            return [text for text in dict.fromkeys(texts) if maker is None or not _is_done(base, maker, _digest(text))]

    def add(self, facts: Mapping[str, Any], texts: Sequence[str], views: Sequence[Sequence[str]]) -> None:
        """Keep the variants of each text, none for a text that gave none; what is kept already stays."""
        self.check_writable()
        with self._open(write=True) as base:
            base.execute("INSERT OR IGNORE INTO makers (key, facts) VALUES (?, ?)", (_key(facts), _as_json(facts)))
            maker = _maker(base, facts)
            for text, variants in zip(texts, views, strict=True):
                digest = _digest(text)
                # Another process may have written this text meanwhile; its variants stand.
                if base.execute("INSERT OR IGNORE INTO done VALUES (?, ?)", (maker, digest)).rowcount:
                    rows = [(maker, digest, number, view) for number, view in enumerate(variants)]
                    base.executemany("INSERT INTO views VALUES (?, ?, ?, ?)", rows)

    def read(self, facts: Mapping[str, Any], texts: Sequence[str]) -> list[list[str]]:
        """Return the variants of each text, none where there are none."""
        query = "SELECT view FROM views WHERE maker = ? AND text = ? ORDER BY variant"
        with self._open() as base:
            maker = _maker(base, facts)
            return [[view for (view,) in base.execute(query, (maker, _digest(text)))] for text in texts]

    def judge(
        self, facts: Mapping[str, Any], judge: str, texts: Sequence[str], cosines: Sequence[Sequence[float]]
    ) -> None:
        """Keep the cosine of each text with each of its variants under the encoder whose fingerprint is `judge`."""
        with self._open(write=True) as base:
            maker = _maker(base, facts)
            rows = [
                (judge, maker, _digest(text), number, float(cosine))
                for text, found in zip(texts, cosines, strict=True)
                for number, cosine in enumerate(found)
            ]
            base.executemany("INSERT OR IGNORE INTO similarities VALUES (?, ?, ?, ?, ?)", rows)

    def cosines(self, facts: Mapping[str, Any], judge: str, texts: Sequence[str]) -> list[list[float]]:
        """Return the cosines of each text's variants; none for a text that was not judged."""
        query = "SELECT cosine FROM similarities WHERE judge = ? AND maker = ? AND text = ? ORDER BY variant"
        with self._open() as base:
            maker = _maker(base, facts)
            return [[value for (value,) in base.execute(query, (judge, maker, _digest(text)))] for text in texts]

    def makers(self) -> list[dict[str, Any]]:
        """Return the facts of all that wrote into the store."""
        with self._open() as base:
            return [json.loads(facts) for (facts,) in base.execute("SELECT facts FROM makers ORDER BY number")]

    @contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield the open file, in one transaction; without a file and without `write`, an empty one in memory."""
        there = self.path.exists()
        try:
            base = sqlite3.connect(self.path if write or there else ":memory:", timeout=60, isolation_level=None)
        except sqlite3.Error as error:
            raise ArtifactError(self.path, f"cannot be opened as a store of views: {error}") from error
        try:
            base.execute("BEGIN IMMEDIATE" if write or not there else "BEGIN")
            self._check(base)
            yield base
            base.execute("COMMIT")
        except sqlite3.OperationalError as error:  # busy, full or read-only: nothing is wrong with what is in it
            raise ArtifactError(self.path, f"cannot be used now ({error}); what it holds stays") from error
        except sqlite3.DatabaseError as error:
            problem = f"cannot be used as a store of views ({error}); if damaged, remove it and build the views again"
            raise ArtifactError(self.path, problem) from error
        finally:
            base.close()  # without a commit all of the transaction is undone

    def _check(self, base: sqlite3.Connection) -> None:
        version = base.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not base.execute("SELECT 1 FROM sqlite_master").fetchone():
            for statement in _TABLES.split(";"):
                base.execute(statement)
            base.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            problem = f"has format version {version}, this textcl reads {_VERSION}; build the views again elsewhere"
            raise ArtifactError(self.path, problem)


@dataclass(frozen=True)
class Built:
    """What a build did.

    Args:
        texts: Different texts asked for.
        written: Those written now.
        empty: Those of which there is no variant at all.
        unchanged: Those of which a variant is the text itself, as of words that the translator does not know.
    """

    texts: int
    written: int
    empty: int
    unchanged: int


def build_views(store: ViewStore, rewriter: Rewriter, texts: Sequence[str], progress: Progress = quiet) -> Built:
    """Write the views of all texts that the store lacks; a build that was stopped goes on where it was."""
    store.check_writable()
    facts, unique = rewriter.facts, list(dict.fromkeys(texts))
    missing = store.missing(facts, unique)
    kept = len(unique) - len(missing)
    with progress("write views" if not kept else f"write views, {kept} are there", len(missing)) as advance:
        for start in range(0, len(missing), _TEXTS_AT_ONCE):
            batch = missing[start : start + _TEXTS_AT_ONCE]
            store.add(facts, batch, rewriter.rewrite(batch))
            advance(len(batch))
    found = store.read(facts, unique)
    empty = sum(not variants for variants in found)
    unchanged = sum(text.strip() in variants for text, variants in zip(unique, found, strict=True))
    return Built(len(unique), len(missing), empty, unchanged)


def judge_views(
    store: ViewStore,
    facts: Mapping[str, Any],
    texts: Sequence[str],
    judge: str,
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    progress: Progress = quiet,
) -> None:
    """Measure how much of its text each stored view keeps, where that is not yet known.

    Args:
        store: Holds the views.
        facts: Of the rewriter that wrote them.
        texts: Whose views are measured.
        judge: Fingerprint of the encoder.
        embed: Texts → unit-length embeddings (N, D) under that encoder.
        progress: Told the number of texts done.
    """
    unique = list(dict.fromkeys(texts))
    views, known = store.read(facts, unique), store.cosines(facts, judge, unique)
    open_ = [place for place, found in enumerate(views) if len(known[place]) < len(found)]
    with progress("judge views", len(open_)) as advance:
        for start in range(0, len(open_), 4 * _TEXTS_AT_ONCE):
            places = open_[start : start + 4 * _TEXTS_AT_ONCE]
            batch = [unique[place] for place in places]
            flat = [view for place in places for view in views[place]]
            vectors = embed([*batch, *flat])
            own = np.repeat(np.arange(len(batch)), [len(views[place]) for place in places])
            cosines = (vectors[: len(batch)][own] * vectors[len(batch) :]).sum(axis=1)
            cuts = np.flatnonzero(np.diff(own)) + 1
            store.judge(facts, judge, batch, [one.tolist() for one in np.split(cosines, cuts)])
            advance(len(batch))


@dataclass(frozen=True, eq=False)
class Stored:
    """Draw one of the stored variants of each text; a text without any stays as it is.

    Args:
        first: (N,) row of the table where the variants of each text begin, by row of the data set.
        counts: (N,) how many there are.
    """

    kind: ClassVar[Kind] = "stored"
    first: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __call__(self, places: NDArray[np.int64], rng: RowRandom) -> NDArray[np.int64]:
        """Return rows of the table, (B,), given those of the texts themselves."""
        counts = self.counts[rng.rows]
        drawn = self.first[rng.rows] + (rng.per_row() * counts).astype(np.int64)
        return np.where(counts > 0, drawn, places)


def differences(facts: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in which settings the nearest of some other makers differs, in words; [] without any."""
    ours = _flat(facts)
    found = []
    for other in others:
        theirs = _flat(other)
        names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        found.append([f"{name} was {theirs.get(name)}, is {ours.get(name)}" for name in names])
    return min(found, key=len, default=[])


def _flat(facts: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _as_json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True)


def _key(facts: Mapping[str, Any]) -> str:
    return fingerprint([_as_json(facts)])


def _maker(base: sqlite3.Connection, facts: Mapping[str, Any]) -> int | None:
    found = base.execute("SELECT number FROM makers WHERE key = ?", (_key(facts),)).fetchone()
    return None if found is None else int(found[0])


def _is_done(base: sqlite3.Connection, maker: int, digest: bytes) -> bool:
    return base.execute("SELECT 1 FROM done WHERE maker = ? AND text = ?", (maker, digest)).fetchone() is not None
