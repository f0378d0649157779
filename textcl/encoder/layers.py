"""The layers of any Hugging Face encoder, and how deep each of its parameters lies."""

from __future__ import annotations

from typing import Any, cast

from sentence_transformers import SentenceTransformer
from torch import nn

from textcl.errors import ConfigError

# What these register behind their layers, a norm of relative positions and a convolution, acts in front of the last.
_NOTHING_BEHIND = ("deberta", "deberta-v2")


def layers_of(encoder: SentenceTransformer) -> nn.ModuleList:
    """Return the transformer's layers, the lowest first.

    They are its only outermost list of as many modules as its configuration counts layers.

    Raises:
        ConfigError: If there is no such list, as where layers share their weights (ALBERT) or are spread over several
            lists (XLM), or more than one, as in an encoder with a decoder (BART).
    """
    transformer = transformer_of(encoder)
    count = getattr(transformer.config, "num_hidden_layers", None)
    found: dict[str, nn.ModuleList] = {}
    for name, module in transformer.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)  # T5 has lists within its layers
        if isinstance(module, nn.ModuleList) and len(module) == count and not inside:
            found[name] = module
    if len(found) != 1:
        raise ConfigError("model", type(transformer).__name__, "a transformer with one list of layers")
    return next(iter(found.values()))


def depth_of_parameters(encoder: SentenceTransformer) -> dict[str, int]:
    """Return the depth of each parameter by its name in the encoder, in the encoder's order.

    That is 0 for embeddings and what else stands before the layers, 1 … L for the layers, and L + 1 for what comes
    behind them: a last norm, a pooler, the modules after the transformer. Tables of relative positions that all layers
    share count as embeddings.

    Raises:
        ConfigError: As `layers_of`.
    """
    layers, transformer = layers_of(encoder), transformer_of(encoder)
    layer_of = {id(one): depth for depth, layer in enumerate(layers, start=1) for one in layer.parameters()}
    before = {id(module.weight) for module in transformer.modules() if isinstance(module, nn.Embedding)}
    if transformer.config.model_type in _NOTHING_BEHIND:
        before |= {id(one) for one in transformer.parameters()}
    depths: dict[str, int] = {}
    rest = 0  # modules register their parts in the order in which they run
    for name, parameter in encoder.named_parameters():
        if id(parameter) in layer_of:
            depths[name], rest = layer_of[id(parameter)], len(layers) + 1
        else:
            depths[name] = 0 if id(parameter) in before else rest
    return depths


def freeze_layers(encoder: SentenceTransformer, count: int) -> None:
    """Freeze the embeddings and the lowest `count` layers, in place.

    Args:
        encoder: Its parameters up to depth `count` get no gradients from now on; the others stay as they are.
        count: 0 … L. 0 freezes nothing: embeddings are frozen together with at least one layer.

    Raises:
        ConfigError: If `count` is out of range, or as `layers_of`.
    """
    layers = len(layers_of(encoder))
    if not 0 <= count <= layers:
        raise ConfigError("freeze_layers", count, f"a number of layers in 0 … {layers}")
    depths = depth_of_parameters(encoder)
    for name, parameter in encoder.named_parameters():
        if count and depths[name] <= count:
            parameter.requires_grad_(False)


def transformer_of(encoder: SentenceTransformer) -> Any:  # noqa: ANN401 (Hugging Face models have no narrower type)
    """Return the Hugging Face model inside the encoder."""
    return cast(Any, encoder[0]).auto_model
