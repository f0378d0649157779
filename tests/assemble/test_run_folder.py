from __future__ import annotations

import json

import pytest

from textcl.assemble.run_folder import choose_folder, open_folder
from textcl.errors import ArtifactError
from textcl.recipe.reading import read_recipe

RECIPE = read_recipe("data: {train: a.txt}")


def test_a_run_goes_on_with_the_data_it_began_with_alone(tmp_path):
    folder = tmp_path / "run"
    open_folder(folder, RECIPE, "one", resume=False)
    assert choose_folder(folder, RECIPE, resume=True, force=False) == folder
    (folder / "journal.jsonl").write_text("kept")
    open_folder(folder, RECIPE, "one", resume=True)
    assert (folder / "journal.jsonl").read_text() == "kept"
    with pytest.raises(ArtifactError, match="began with other texts, groups or negatives"):
        open_folder(folder, RECIPE, "two", resume=True)
    (folder / "data.json").unlink()
    with pytest.raises(ArtifactError, match="began with other"):
        open_folder(folder, RECIPE, "one", resume=True)


def test_a_new_run_replaces_what_was_there(tmp_path):
    folder = tmp_path / "run"
    open_folder(folder, RECIPE, "one", resume=False)
    (folder / "old").touch()
    open_folder(folder, RECIPE, "two", resume=False)
    assert not (folder / "old").exists()
    assert json.loads((folder / "data.json").read_text()) == {"fingerprint": "two"}
