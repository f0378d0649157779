"""Encoder + names of MTEB tasks → their main scores, through the MTEB package."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from textcl.assemble.uses import Model, loaded
from textcl.errors import ConfigError, DataError, MissingExtraError, TextclError
from textcl.libraries import quiet_libraries
from textcl.progress import Progress, quiet


@dataclass(frozen=True)
class MtebScore:
    """The main score of one part of a task.

    Args:
        task: Its name.
        split: Such as "test".
        subset: Such as a language; "default" where a task has no parts.
        measure: What MTEB ranks the task by.
        score: Its value.
    """

    task: str
    split: str
    subset: str
    measure: str
    score: float

    def to_json(self) -> dict[str, str | float]:
        """Return every field by its name."""
        return asdict(self)


def evaluate_mteb(
    model: Model, tasks: Sequence[str], *, data: str | Path | None = None, progress: Progress = quiet
) -> list[MtebScore]:
    """Return the main scores of MTEB tasks, by MTEB's own code.

    Args:
        model: A model's folder or name, or a loaded encoder.
        tasks: Names such as "STSBenchmark" or "SciFact".
        data: A folder with copies of the hub's datasets, each under its name, such as `mteb/scifact` or `scifact`; None
            downloads them.
        progress: Told of texts encoded.

    Raises:
        MissingExtraError: If the package `mteb` is not installed.
        ConfigError: If a task is unknown, or is not of texts alone.
        DataError: If `data` has no folder for a task, or the task cannot be run with what there is.
    """
    try:
        import mteb
    except ImportError as error:
        raise MissingExtraError("running MTEB tasks", "mteb") from error
    from textcl.assemble.mteb_encoder import MtebEncoder

    with quiet_libraries():
        chosen = [_task(name, data) for name in tasks]
    encoder = loaded(model)
    name = Path(model).name if isinstance(model, str | Path) else "encoder"
    adapter: Any = MtebEncoder(encoder, name, progress)
    options: Any = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    try:
        with quiet_libraries():
            found = mteb.evaluate(adapter, chosen, encode_kwargs={"batch_size": 1024}, **options)
    except TextclError:
        raise
    except Exception as error:  # whatever its tasks raise, data that is not there above all
        first = str(error).strip().partition("\n")[0]
        hint = "MTEB needs the network" if data is None else f"compare the copies in {data} with the hub's datasets"
        raise DataError(f"cannot be run ({type(error).__name__}: {first}); {hint}", ", ".join(tasks)) from error
    measures = {task.metadata.name: task.metadata.main_score for task in chosen}
    return [
        MtebScore(result.task_name, split, one["hf_subset"], measures[result.task_name], float(one["main_score"]))
        for result in found.task_results
        for split, parts in result.scores.items()
        for one in parts
    ]


def _task(name: str, data: str | Path | None) -> Any:  # noqa: ANN401 (mteb's)
    import mteb

    try:
        task = mteb.get_task(name)
    except KeyError:
        nearest = difflib.get_close_matches(name, [task.metadata.name for task in mteb.get_tasks()], n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError("tasks", problem=f"MTEB has no task {name!r}{hint}") from None
    if task.metadata.modalities != ["text"]:
        raise ConfigError("tasks", problem=f"{name} is not of texts alone; name tasks that are")
    if data is not None:
        source = str(task.metadata.dataset["path"])
        places = [Path(data) / source, Path(data) / source.rpartition("/")[2]]
        folder = next((place for place in places if place.is_dir()), None)
        if folder is None:
            raise DataError(f"no such folder, nor {places[1]}; put a copy of the dataset {source} there", places[0])
        task.metadata = task.metadata.model_copy(update={"dataset": {**task.metadata.dataset, "path": str(folder)}})
    return task
