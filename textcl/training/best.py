"""The best step so far: its weights on disk, and whether it is worth going on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from textcl.artifacts import read_manifest, whole_folder, write_manifest
from textcl.errors import ConfigError
from textcl.training.settings import ChoiceSettings

LOWER_IS_BETTER = frozenset(
    {"alignment", "uniformity", "mean_cosine", "info_nce"}
    | {"hub_skew", "robin_hood", "never_near_fraction", "near_duplicate_fraction"}
)


def worth(measures: Mapping[str, float], by: str | None) -> float:
    """Return how good measures are, higher being better, by the one that chooses; None takes the first."""
    name = by or next(iter(measures))
    return -measures[name] if name.rpartition("/")[2] in LOWER_IS_BETTER else measures[name]


class Best:
    """Keeps the evaluations of a run, and a copy of the encoder at the best of them.

    Args:
        folder: OUT/checkpoints; each best step has a folder of its own there, since a resume may find another one best.
        choice: What chooses.
    """

    def __init__(self, folder: Path, choice: ChoiceSettings) -> None:
        self.folder, self.choice = folder, choice
        self.evaluations: dict[int, dict[str, float]] = {}

    def add(self, step: int, measures: Mapping[str, float], encoder: nn.Module) -> None:
        """Keep the measures of a step, and the encoder's weights if no step was better.

        Raises:
            ConfigError: If the measure that chooses is not among them.
        """
        if self.choice.by is not None and self.choice.by not in measures:
            raise ConfigError("development.by", self.choice.by, f"one of {', '.join(measures)}")
        self.evaluations[step] = dict(measures)
        if self.choice.keep == "best" and self.step == step:
            with whole_folder(self._place(step), force=True) as partial:
                torch.save(encoder.state_dict(), partial / "encoder.pt")
                write_manifest(partial, "best encoder", 1, {"step": step})

    @property
    def step(self) -> int:
        """The first of the steps with the best measure."""
        return max(self.evaluations, key=lambda step: (worth(self.evaluations[step], self.choice.by), -step))

    @property
    def patience_is_over(self) -> bool:
        """Whether the last evaluations, as many as the patience has, brought nothing better."""
        if self.choice.patience is None or not self.evaluations:
            return False
        return sum(step > self.step for step in self.evaluations) >= self.choice.patience

    def tidy(self) -> None:
        """Remove the weights of all steps but the best; for when a checkpoint says which that is."""
        best = self._place(self.step) if self.evaluations else None
        for old in self.folder.glob("best-*"):
            if old != best:
                shutil.rmtree(old)

    def load(self, encoder: nn.Module) -> None:
        """Put the best step's weights into the encoder.

        Raises:
            ArtifactError: If they are missing or damaged.
        """
        place = self._place(self.step)
        read_manifest(place, "best encoder", 1, verify=True)
        encoder.load_state_dict(torch.load(place / "encoder.pt", map_location="cpu", weights_only=True))

    def _place(self, step: int) -> Path:
        return self.folder / f"best-{step}"
