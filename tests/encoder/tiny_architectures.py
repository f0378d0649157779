"""Encoders of many architectures, as small as they come, with the tokenizer of the tiny corpus."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from sentence_transformers import SentenceTransformer

from textcl.encoder.load import load_encoder

_BERT = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
_DEBERTA = {**_BERT, "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
_SPECIAL = {name: 0 for name in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")}
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_heads": 2}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", _BERT),
    "roberta": ("Roberta", _BERT),
    "mpnet": ("MPNet", _BERT),
    "electra": ("Electra", {**_BERT, "embedding_size": 8}),
    "distilbert": ("DistilBert", {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 16}),
    "modernbert": ("ModernBert", {**_BERT, **_SPECIAL}),
    "deberta": ("DebertaV2", {**_DEBERTA, "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3}),
    "deberta 1": ("Deberta", {**_BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "qwen3": ("Qwen3", {**_BERT, "num_key_value_heads": 1, "head_dim": 8}),
    "t5": ("T5", {**_T5, "num_layers": 3}),
    "t5 of 2 layers": ("T5", {**_T5, "num_layers": 2}),  # each with a list of as many parts
    "albert": ("Albert", {**_BERT, "embedding_size": 8}),
    "xlm": ("XLM", {"emb_dim": 16, "n_layers": 3, "n_heads": 2}),
}


def tiny_encoder_of(kind: str, folder, tokenizer) -> SentenceTransformer:
    """A fresh encoder of an architecture, always with the same weights."""
    name, settings = ARCHITECTURES[kind]
    config = getattr(transformers, f"{name}Config")(vocab_size=len(tokenizer), **settings)
    model_class = getattr(transformers, f"{name}EncoderModel" if name == "T5" else f"{name}Model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model_class(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_encoder(folder, pooling="mean", device="cpu")
