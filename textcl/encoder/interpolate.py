"""Weights between those before and after training, which keep more of what the base knew."""

from __future__ import annotations

from itertools import chain

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from textcl.errors import ConfigError


@torch.no_grad()
def interpolate(encoder: SentenceTransformer, base: SentenceTransformer, share: float) -> None:
    """Set the encoder's weights = share * encoder + (1 - share) * base, in place.

    Args:
        encoder: The trained one. Its buffers of whole numbers stay.
        base: What it was trained from, or anything of the same architecture.
        share: Of the trained weights, in [0, 1]; 1 leaves every bit, 0 takes the base's.

    Raises:
        ConfigError: If `share` is out of range, or a weight of one is missing or of another shape in the other.

    References:
        Wortsman et al. (2022), arXiv:2109.01903, Eq. 1.
    """
    if not 0 <= share <= 1:
        raise ConfigError("share", share, "a share in [0, 1]")
    ours, theirs = _weights(encoder), _weights(base)
    for name in [*ours, *theirs]:
        shapes = [tuple(weights[name].shape) if name in weights else "missing" for weights in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                "base", problem=f"is of another architecture: {name} is {shapes[0]} there, {shapes[1]} here"
            )
    for name, weights in ours.items():
        if share == 0:  # apart, since 0 * inf is no number and -0.0 + 0.0 another zero
            weights.copy_(theirs[name])
        elif share < 1:
            weights.lerp_(theirs[name].to(weights), 1 - share)


def _weights(encoder: SentenceTransformer) -> dict[str, Tensor]:
    """Return the tensors of floats by name; one with two names, as T5's embeddings, comes once."""
    named = chain(encoder.named_parameters(), encoder.named_buffers())
    return {name: tensor for name, tensor in named if tensor.is_floating_point()}
