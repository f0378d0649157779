"""The `negatives` section of a recipe: mined hard negatives from a file, or by the encoder every so many steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from textcl.artifacts import write_whole
from textcl.assemble.components import Components
from textcl.assemble.faults import within
from textcl.assemble.mined_file import read_mined
from textcl.assemble.mining import mine_rows
from textcl.assemble.mining_pairs import MiningPairs, pairs_of
from textcl.assemble.processes import together
from textcl.assemble.sources import make_negatives
from textcl.assemble.texts import TrainingTexts, text_labels
from textcl.errors import ArtifactError, ConfigError, DataError
from textcl.index.mine import MiningSettings
from textcl.methods.method import ABSENT
from textcl.progress import Progress, Say
from textcl.randomness import key_of
from textcl.recipe.models import NegativesRecipe, Recipe
from textcl.training.sources import PairSource


class Negatives:
    """The hard negatives of a run: what they are drawn from, and which stand against each row.

    Args:
        recipe: Its `negatives` section says where they come from.
        texts: The pairs.

    Raises:
        ConfigError: If a setting is out of range.
        DataError: If a file is at fault, or was mined from other pairs.
    """

    def __init__(self, recipe: Recipe, texts: TrainingTexts) -> None:
        chosen = recipe.negatives
        assert chosen is not None
        self.recipe, self.every = recipe, chosen.every
        with within("negatives"):
            self.settings = _settings(chosen)
        groups = texts.groups[:, -1] if "group" in texts.kinds else None
        self.pairs = pairs_of(
            texts.anchors,
            texts.positives,
            None if groups is None else [str(label) for label in groups],
            chosen.documents,
        )
        self.first: NDArray[np.int64] | None = None
        if chosen.file is not None:
            self.first = _places(chosen.file, self.pairs, chosen.per_row)
        self.labels = _document_labels(self.pairs.documents.texts, texts)


def _settings(recipe: NegativesRecipe) -> MiningSettings:
    return MiningSettings(
        first_rank=recipe.first_rank,
        last_rank=recipe.last_rank,
        margin=recipe.margin,
        relative_margin=recipe.relative_margin,
        max_score=recipe.max_score,
        per_row=recipe.per_row,
        sampling=recipe.sampling,
    )


def _places(file: str, pairs: MiningPairs, per_row: int) -> NDArray[np.int64]:
    """Return which documents stand against each row, (N, H); `ABSENT` for a row that the file leaves out."""
    mined = read_mined(file, pairs.made_from)
    if len(mined.negatives) < per_row:
        raise ConfigError("negatives.per_row", per_row, f"at most {len(mined.negatives)}, as many as the file has")
    documents = {text: number for number, text in enumerate(pairs.documents.texts)}
    for text in (text for column in mined.negatives[:per_row] for text in column):
        if text not in documents:
            raise DataError(f"{text!r} is a negative here and none of the documents; mine again", file)
    lines = {pair: line for line, pair in enumerate(zip(mined.anchors, mined.positives, strict=True))}
    places = np.full((len(pairs.anchors), per_row), ABSENT, dtype=np.int64)
    for row, pair in enumerate(zip(pairs.anchors, pairs.positives, strict=True)):
        if pair in lines:
            places[row] = [documents[column[lines[pair]]] for column in mined.negatives[:per_row]]
    return places


def _document_labels(documents: Sequence[str], texts: TrainingTexts) -> NDArray[np.int64]:
    """Return (D, F) labels of documents, as HardNegatives has them.

    A document that is a text of some rows has the labels that other rows share with these: it is no negative of those.
    """
    own = text_labels([documents])[:, 0]
    numbers = {text: number for number, text in enumerate(documents)}
    found: list[set[int]] = [set() for _ in documents]
    for labels, column in _columns_beside(texts):
        values, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
        for text, place in zip(column, which.tolist(), strict=True):
            if text in numbers and counts[place] > 1:
                found[numbers[text]].add(int(values[place]))
    width = 1 + max(map(len, found))
    rows = [[first, *sorted(more)] for first, more in zip(own.tolist(), found, strict=True)]
    return np.array([row + row[:1] * (width - len(row)) for row in rows], dtype=np.int64)


def _columns_beside(texts: TrainingTexts) -> Iterator[tuple[NDArray[np.int64], Sequence[str]]]:
    """Yield the labels beside those of equal texts, with the texts that they are for, in whichever columns both are."""
    both = [*texts.anchors, *texts.positives]
    near = [place for place, kind in enumerate(texts.kinds) if kind == "near_duplicate"]
    if near:
        yield texts.groups[:, near].T.reshape(-1), both
    if "group" in texts.kinds:
        labels = texts.groups[:, texts.kinds.index("group")]
        for side in (texts.anchors, texts.positives):
            yield labels, side


class Miner:
    """Puts hard negatives into a source, and new ones every so many steps; a step's are kept in the run's folder.

    Args:
        negatives: What is mined from.
        parts: The encoder that mines is the one in training.
        source: Gets the negatives.
        folder: Of the run.
        accelerator: Its first process mines for all.
        progress: Told of texts and rows.
        say: Told what was found.
    """

    def __init__(
        self,
        negatives: Negatives,
        parts: Components,
        source: PairSource,
        folder: Path,
        accelerator: Accelerator,
        progress: Progress,
        say: Say,
    ) -> None:
        self.negatives, self.parts, self.folder, self.accelerator = negatives, parts, folder / "negatives", accelerator
        self.progress, self.say = progress, say
        places = negatives.first
        if places is None:
            shape = (len(negatives.pairs.anchors), negatives.settings.per_row)
            places = np.full(shape, ABSENT, dtype=np.int64)
        texts = negatives.pairs.documents.texts
        table, self.notes = make_negatives(list(texts), negatives.labels, places, parts, negatives.recipe, progress)
        self.source = replace(source, hard_negatives=table)

    @property
    def every(self) -> int | None:
        """Steps between minings; None mines never."""
        return self.negatives.every

    def at(self, begin: int, step: int) -> tuple[PairSource, Mapping[str, float]]:
        """Return the source with the negatives of the steps behind `begin`, and what the journal says of new ones.

        Args:
            begin: Where they are from: they are mined where the run stands there, and read where it is further.
            step: Where the run stands.

        Raises:
            ArtifactError: If the run is further, and what was mined is lost or damaged.
        """
        numbers: dict[str, float] = {}
        if begin == 0 and self.negatives.first is not None:
            return self._with(self.negatives.first), numbers
        path = self.folder / f"step-{begin}.npy"
        if step == begin:
            numbers = together(lambda: self._mine(begin, path) if self.accelerator.is_main_process else {})
        return self._with(together(lambda: self._read(path))), numbers

    def _with(self, places: NDArray[np.int64]) -> PairSource:
        table = self.source.hard_negatives
        assert table is not None
        return replace(self.source, hard_negatives=replace(table, places=places))

    def forget(self, step: int) -> None:
        """Remove what was mined for steps behind `step`, to which the run has gone back."""
        if self.accelerator.is_main_process:
            for path in self.folder.glob("step-*.npy"):
                if int(path.stem.removeprefix("step-")) >= step:
                    path.unlink()
        self.accelerator.wait_for_everyone()

    def _mine(self, step: int, path: Path) -> dict[str, float]:
        settings = replace(self.negatives.settings, seed=key_of(self.negatives.recipe.seed, "mine", step))
        mined = mine_rows(self.parts.encoder, self.negatives.pairs, settings, progress=self.progress)
        path.parent.mkdir(exist_ok=True)
        buffer = BytesIO()
        np.save(buffer, mined.negatives)
        write_whole(path, buffer.getvalue())
        found = mined.negatives != ABSENT
        self.say(f"step {step}: {int(found.sum())} hard negatives mined for {len(found)} pairs")
        return {
            "negatives/found_fraction": float(found.mean()),
            "negatives/score": float(np.nanmean(mined.scores)) if found.any() else 0.0,
            "negatives/positive_score": float(mined.positive_scores.mean()),
        }

    def _read(self, path: Path) -> NDArray[np.int64]:
        """Return what `_mine` wrote: document numbers, one row a pair."""
        pairs = self.negatives.pairs
        try:
            places: NDArray[np.int64] = np.load(path)
        except FileNotFoundError as error:
            problem = "is missing: the negatives that this step of the run was trained with; start the run again"
            raise ArtifactError(path, problem) from error
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(path, "is damaged; start the run again") from error
        shape, documents = (len(pairs.anchors), self.negatives.settings.per_row), len(pairs.documents.texts)
        if places.shape != shape or places.dtype != np.int64 or not ((places >= ABSENT) & (places < documents)).all():
            raise ArtifactError(path, "is damaged: not the negatives of these pairs; start the run again")
        return places
