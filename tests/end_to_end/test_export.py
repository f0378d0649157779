"""What `textcl train` leaves is a sentence-transformers folder like any other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from tests.small_data import write_lines, write_recipe
from textcl.cli.app import run
from textcl.encoder.embed import embed_texts
from textcl.encoder.load import load_encoder

PROMPTS = {"query": "ask: ", "document": "text: "}


@pytest.fixture
def model(tmp_path, monkeypatch, tiny_corpus, tiny_model_folder):
    """The model of a run with a projector, prompts, CLS pooling and its own token limit."""
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_recipe(tmp_path, tiny_model_folder, "texts.txt")
    sets = [
        "method={name: simclr, projector: {hidden: 16, out: 8}}",
        f"encoder.prompts={json.dumps(PROMPTS)}",
        "encoder.pooling=cls",
    ]
    sets += ["encoder.max_tokens=12", "encoder.dropout=0.3"]
    assert run(["train", "recipe.yaml", "--out", "run", *(word for pair in sets for word in ("--set", pair))]) == 0
    return tmp_path / "run" / "model"


@pytest.mark.parametrize("prompt", ["query", "document", None])
def test_stock_sentence_transformers_gives_the_same_vectors(model, tiny_corpus, tiny_model_folder, prompt):
    stock = SentenceTransformer(str(model), device="cpu")
    theirs = stock.encode(tiny_corpus, prompt="" if prompt is None else PROMPTS[prompt], normalize_embeddings=True)
    ours = embed_texts(load_encoder(model), tiny_corpus, prompt="" if prompt is None else PROMPTS[prompt])
    np.testing.assert_allclose(ours.vectors, theirs, rtol=0, atol=1e-6)
    assert ours.cut_texts > 30
    untrained = embed_texts(load_encoder(tiny_model_folder, pooling="cls", max_tokens=12), tiny_corpus)
    assert np.abs(untrained.vectors - theirs).max() > 1e-3


def test_the_folder_knows_its_settings(model):
    stock = SentenceTransformer(str(model), device="cpu")
    assert stock.max_seq_length == 12
    assert {name: stock.prompts[name] for name in PROMPTS} == PROMPTS
    assert stock[1].pooling_mode == "cls"
    assert stock[0].auto_model.config.hidden_dropout_prob == 0.1  # the run's dropout is not the model's


def test_no_head_reaches_the_folder(model, tiny_model_folder):
    exported, base = (load_file(folder / "model.safetensors") for folder in (model, tiny_model_folder))
    assert exported.keys() == base.keys()
    assert {name: one.shape for name, one in exported.items()} == {name: one.shape for name, one in base.items()}
    assert [path.suffix for path in model.rglob("*") if path.suffix in (".pt", ".bin", ".safetensors")] == [
        ".safetensors"
    ]  # fmt: skip
    assert [module["type"].rsplit(".", 1)[-1] for module in json.loads((model / "modules.json").read_text())] == [
        "Transformer",
        "Pooling",
    ]
