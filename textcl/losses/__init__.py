"""Embeddings → one number: the objectives, each on plain tensors."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from textcl.losses.barlow_twins import BarlowTwins
from textcl.losses.distillation import SimilarityDistillation
from textcl.losses.false_negatives import FalseNegatives
from textcl.losses.hypersphere import Uniformity, alignment, uniformity
from textcl.losses.info_nce import InfoNCE
from textcl.losses.matryoshka import Matryoshka
from textcl.losses.negative_cosine import NegativeCosine
from textcl.losses.queue import NegativeQueue
from textcl.losses.sigmoid import Sigmoid
from textcl.losses.temperature import Learned, Scheduled, set_progress
from textcl.losses.vicreg import VICReg

if TYPE_CHECKING:
    from textcl.losses.stock_trainer import StockTrainerLoss, TemperatureCallback

__all__ = [
    "BarlowTwins",
    "FalseNegatives",
    "InfoNCE",
    "Learned",
    "Matryoshka",
    "NegativeCosine",
    "NegativeQueue",
    "Scheduled",
    "Sigmoid",
    "SimilarityDistillation",
    "StockTrainerLoss",
    "TemperatureCallback",
    "Uniformity",
    "VICReg",
    "alignment",
    "set_progress",
    "uniformity",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the name stands for)
    """Import what needs transformers at its first use: a loss on plain tensors does not."""
    if name in ("StockTrainerLoss", "TemperatureCallback"):
        return getattr(importlib.import_module("textcl.losses.stock_trainer"), name)
    raise AttributeError(f"module 'textcl.losses' has no attribute {name!r}")
