"""What a run left, and whether two runs left the same."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from tests.journals import journal_without_speed
from textcl.training.journal import read_journal


def weights(folder):
    return load_file(folder / "model" / "model.safetensors")


def differ(one, other):
    return any(not torch.equal(one[name], other[name]) for name in one)


def values(folder, name):
    return {line["step"]: line["value"] for line in read_journal(folder / "journal.jsonl") if line["name"] == name}


def assert_same_journals(one, other, rel=1e-3, abs=1e-4):
    """Whether the runs in two folders wrote the same names at the same steps, with the same values to rounding."""
    journals = [journal_without_speed(folder / "journal.jsonl") for folder in (one, other)]
    assert [(line["step"], line["name"]) for line in journals[0]] == [
        (line["step"], line["name"]) for line in journals[1]
    ]
    for line, again in zip(*journals, strict=True):
        assert again["value"] == pytest.approx(line["value"], rel=rel, abs=abs), line
