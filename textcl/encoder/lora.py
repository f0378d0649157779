"""LoRA through peft: train a product of two thin matrices beside a frozen one, then put it into the weights."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, cast

from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.encoder.layers import layers_of, transformer_of
from textcl.errors import ConfigError, MissingExtraError

# Query and value projections by the names that encoders give them; fused ones hold the key's as well.
_QUERY_AND_VALUE = (
    *("query", "value"),  # BERT, RoBERTa, ELECTRA
    *("q", "v"),  # MPNet, T5
    *("q_lin", "v_lin"),  # DistilBERT
    *("query_proj", "value_proj"),  # DeBERTa 2 and 3
    *("q_proj", "v_proj"),  # EuroBERT, Qwen and other decoders
    *("Wqkv", "in_proj"),  # fused: ModernBERT, DeBERTa
)


def add_lora(
    encoder: SentenceTransformer, rank: int, alpha: float, dropout: float = 0.0, targets: Sequence[str] | None = None
) -> None:
    """Add LoRA to linear layers of the transformer, in place, and freeze every other weight of the encoder.

    A target's answer W x becomes W x + alpha / rank * B A x. B starts at 0, so that the encoder's embeddings do not
    change yet, rounding aside; A is drawn from torch's global generator, which the caller seeds.

    Args:
        encoder: Has no LoRA yet.
        rank: Rows of A and columns of B, at least 1.
        alpha: Strength, above 0.
        dropout: Chance of each entry of x to be dropped on the way to A while training, in [0, 1).
        targets: Names, or ends of dotted names, of linear layers within the transformer's layers; None takes the query
            and value projections of the attention.

    Raises:
        ConfigError: If a number is out of range, a target names no linear layer, or there is LoRA already.
        MissingExtraError: If peft is not installed.

    References:
        Hu et al. (2021), arXiv:2106.09685, section 4.
    """
    _check(rank, alpha, dropout)
    if has_lora(encoder):
        raise ConfigError("lora", problem="the encoder has LoRA already; merge it first")
    names = _target_names(encoder, targets)
    peft = _peft()
    trained = [name for name, one in encoder.named_parameters() if one.requires_grad]
    encoder.requires_grad_(False)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names)
    peft.inject_adapter_in_model(config, transformer_of(encoder))
    cast(Any, encoder).frozen_by_lora = trained


def has_lora(encoder: SentenceTransformer) -> bool:
    """Return whether `add_lora` was called on the encoder, or on what it was copied from, and not merged yet."""
    return getattr(encoder, "frozen_by_lora", None) is not None


def merge_lora(encoder: SentenceTransformer) -> None:
    """Add each product to its weight and remove LoRA, in place; what `add_lora` froze is trained again.

    The encoder's embeddings stay the same to rounding. Without LoRA nothing happens.
    """
    if not has_lora(encoder):
        return
    transformer, kind = transformer_of(encoder), _peft().tuners.lora.LoraLayer
    for name, module in list(transformer.named_modules()):
        if isinstance(module, kind):
            module.merge()
            transformer.set_submodule(name, module.get_base_layer())
    del transformer.peft_config
    for name in cast(Any, encoder).frozen_by_lora:
        encoder.get_parameter(name).requires_grad_(True)
    del cast(Any, encoder).frozen_by_lora


def _check(rank: int, alpha: float, dropout: float) -> None:
    if rank < 1:
        raise ConfigError("rank", rank, "a rank of at least 1")
    if not 0 < alpha < float("inf"):
        raise ConfigError("alpha", alpha, "a number above 0")
    if not 0 <= dropout < 1:
        raise ConfigError("dropout", dropout, "a chance in [0, 1)")


def _target_names(encoder: SentenceTransformer, targets: Sequence[str] | None) -> list[str]:
    """Return the full names, within the transformer, of the linear layers that `targets` mean."""
    inside = {id(module) for module in layers_of(encoder).modules() if isinstance(module, nn.Linear)}
    linear = [name for name, module in transformer_of(encoder).named_modules() if id(module) in inside]
    wanted = _QUERY_AND_VALUE if targets is None else targets
    matches = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in wanted}
    found = {name for names in matches.values() for name in names}
    if not found or (targets is not None and not all(matches.values())):
        ends = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linear))
        raise ConfigError("targets", targets, f"names of linear layers, such as {ends}")
    return [name for name in linear if name in found]


def _peft() -> ModuleType:
    """Return peft; it takes a second to import, and few need it."""
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("LoRA", "lora") from error
    return peft
