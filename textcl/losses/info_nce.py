"""In-batch InfoNCE: each anchor must find its own positive among all candidates."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from textcl.errors import ConfigError
from textcl.losses.candidates import Contrast, make_contrast
from textcl.losses.temperature import Temperature, check_temperature, temperature_now


class InfoNCE(nn.Module):
    """Cross-entropy of each anchor's own positive among all candidates.

    Args:
        temperature: Divisor of the cosine similarities, above 0, or a module such as Scheduled or Learned.
        symmetric: Average the loss of anchors among positives with that of positives among anchors.
        same_side: Let the other rows of its own side be candidates too, so that with `symmetric` each of the 2B rows
            has 2B - 2 negatives: the NT-Xent of SimCLR.
        decoupled: Leave the positive out of the denominator. The loss may then fall below 0.
        label_smoothing: Share of the target spread evenly over the row's candidates, its positive included, in [0, 1).
        hardness: How much more the near negatives weigh in the denominator than the far ones, at least 0. Weights grow
            as exp(hardness * cosine / temperature), have mean 1 in each row, and are constants for the gradient.

    References:
        van den Oord, Li and Vinyals (2018), arXiv:1807.03748, Eq. 4; Chen et al. (2020), arXiv:2002.05709, Eq. 1 for
        `same_side`; Gao, Yao and Chen (2021), arXiv:2104.08821, Eq. 1 for the one-way form on text; Yeh et al. (2022),
        arXiv:2110.06848, for `decoupled`; Szegedy et al. (2016), arXiv:1512.00567, section 7 for `label_smoothing`;
        Robinson et al. (2021), arXiv:2010.04592, Eq. 4 without its debiasing for `hardness`.
    """

    temperature: Temperature

    def __init__(
        self,
        temperature: Temperature = 0.05,
        symmetric: bool = False,
        same_side: bool = False,
        decoupled: bool = False,
        label_smoothing: float = 0.0,
        hardness: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise ConfigError("label_smoothing", label_smoothing, "a share in [0, 1)")
        if not 0 <= hardness < math.inf:
            raise ConfigError("hardness", hardness, "a finite number of at least 0")
        self.temperature, self.symmetric, self.same_side = check_temperature(temperature), symmetric, same_side
        self.decoupled, self.label_smoothing, self.hardness = decoupled, label_smoothing, hardness

    def forward(
        self,
        anchor: Tensor,
        positive: Tensor,
        negatives: Tensor | None = None,
        same: Tensor | None = None,
        same_negatives: Tensor | None = None,
    ) -> Tensor:
        """Return the mean over the B rows, in nats; a row that has no negatives costs 0.

        Args:
            anchor: (B, D) floats; rows are scaled to unit length here.
            positive: (B, D), row i belongs to anchor i and is a negative of the others.
            negatives: (K, D), negatives of every anchor, or of every row with `symmetric`.
            same: (B, B) booleans, true where rows i and j mean the same although i ≠ j, so that neither is a negative
                of the other.
            same_negatives: (B, K) booleans, true where negative k means the same as row i, and is none of it.

        Raises:
            ShapeError: If the shapes do not fit each other.
        """
        contrast = make_contrast(anchor, positive, negatives, same, same_negatives)
        temperature = temperature_now(self.temperature)
        loss = self._one_way(contrast, temperature)
        return (loss + self._one_way(contrast.turned(), temperature)) / 2 if self.symmetric else loss

    def _one_way(self, contrast: Contrast, temperature: float | Tensor) -> Tensor:
        cosines, negative = contrast.candidates(self.same_side)
        own = torch.eye(*cosines.shape, dtype=torch.bool, device=cosines.device)  # row i's positive is column i
        # Logits count from the own positive's, which keeps all digits of a small loss.
        logits = (cosines - cosines.diagonal()[:, None]) / temperature  # (B, C)
        alone = ~negative.any(dim=1, keepdim=True)  # the sum of such a row is its positive alone, and its loss 0
        summed = negative | own & alone if self.decoupled else negative | own
        weighed = logits + self._log_weights(logits.detach(), negative) if self.hardness else logits
        loss = weighed.masked_fill(~summed, -torch.inf).logsumexp(dim=1)  # (B,)
        if self.label_smoothing:
            candidate = negative | own
            even = logits.masked_fill(~candidate, 0.0).sum(dim=1) / candidate.sum(dim=1)
            loss = loss - self.label_smoothing * even
        return loss.mean()

    def _log_weights(self, logits: Tensor, negative: Tensor) -> Tensor:
        """Return the logarithm of each negative's weight, (B, C), and 0 for all else."""
        shares = (self.hardness * logits).masked_fill(~negative, -torch.inf).log_softmax(dim=1)
        count = negative.sum(dim=1, keepdim=True).to(shares.dtype)
        return (shares + count.log()).masked_fill(~negative, 0.0)
