"""`textcl report`: the folders of runs → one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from textcl.artifacts import check_file_target, write_whole
from textcl.assemble.components import make_encoder
from textcl.assemble.reporting_files import (
    RunFiles,
    indexes_of,
    names_of_measures,
    read_index_facts,
    read_run_folder,
)
from textcl.assemble.reporting_rankings import score_rankings
from textcl.assemble.reporting_vectors import Sample, Vectors, draw_map, draw_sample, embed_sample, similarities_of
from textcl.corpus.collection import Collection, read_collection
from textcl.encoder.load import load_encoder
from textcl.errors import ArtifactError, ConfigError, DataError, MissingExtraError
from textcl.evaluation.measures import DEFAULT_MEASURES
from textcl.progress import Progress, Say, quiet, silent
from textcl.report.charts import COLOURS
from textcl.report.contents import BASE, TRAINED, RunFacts, system_name
from textcl.report.render import render, require_extra

MOST_BYTES = 6_000_000
_LEAST_SAMPLE = 3  # below there are no two components


def report(
    folders: Sequence[str | Path],
    *,
    out: str | Path,
    force: bool = False,
    collection: str | Path | None = None,
    split: str | None = None,
    indexes: Sequence[str | Path] = (),
    field: str | None = None,
    sample: int = 400,
    by: str | None = None,
    seed: int = 0,
    progress: Progress = quiet,
    say: Say = silent,
) -> list[str]:
    """Write a report on one run, or on several side by side.

    Args:
        folders: Of runs, at most 6.
        out: The HTML file.
        force: Replace `out`.
        collection: BEIR folder; None takes the one that each run names.
        split: Which qrels of it; None takes the one that each run names.
        indexes: Index folders, beside those that lie in the runs' folders.
        field: Column that the map is coloured by; None takes the first one that groups documents.
        sample: Documents that are embedded by each encoder of each run, with as many texts again for similarities; 0
            embeds none, and there is no map.
        by: What makes the map, "umap" or "pca"; None takes the first where it is installed.
        seed: Of the sample and of intervals.
        progress: Told of texts.
        say: Told what is not in the report and why.

    Returns:
        The sentences that were said.

    Raises:
        ConfigError: For an `out` that exists, no or too many folders, an unknown field or a wrong sample.
        ArtifactError: If a folder is no run, or damaged.
        DataError: If a collection that was named cannot be read, or judges nothing that was ranked.
        MissingExtraError: If the extra `report` is not installed, or UMAP is asked for and not installed.
    """
    require_extra()
    target = Path(out)
    _check(folders, target, sample, force=force)
    made_by = _map_by(by)
    read = [read_run_folder(Path(folder)) for folder in folders]
    shown = {folder.resolve() for files in read for folder in indexes_of(files.folder)}
    others = dict.fromkeys(Path(folder).resolve() for folder in indexes)
    named = [read_index_facts(folder) for folder in others if folder not in shown]
    reader = _Reader(None if collection is None else Path(collection), split, field, sample, made_by, seed, progress)
    runs = [reader.facts(name, files) for name, files in zip(_names(read), read, strict=True)]
    runs[0] = replace(runs[0], indexes=[*runs[0].indexes, *named])
    page = render(runs)
    if (size := len(page.encode())) > MOST_BYTES:
        problem = f"{size:,} bytes, more than {MOST_BYTES:,}; take a smaller --sample or fewer runs"
        raise ConfigError("out", problem=f"the file would have {problem}")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, page)
    said = [sentence if len(runs) == 1 else f"{run.name}: {sentence}" for run in runs for sentence in run.missing]
    for sentence in said:
        say(f"not in the report: {sentence}")
    return said


def _check(folders: Sequence[str | Path], out: Path, sample: int, *, force: bool) -> None:
    if not 1 <= len(folders) <= COLOURS:
        raise ConfigError("dir", len(folders), f"1 to {COLOURS} folders, as many as colours that can be told apart")
    if sample != 0 and sample < _LEAST_SAMPLE:
        raise ConfigError("sample", sample, f"at least {_LEAST_SAMPLE} documents, or 0 for none")
    check_file_target(out, field="out")
    if out.exists() and not force:
        raise ConfigError("out", problem=f"{out} exists already; name another file, or add --force to replace it")


def _map_by(by: str | None) -> str:
    is_installed = find_spec("umap") is not None
    if by is None:
        return "umap" if is_installed else "pca"
    if by not in ("umap", "pca"):
        raise ConfigError("map", by, "umap or pca")
    if by == "umap" and not is_installed:
        raise MissingExtraError("a map by UMAP", "umap")
    return by


def _names(read: Sequence[RunFiles]) -> list[str]:
    """Return the folders' names, with as many parents as it takes to tell them apart."""
    parts = [one.folder.resolve().parts for one in read]
    if len(set(parts)) < len(parts):
        raise ConfigError("dir", problem="a folder is named twice; name each run once")
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(one.folder) for one in read]


@dataclass
class _Reader:
    """Makes the facts of one run after the other; what an encoder made of a sample is kept for the next run.

    Args:
        collection: BEIR folder, or None for the one that a run names.
        split: Which qrels, or None.
        field: Column that the map is coloured by, or None.
        sample: Documents that are embedded.
        by: What makes the map.
        seed: Of the sample and of intervals.
        progress: Told of texts.
    """

    collection: Path | None
    split: str | None
    field: str | None
    sample: int
    by: str
    seed: int
    progress: Progress

    def __post_init__(self) -> None:
        self._bases: dict[tuple[str, str], Vectors] = {}

    def facts(self, name: str, files: RunFiles) -> RunFacts:
        """Return all that can be said of a run."""
        missing = [] if files.manifest else ["fingerprints and versions: the run is not complete"]
        place = self._place(files)
        judged = self._read(place, missing)
        ranked = score_rankings(files, judged, names_of_measures(files, DEFAULT_MEASURES), self.seed)
        missing += ranked.notes
        if not ranked.systems:
            missing.append("measures, groups and worst queries: the run was not evaluated")
        elif not ranked.worst and judged is not None:
            missing.append("the worst queries: the run has no runs/after.trec")
        found: dict[str, Vectors] = {}
        sample = None
        if judged is not None and place is not None and self.sample:
            sample = draw_sample(judged, place[0], self.sample, self.field, self.seed)
            found = self._embed(files, sample, place, missing)
        elif not self.sample:
            missing.append("similarities and map: nothing was encoded, as --sample 0 says")
        indexes = [read_index_facts(folder) for folder in indexes_of(files.folder)]
        similar = {} if sample is None else {one: similarities_of(sample, vectors) for one, vectors in found.items()}
        return RunFacts(
            name=name,
            folder=str(files.folder),
            collection=None if judged is None or place is None else f"{place[0]} (split {place[1]})",
            systems=ranked.systems,
            changes=ranked.changes,
            curves=files.curves,
            similarities={one: value for one, value in similar.items() if value is not None},
            corpus_map=None
            if sample is None or not found or len(sample.drawn) < _LEAST_SAMPLE
            else draw_map(sample, found, self.by),
            slices=ranked.slices,
            worst=ranked.worst,
            worst_by=ranked.worst_by,
            indexes=indexes,
            recipe=files.recipe_text,
            settings=files.settings,
            facts=files.facts,
            files=files.files,
            missing=missing,
        )

    def _place(self, files: RunFiles) -> tuple[Path, str] | None:
        """Return the folder and the split of what a run was evaluated on; None where nobody says."""
        stored, chosen = files.evaluation.get("collection"), files.recipe.evaluation
        folder, split = (None, "test") if chosen is None else (chosen.collection, chosen.split)
        if isinstance(stored, Mapping):
            folder, split = stored["folder"], stored["split"]
        folder = folder if self.collection is None else str(self.collection)
        return None if folder is None else (Path(folder), self.split or split)

    def _read(self, place: tuple[Path, str] | None, missing: list[str]) -> Collection | None:
        """Return the collection; where it was not asked for by name and cannot be read, say so."""
        lost = "worst queries, groups of queries, similarities and map"
        if place is None:
            missing.append(f"{lost}: the run names no collection; give one with --collection")
            return None
        try:
            return read_collection(*place, allow_missing=True)
        except DataError as error:
            if self.collection is not None:
                raise
            missing.append(f"{lost}: the run's collection cannot be read from here ({error}); give --collection")
            return None

    def _embed(
        self, files: RunFiles, sample: Sample, place: tuple[Path, str], missing: list[str]
    ) -> dict[str, Vectors]:
        """Return the sample's vectors by ranking, of those encoders that can be opened."""
        found: dict[str, Vectors] = {}
        chosen = files.recipe.encoder.model_copy(update={"lora": None, "freeze_layers": None})
        key = (chosen.model_dump_json(), str(place))
        for system in (BASE, TRAINED):
            try:
                if system == TRAINED:
                    found[system] = embed_sample(load_encoder(files.folder / "model"), sample, self.progress)
                    continue
                if key not in self._bases:
                    self._bases[key] = embed_sample(
                        make_encoder(chosen, "cuda" if torch.cuda.is_available() else "cpu"), sample, self.progress
                    )
                found[system] = self._bases[key]
            except (ArtifactError, MissingExtraError) as error:
                missing.append(f"similarities and map of the {system_name(system)}: {error}")
        return found
