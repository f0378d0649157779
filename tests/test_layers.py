"""Imports go down only, as the contracts in pyproject.toml say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint_imports(folder):
    """Run import-linter on the package in `folder`, without its cache."""
    command = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [command, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_contracts_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("losses/info_nce.py", "from textcl.training import batches", "imports go down"),
        ("views/view.py", "from textcl.encoder import heads", "imports go down"),
        ("training/journal.py", "from textcl.recipe import models", "only assemble and cli know recipes"),
        ("index/search.py", "import torch", "index, evaluation and report know no torch"),
        ("report/charts.py", "import torch", "index, evaluation and report know no torch"),
        ("report/charts.py", "from textcl.evaluation import runs", "imports go down"),
    ],
)
def test_a_wrong_import_breaks_its_contract(tmp_path, module, line, contract):
    shutil.copytree(ROOT / "textcl", tmp_path / "textcl", ignore=shutil.ignore_patterns("__pycache__", "demo_data"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / "textcl" / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout
