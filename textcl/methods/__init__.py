"""One paper, one file: encoder, heads, negatives and loss put together as one trainable module."""

from textcl.methods.simclr import SimCLR

__all__ = ["SimCLR"]
