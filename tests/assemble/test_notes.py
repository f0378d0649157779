from __future__ import annotations

import pytest
from transformers import MPNetConfig, MPNetModel

from tests.small_data import write_lines, write_recipe
from textcl.cli.app import run
from textcl.encoder.load import load_encoder, save_encoder


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_an_encoder_that_runs_padded_is_said_once(
    tmp_path, monkeypatch, capsys, tiny_corpus, tiny_model_folder, family
):
    monkeypatch.chdir(tmp_path)
    encoder = load_encoder(tiny_model_folder)
    if family == "mpnet":
        encoder[0].model = MPNetModel(
            MPNetConfig(
                vocab_size=len(encoder.tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=300, bos_token_id=2, eos_token_id=3,
            )
        )  # fmt: skip
    (tmp_path / "encoder").mkdir()
    save_encoder(encoder, tmp_path / "encoder")
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    write_recipe(tmp_path, "encoder", "texts.txt")
    assert run(["train", "recipe.yaml", "--out", "run"]) == 0
    assert capsys.readouterr().err.count("mpnet runs padded, which is slower") == (family == "mpnet")
