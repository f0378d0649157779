"""Pairs, triplets and n-tuples of different texts: what sentence encoders are fine-tuned on."""

from __future__ import annotations

from textcl.methods.in_batch import InBatch


class Pairs(InBatch):
    """A contrastive loss between anchors and positives; the hard negatives of all rows are candidates of every row.

    References:
        Henderson et al. (2017), arXiv:1705.00652, section 4.4 for pairs; Karpukhin et al. (2020), arXiv:2004.04906,
        section 3.2 for the hard negatives of other rows; Zhai et al. (2023), arXiv:2303.15343 with the loss Sigmoid.
    """

    takes_hard_negatives = True
