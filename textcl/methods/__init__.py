"""One paper, one file: encoder, heads, negatives and loss put together as one trainable module."""

from textcl.methods.barlow_twins import BarlowTwins
from textcl.methods.byol import BYOL
from textcl.methods.moco import MoCo
from textcl.methods.pairs import Pairs
from textcl.methods.regularisers import Regulariser
from textcl.methods.simclr import SimCLR
from textcl.methods.simcse import SimCSE
from textcl.methods.simsiam import SimSiam
from textcl.methods.vicreg import VICReg

__all__ = ["BYOL", "BarlowTwins", "MoCo", "Pairs", "Regulariser", "SimCLR", "SimCSE", "SimSiam", "VICReg"]
