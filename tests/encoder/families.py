"""Encoders of the families that are packed, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel

from textcl.encoder.load import load_encoder

SMALL = {
    "vocab_size": 120, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "dropout": 0.0, "attention_dropout": 0.0,
    "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3,
}  # fmt: skip
OF_THEIR_OWN = {
    "roberta": {"pad_token_id": 1, "max_position_embeddings": 514},
    "camembert": {"pad_token_id": 1, "max_position_embeddings": 514},
    "xlm-roberta": {"pad_token_id": 1, "max_position_embeddings": 514},
    "electra": {"embedding_size": 24},
    "modernbert": {"pad_token_id": 0, "local_attention": 16, "global_attn_every_n_layers": 3},
}


def encoder_of_family(folder, family: str, **options: Any) -> SentenceTransformer:
    """Return the encoder in `folder` with a random transformer of a family, always the same, instead of its own."""
    encoder = load_encoder(folder)
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**SMALL, **OF_THEIR_OWN.get(family, {}), **options})
    encoder[0].model = AutoModel.from_config(config).to(encoder.device)
    return encoder
