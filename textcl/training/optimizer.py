"""Parameter groups for AdamW: weight decay on matrices alone, and learning rates by depth."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from textcl.encoder.layers import depth_of_parameters, layers_of
from textcl.errors import ConfigError
from textcl.methods.method import Method


def parameter_groups(
    method: Method, weight_decay: float, layer_decay: float | None = None, head_rate: float = 1.0
) -> list[dict[str, Any]]:
    """Return groups of the method's trained parameters, each with the "factor" of its learning rate.

    The factor of the encoder's layer l of L is layer_decay ** (L - l): 1 for the highest and for what comes behind it,
    layer_decay ** L for the embeddings. There are two groups a factor, highest factor first: the matrices, and the
    biases and norms, which have no weight decay. One of the two may be empty. Frozen parameters are in none.

    Args:
        method: A module whose `encoder` is the encoder; its other parameters are its heads.
        weight_decay: AdamW's, on matrices.
        layer_decay: In (0, 1]; None and 1 are off.
        head_rate: Factor of the heads, above 0.

    Raises:
        ConfigError: If a number is out of range, every parameter is frozen, or, with `layer_decay`, the encoder has no
            list of layers.

    References:
        Howard and Ruder (2018), arXiv:1801.06146, section 3.2 (discriminative fine-tuning).
    """
    if layer_decay is not None and not 0 < layer_decay <= 1:
        raise ConfigError("layer_decay", layer_decay, "a factor in (0, 1]")
    if not 0 < head_rate < float("inf"):
        raise ConfigError("head_rate", head_rate, "a number above 0")
    factors = _encoder_factors(method, 1.0 if layer_decay is None else layer_decay)
    by_factor: dict[float, list[nn.Parameter]] = {}
    for parameter in method.parameters():
        if parameter.requires_grad:
            by_factor.setdefault(factors.get(id(parameter), head_rate), []).append(parameter)
    if not by_factor:
        raise ConfigError("encoder", problem="every parameter is frozen, so that nothing is left to train")
    groups = []
    for factor in sorted(by_factor, reverse=True):
        matrices = [one for one in by_factor[factor] if one.ndim > 1]
        others = [one for one in by_factor[factor] if one.ndim <= 1]
        groups.append({"params": matrices, "weight_decay": weight_decay, "factor": factor})
        groups.append({"params": others, "weight_decay": 0.0, "factor": factor})
    return groups


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give each group `rate` times its factor; a group without one, as in old checkpoints, gets `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def _encoder_factors(method: Method, layer_decay: float) -> dict[int, float]:
    """Return the factor of each parameter of the encoder, by its id."""
    if layer_decay == 1:  # any encoder will do, with a list of layers or without
        return {id(one): 1.0 for one in method.encoder.parameters()}
    depths = depth_of_parameters(method.encoder)
    highest = len(layers_of(method.encoder))
    return {id(one): layer_decay ** max(0, highest - depths[name]) for name, one in method.encoder.named_parameters()}
