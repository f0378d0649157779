"""Pairs, documents and an encoder → hard negatives for each pair, in memory or as a file that trains as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from textcl.artifacts import check_file_target
from textcl.assemble.mined_file import write_mined
from textcl.assemble.mining_pairs import MiningPairs, read_mining_pairs
from textcl.encoder.embed import Embedded, embed_texts
from textcl.encoder.load import describe_encoder, load_encoder, prompt_of
from textcl.encoder.vector_files import cached_vectors
from textcl.errors import ConfigError
from textcl.index.build import build_index
from textcl.index.mine import Dropped, Mined, MiningSettings, mine_neighbours
from textcl.progress import Progress, Say, quiet, silent

Side = Literal["anchors", "documents", "positives"]
Embed = Callable[[Sequence[str], Side], NDArray[np.float32]]
"""Texts, and what they are → (N, D) unit vectors, with the prompt of queries for anchors, else that of documents."""

_PRODUCT_ROWS = 8192  # inner products taken at once


@dataclass(frozen=True)
class MiningResult:
    """What `mine` wrote.

    Args:
        out: The file.
        rows: Lines written.
        left_out: Rows without enough negatives, which have no line.
        per_row: Negatives a line.
        documents: Documents they were mined from.
        dropped: Candidates that became no negatives, of all rows.
        made_from: Of the pairs, as every line has it.
    """

    out: Path
    rows: int
    left_out: int
    per_row: int
    documents: int
    dropped: Dropped
    made_from: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "out": str(self.out)}


def mine_rows(
    encoder: SentenceTransformer,
    pairs: MiningPairs,
    settings: MiningSettings,
    *,
    rows: NDArray[np.int64] | None = None,
    embed: Embed | None = None,
    progress: Progress = quiet,
) -> Mined:
    """Return the negatives of some pairs, as numbers of documents, as the encoder sees them now.

    Args:
        encoder: Put into evaluation mode while it embeds, and back afterwards.
        pairs: What is in them is looked at once, however often they are mined.
        settings: Which candidates become negatives; with an equal seed an equal row has an equal draw.
        rows: (n,) row numbers; None for all.
        embed: Another way to the vectors, such as kept ones; None embeds all documents now.
        progress: Told of texts and rows.

    Raises:
        DataError: If a vector is not finite.
    """
    embed = embed or _embed(encoder, embed_texts, progress, [])
    wanted = np.arange(len(pairs.anchors)) if rows is None else rows
    documents = pairs.documents
    numbers = {text: number for number, text in enumerate(documents.texts)}
    anchors, anchor_of = _distinct([pairs.anchors[row] for row in wanted])
    queries, vectors = embed(anchors, "anchors")[anchor_of], embed(documents.texts, "documents")
    others, positive_of = _distinct([pairs.positives[row] for row in wanted])
    own = np.empty((len(others), vectors.shape[1]), dtype=np.float32)
    known = np.array([numbers.get(text, -1) for text in others], dtype=np.int64)
    own[known >= 0] = vectors[known[known >= 0]]
    if (known < 0).any():
        own[known < 0] = embed([text for text in others if text not in numbers], "positives")
    scores = _products(queries, own, positive_of)
    with TemporaryDirectory(prefix="textcl-mine-") as folder:
        facts = describe_encoder(encoder, "an encoder in memory")
        index = build_index(
            Path(folder) / "index", vectors=vectors, ids=documents.ids, texts=None, encoder=facts, progress=progress
        )
        with index:
            return mine_neighbours(index, queries, scores, pairs.forbidden, settings, wanted, progress)


def _distinct(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different texts (n,) and for each of `texts` which one it is."""
    numbers: dict[str, int] = {}
    return list(dict.fromkeys(texts)), np.array(
        [numbers.setdefault(one, len(numbers)) for one in texts], dtype=np.int64
    )


def _products(
    queries: NDArray[np.float32], positives: NDArray[np.float32], positive_of: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the score of each query (N, D) with its positive, (N,), exact and rounded once as the index's are."""
    scores = np.empty(len(queries), dtype=np.float32)
    for start in range(0, len(queries), _PRODUCT_ROWS):
        some = slice(start, start + _PRODUCT_ROWS)
        wide = positives[positive_of[some]].astype(np.float64)
        scores[some] = np.einsum("nd,nd->n", queries[some].astype(np.float64), wide)
    return scores


def _embed(
    encoder: SentenceTransformer, way: Callable[..., Embedded], progress: Progress, cut: list[str], **more: object
) -> Embed:
    """Return `way` with the prompts of the encoder; it notes in `cut` what was longer than the encoder's limit."""

    def embed(texts: Sequence[str], what: Side) -> NDArray[np.float32]:
        prompt = prompt_of(encoder, "query" if what == "anchors" else "document")
        made = way(encoder, texts, prompt=prompt, progress=progress, description=f"encode {what}", **more)
        if made.cut_texts:
            cut.append(f"cut at {encoder.max_seq_length} tokens: {made.cut_texts} of {len(texts)} {what}")
        return made.vectors

    return embed


def mine(
    model: str | Path | SentenceTransformer,
    pairs: str | Path | MiningPairs,
    *,
    out: str | Path,
    settings: MiningSettings | None = None,
    limit: int | None = None,
    force: bool = False,
    cache: Path | None = None,
    progress: Progress = quiet,
    say: Say = silent,
) -> MiningResult:
    """Write each pair with its hard negatives to a jsonl file, whole or not at all.

    A line has anchor, positive, group if there are groups, negative_1 …, positive_score, negative_1_score … and
    made_from. A row without enough negatives has none.

    Args:
        model: A model's folder or name, or a loaded encoder.
        pairs: What `read_mining_pairs` returned, or reads with its defaults.
        out: The file.
        settings: Which candidates become negatives; None for the best-ranked one.
        limit: Mine for the first rows only; the others still count as documents and as positives.
        force: Replace a file at `out`, though none that is read.
        cache: Folder of kept vectors, as `cached_vectors` has it.
        progress: Told of texts and rows.
        say: Told what a user should know of the data.

    Raises:
        ConfigError: If `out` exists or is read itself, or `limit` is below 1.
        DataError: If a file is at fault, or no row has enough negatives.
        ArtifactError: If there is no such model.
    """
    target, settings = Path(out), settings or MiningSettings()
    if limit is not None and limit < 1:
        raise ConfigError("limit", limit, "a whole number above 0")
    _check_new(target, force=force)
    read = pairs if isinstance(pairs, MiningPairs) else read_mining_pairs(pairs, progress=progress)
    if any(target.resolve() == Path(name).resolve() for name in read.files):
        raise ConfigError("out", problem=f"{target} is what is read; name another file")
    notes = list(read.notes)
    encoder = model if isinstance(model, SentenceTransformer) else load_encoder(model)
    embed = _embed(encoder, cached_vectors, progress, notes, cache=cache)
    rows = np.arange(len(read.anchors))[:limit]
    mined = mine_rows(encoder, read, settings, rows=rows, embed=embed, progress=progress)
    for note in notes:
        say(note)
    written, dropped = write_mined(target, read, mined, rows), mined.dropped
    left_out, documents = len(rows) - written, len(read.documents.texts)
    return MiningResult(target, written, left_out, settings.per_row, documents, dropped, read.made_from)


def _check_new(target: Path, *, force: bool) -> None:
    """Raise ConfigError if `target` cannot be written, or stands there and may not be replaced."""
    check_file_target(target, field="out")
    if target.exists() and not force:
        problem = f"{target} exists already; name another file, or add --force to replace it"
        raise ConfigError("out", problem=problem)
