"""Tokens → embeddings: loading encoders, running them, and the heads they train under."""
