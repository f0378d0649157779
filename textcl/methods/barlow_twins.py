"""Barlow Twins: each dimension agrees with itself across the views, and with no other."""

from __future__ import annotations

from textcl.methods.redundancy import Redundancy


class BarlowTwins(Redundancy):
    """The cross-correlation of both views' dimensions, over the batch, is drawn to the identity.

    References:
        Zbontar et al. (2021), arXiv:2103.03230, section 2; Farina and Pappadopulo (2024), NAACL
        Findings, for sentences.
    """
