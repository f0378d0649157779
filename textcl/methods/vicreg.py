"""VICReg: pairs are near, every dimension keeps its spread, and no two dimensions say the same."""

from __future__ import annotations

from textcl.methods.redundancy import Redundancy


class VICReg(Redundancy):
    """Variance, invariance and covariance, weighed against each other, on each view by itself and on the pair.

    References:
        Bardes, Ponce and LeCun (2022), arXiv:2105.04906, section 4.
    """
