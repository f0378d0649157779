"""SimCLR: two views of each row, a projector, InfoNCE over the rows of both."""

from __future__ import annotations

from textcl.methods.in_batch import InBatch


class SimCLR(InBatch):
    """InfoNCE between the two views of each row, with the other rows of the batch as negatives.

    The paper's loss, NT-Xent, is InfoNCE with `symmetric` and `same_side`, behind a projector as head.

    References:
        Chen et al. (2020), arXiv:2002.05709, section 2.1.
    """
