"""Negative cosine: each prediction should point where its target does; there are no negatives."""

from __future__ import annotations

from torch import Tensor, nn

from textcl.losses.rows import check_pair, unit_rows


class NegativeCosine(nn.Module):
    """Mean of minus the cosine between matching rows, in [-1, 1].

    Both sides get a gradient; who wants a constant target passes it detached. Without that, or another counterweight,
    one point for all texts is the best answer.

    References:
        Chen and He (2021), arXiv:2011.10566, Eq. 1; Grill et al. (2020), arXiv:2006.07733, Eq. 2 is 2 plus twice this.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the mean over the B rows of prediction and target, (B, D) each.

        Raises:
            ShapeError: If the shapes are not equal, or B is 0.
        """
        check_pair(prediction, target, ("prediction", "target"))
        return -(unit_rows(prediction) * unit_rows(target)).sum(dim=-1).mean()
