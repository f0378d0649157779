"""Embeddings → one number: the objectives, each on plain tensors."""

from textcl.losses.info_nce import InfoNCE

__all__ = ["InfoNCE"]
