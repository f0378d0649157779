"""In-batch InfoNCE: each anchor must find its positives among all candidates."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.errors import ConfigError
from textcl.losses.candidates import Contrast, make_contrast
from textcl.losses.temperature import Temperature, check_temperature, temperature_now


class InfoNCE(nn.Module):
    """Cross-entropy of each anchor's own positive among all candidates, or its mean over several positives.

    Args:
        temperature: Divisor of the cosine similarities, above 0, or a module such as Scheduled or Learned.
        symmetric: Average the loss of anchors among positives with that of positives among anchors.
        same_side: Let the other rows of its own side be candidates too, so that with `symmetric` each of the 2B rows
            has 2B - 2 negatives: the NT-Xent of SimCLR.
        decoupled: Leave the positive out of the denominator. The loss may then fall below 0.
        label_smoothing: Share of the target spread evenly over the row's candidates, its positives included, in [0, 1).
        hardness: How much more the near negatives weigh in the denominator than the far ones, at least 0. Weights grow
            as exp(hardness * cosine / temperature), have mean 1 in each row, and are constants for the gradient.

    References:
        van den Oord, Li and Vinyals (2018), arXiv:1807.03748, Eq. 4; Chen et al. (2020), arXiv:2002.05709, Eq. 1 for
        `same_side`; Gao, Yao and Chen (2021), arXiv:2104.08821, Eq. 1 for the one-way form on text; Yeh et al. (2022),
        arXiv:2110.06848, for `decoupled`; Szegedy et al. (2016), arXiv:1512.00567, section 7 for `label_smoothing`;
        Robinson et al. (2021), arXiv:2010.04592, Eq. 4 without its debiasing for `hardness`; Khosla et al. (2020),
        arXiv:2004.11362, Eq. 2 for several positives. Its denominator has the other positives too; here, as
        masking does, it leaves them out, so that each is told apart from the negatives alone.
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
        positives: Tensor | None = None,
    ) -> Tensor:
        """Return the mean over the B rows, in nats; a row that has no negatives costs 0.

        A row with several positives costs the mean over them of what each would cost as its only one, but that
        `label_smoothing` is even over all of them.

        Args:
            anchor: (B, D) floats; rows are scaled to unit length here.
            positive: (B, D), row i belongs to anchor i and is a negative of the others.
            negatives: (K, D), negatives of every anchor, or of every row with `symmetric`.
            same: (B, B) booleans, true where rows i and j mean the same although i ≠ j, so that neither is a negative
                of the other.
            same_negatives: (B, K) booleans, true where negative k means the same as row i, and is none of it.
            positives: (B, B) booleans, symmetric, true where the other side of row j is a positive of row i as well
                and so no negative, whatever `same` says; the diagonal always is. The own side of row j is no negative
                either, but with `same_side` it is no positive.

        Raises:
            ShapeError: If the shapes do not fit each other.
        """
        contrast = make_contrast(anchor, positive, negatives, same, same_negatives, positives)
        temperature = temperature_now(self.temperature)
        loss = self._one_way(contrast, temperature)
        return (loss + self._one_way(contrast.turned(), temperature)) / 2 if self.symmetric else loss

    def _one_way(self, contrast: Contrast, temperature: float | Tensor) -> Tensor:
        cosines, negative = contrast.candidates(self.same_side)
        own = torch.eye(*cosines.shape, dtype=torch.bool, device=cosines.device)  # row i's positive is column i
        # Logits count from the own positive's, which keeps all digits of a small loss.
        logits = (cosines - cosines.diagonal()[:, None]) / temperature  # (B, C)
        alone = ~negative.any(dim=1, keepdim=True)  # the sum of such a row is its positive alone, and its loss 0
        others = negative | own & alone
        weighed = logits + self._log_weights(logits.detach(), negative) if self.hardness else logits
        loss = _log_sum(weighed, others if self.decoupled else negative | own)  # (B,), the own positive's
        further = contrast.further
        if further is not None:  # added to the own one, so that without any the loss keeps its bits
            ahead = logits[:, : len(logits)] - _log_sum(weighed, others)[:, None]  # (B, B), of the negatives
            each = -ahead if self.decoupled else -F.logsigmoid(ahead)
            loss = (loss + each.masked_fill(~further | alone, 0.0).sum(dim=1)) / (1 + further.sum(dim=1))
        if self.label_smoothing:
            loss = loss - self.label_smoothing * _even_less_target(logits, negative | own, further)
        return loss.mean()

    def _log_weights(self, logits: Tensor, negative: Tensor) -> Tensor:
        """Return the logarithm of each negative's weight, (B, C), and 0 for all else."""
        shares = (self.hardness * logits).masked_fill(~negative, -torch.inf).log_softmax(dim=1)
        count = negative.sum(dim=1, keepdim=True).to(shares.dtype)
        return (shares + count.log()).masked_fill(~negative, 0.0)


def _log_sum(logits: Tensor, summed: Tensor) -> Tensor:
    return logits.masked_fill(~summed, -torch.inf).logsumexp(dim=1)


def _even_less_target(logits: Tensor, candidate: Tensor, further: Tensor | None) -> Tensor:
    """Return the mean logit of the candidates (B, C) less that of the positives, (B,); the own positive's is 0."""
    if further is None:
        return logits.masked_fill(~candidate, 0.0).sum(dim=1) / candidate.sum(dim=1)
    # As wide as the candidates, so that a row of positives alone sums the same numbers twice and comes to 0 exactly.
    further = F.pad(further, (0, logits.shape[1] - len(logits)))
    target = logits.masked_fill(~further, 0.0).sum(dim=1) / (1 + further.sum(dim=1))
    return _even_less_target(logits, candidate | further, None) - target
