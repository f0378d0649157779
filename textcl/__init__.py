"""textcl: from raw text to measured search.

The public names are loaded when they are first used, so that `import textcl` takes no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textcl.assemble.encoding import encode
    from textcl.assemble.evaluating import evaluate_retrieval
    from textcl.assemble.grid import evaluate_grid
    from textcl.assemble.indexing import build_index
    from textcl.assemble.mining import mine
    from textcl.assemble.paraphrases import paraphrases_use
    from textcl.assemble.searching import Searcher, open_searcher
    from textcl.assemble.seeds import SeedRuns, train_seeds
    from textcl.assemble.training import Run, train
    from textcl.assemble.uses import (
        anomalies_use,
        clusters_use,
        geometry_use,
        pairs_use,
        probe_use,
        sts_use,
    )
    from textcl.corpus.collection import Collection, read_collection
    from textcl.encoder.load import load_encoder
    from textcl.errors import ArtifactError, ConfigError, DataError, MissingExtraError, ShapeError, TextclError
    from textcl.index.search import Hit
    from textcl.recipe.reading import read_recipe

_HOMES = {
    "ArtifactError": "textcl.errors",
    "Collection": "textcl.corpus.collection",
    "ConfigError": "textcl.errors",
    "DataError": "textcl.errors",
    "Hit": "textcl.index.search",
    "MissingExtraError": "textcl.errors",
    "Run": "textcl.assemble.training",
    "Searcher": "textcl.assemble.searching",
    "SeedRuns": "textcl.assemble.seeds",
    "ShapeError": "textcl.errors",
    "TextclError": "textcl.errors",
    "anomalies_use": "textcl.assemble.uses",
    "build_index": "textcl.assemble.indexing",
    "clusters_use": "textcl.assemble.uses",
    "encode": "textcl.assemble.encoding",
    "evaluate_grid": "textcl.assemble.grid",
    "evaluate_retrieval": "textcl.assemble.evaluating",
    "geometry_use": "textcl.assemble.uses",
    "load_encoder": "textcl.encoder.load",
    "mine": "textcl.assemble.mining",
    "open_searcher": "textcl.assemble.searching",
    "pairs_use": "textcl.assemble.uses",
    "paraphrases_use": "textcl.assemble.paraphrases",
    "probe_use": "textcl.assemble.uses",
    "read_collection": "textcl.corpus.collection",
    "read_recipe": "textcl.recipe.reading",
    "sts_use": "textcl.assemble.uses",
    "train": "textcl.assemble.training",
    "train_seeds": "textcl.assemble.seeds",
}

__all__ = [
    "ArtifactError",
    "Collection",
    "ConfigError",
    "DataError",
    "Hit",
    "MissingExtraError",
    "Run",
    "Searcher",
    "SeedRuns",
    "ShapeError",
    "TextclError",
    "anomalies_use",
    "build_index",
    "clusters_use",
    "encode",
    "evaluate_grid",
    "evaluate_retrieval",
    "geometry_use",
    "load_encoder",
    "mine",
    "open_searcher",
    "pairs_use",
    "paraphrases_use",
    "probe_use",
    "read_collection",
    "read_recipe",
    "sts_use",
    "train",
    "train_seeds",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the name stands for)
    """Import the module behind a public name at its first use; sub-packages such as `textcl.losses` come too."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in ("corpus", "encoder", "errors", "evaluation", "index", "losses", "methods", "training", "views"):
        return importlib.import_module(f"textcl.{name}")
    raise AttributeError(f"module 'textcl' has no attribute {name!r}")
