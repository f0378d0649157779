"""Pairwise sigmoid loss: each anchor and candidate are told apart as pair or no pair, without a softmax."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.errors import ConfigError
from textcl.losses.candidates import make_contrast
from textcl.losses.temperature import Learned, Temperature, check_temperature, temperature_now


class Sigmoid(nn.Module):
    """Binary cross-entropy of every anchor with every candidate, summed, over B.

    Args:
        temperature: Divisor of the cosine similarities, above 0, or a module; None learns it, from 0.1 on.
        bias: Where the learned bias starts. A row has one pair and many negatives; far below 0 makes up for that.

    References:
        Zhai et al. (2023), arXiv:2303.15343, Algorithm 1, whose t is 1 / temperature.
    """

    temperature: Temperature

    def __init__(self, temperature: Temperature | None = None, bias: float = -10.0) -> None:
        super().__init__()
        if not math.isfinite(bias):
            raise ConfigError("bias", bias, "a finite number")
        self.temperature = Learned(0.1) if temperature is None else check_temperature(temperature)
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(
        self,
        anchor: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        same: Tensor | None = None,
        same_negatives: Tensor | None = None,
        positives: Tensor | None = None,
    ) -> Tensor:
        """Return the sum over all pairs divided by B, in nats; arguments and errors as InfoNCE has them.

        Row i makes a pair with each of its positives.

        Exchanging anchor and positive changes nothing but who meets the `negatives`: the anchors.
        """
        contrast = make_contrast(anchor, positive, negatives, same, same_negatives, positives)
        cosines, negative = contrast.candidates()
        logits = cosines / temperature_now(self.temperature) + self.bias  # (B, B + K); row i's positive is column i
        pairs = F.logsigmoid(logits.diagonal()).sum()
        if contrast.further is not None:
            pairs = pairs + F.logsigmoid(logits[:, : len(logits)]).masked_fill(~contrast.further, 0.0).sum()
        others = F.logsigmoid(-logits).masked_fill(~negative, 0.0).sum()
        return -(pairs + others) / len(anchor)
