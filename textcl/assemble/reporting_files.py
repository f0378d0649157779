"""The files of a run's folder → the parts of a report that stand in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from textcl.artifacts import MANIFEST, read_manifest
from textcl.errors import ArtifactError
from textcl.evaluation.ranking import Run
from textcl.evaluation.runs import read_run
from textcl.index.store import FORMAT_VERSION, KIND, is_index
from textcl.recipe.models import Recipe
from textcl.recipe.reading import read_recipe
from textcl.report.contents import BASE, BM25, TRAINED, Curve, CurvePoint, IndexFacts
from textcl.report.tables import flat
from textcl.training.journal import read_journal

_ORDER = {BASE: 0, BM25: 1, TRAINED: 2}
_RUN = "run"


@dataclass(frozen=True)
class RunFiles:
    """What a run's folder holds, read.

    Args:
        folder: The folder.
        recipe: Checked.
        recipe_text: As the file has it.
        curves: Name in the journal → values.
        evaluation: evaluation.json; empty where there is none.
        rankings: Name of the file in runs/ without its ending → ranking.
        manifest: Empty where the run is not complete.
    """

    folder: Path
    recipe: Recipe
    recipe_text: str
    curves: Mapping[str, Curve]
    evaluation: Mapping[str, Any]
    rankings: Mapping[str, Run]
    manifest: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, str]:
        """The recipe by dotted field."""
        return flat(yaml.safe_load(self.recipe_text))

    @property
    def facts(self) -> dict[str, str]:
        """Fingerprints, versions and steps."""
        names = {"data": "data fingerprint", "steps": "steps", "kept_step": "step whose weights were kept"}
        found = {said: str(self.manifest[name]) for name, said in names.items() if name in self.manifest}
        for section in ("encoder", "versions", "interpolation"):
            if isinstance(self.manifest.get(section), Mapping):
                found |= flat(self.manifest[section], f"{section}.")
        return found

    @property
    def files(self) -> dict[str, str]:
        """Checksum of each file."""
        return {name: one["sha256"] for name, one in self.manifest.get("files", {}).items()}


def read_run_folder(folder: Path) -> RunFiles:
    """Read a run's folder; a run that is not complete is one too.

    Raises:
        ArtifactError: If the folder is no run's, or a file in it is damaged.
        DataError: If a ranking cannot be read.
    """
    if not folder.is_dir():
        raise ArtifactError(folder, "no such folder; name the folder of a run")
    recipe, journal = folder / "recipe.yaml", folder / "journal.jsonl"
    if not (recipe.is_file() and journal.is_file()):
        raise ArtifactError(folder, _no_run(folder))
    return RunFiles(
        folder,
        read_recipe(recipe),
        recipe.read_text(encoding="utf-8"),
        _curves(journal),
        _json(folder / "evaluation.json"),
        _rankings(folder / "runs"),
        _manifest(folder),
    )


def _no_run(folder: Path) -> str:
    seeds = sorted(path.parent.name for path in folder.glob("seed-*/recipe.yaml"))
    if seeds:
        return f"holds a run for each seed; name those: {', '.join(seeds)}"
    return "no run here (recipe.yaml and journal.jsonl are missing); name the --out of textcl train or textcl demo"


def _curves(path: Path) -> dict[str, Curve]:
    """Return the values of a journal by name; where a step comes twice, its last value."""
    found: dict[str, dict[int, float]] = {}
    try:
        for line in read_journal(path):
            found.setdefault(line["name"], {})[int(line["step"])] = float(line["value"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(path, "is damaged: a line has no step, name and value; train again") from error
    return {name: _ascending(values) for name, values in found.items()}


def _ascending(values: Mapping[int, float]) -> Curve:
    steps = sorted(values)
    return steps, [values[step] for step in steps]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(path, "is damaged: not JSON; evaluate again") from error
    if not isinstance(found, dict):
        raise ArtifactError(path, "is damaged: expected one JSON object; evaluate again")
    return found


def _rankings(folder: Path) -> dict[str, Run]:
    names = sorted((path.stem for path in folder.glob("*.trec")), key=lambda name: (_ORDER.get(name, 3), name))
    return {name: read_run(folder / f"{name}.trec") for name in names}


def _manifest(folder: Path) -> dict[str, Any]:
    found = _json(folder / MANIFEST)
    if found and found.get("kind") != _RUN:
        raise ArtifactError(folder, f"is a {found.get('kind')}, not a {_RUN}")
    return found


def read_index_facts(folder: Path) -> IndexFacts:
    """Return what an index's manifest says of its search.

    Raises:
        ArtifactError: If there is no index, or it is damaged or of another version.
    """
    manifest = read_manifest(folder, KIND, FORMAT_VERSION)
    try:
        curve = [
            CurvePoint(
                _in_words(point["settings"]),
                float(point["recall"]),
                float(point["p50_ms"]),
                float(point["p95_ms"]),
                None if point.get("queries_per_s") is None else float(point["queries_per_s"]),
            )
            for point in manifest.get("curve") or []
        ]
        lost = (manifest.get("decomposition") or {"measures": {}})["measures"]
        decomposition = {str(measure): _levels(parts) for measure, parts in lost.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"its curve or decomposition is not of the form that this textcl reads ({error!r}); tune it again"
        raise ArtifactError(folder / MANIFEST, problem) from error
    return IndexFacts(folder.name, curve, decomposition)


def _levels(parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return what exact search, exact search over decoded codes, and the index reach, from points lost of 100."""
    model, codes, search = (float(parts[name]["mean"]) / 100 for name in ("model", "quantisation", "search"))
    return {"exact": 1 - model, "decoded": 1 - model - codes, "index": 1 - model - codes - search}


def _in_words(settings: object) -> str:
    if isinstance(settings, Mapping):
        return ", ".join(f"{name}={value}" for name, value in settings.items())
    return str(settings)


def indexes_of(folder: Path) -> list[Path]:
    """Return the index folders that lie in a run's folder."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_index(path))


def measures_in(evaluation: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the rankings that evaluation.json has measures of, in the order of the page."""
    found = {name: value for name, value in evaluation.items() if _are_measures(value)}
    return {name: found[name] for name in sorted(found, key=lambda name: (_ORDER.get(name, 3), name))}


def _are_measures(value: object) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(one, Mapping) and {"mean", "low", "high", "queries"} <= one.keys() for one in value.values())


def names_of_measures(files: RunFiles, default: Sequence[str]) -> list[str]:
    """Return the measures that a run was or would have been evaluated by."""
    known = measures_in(files.evaluation)
    if known:
        return list(next(iter(known.values())))
    return list(default if files.recipe.evaluation is None else files.recipe.evaluation.measures)
