"""Small real parts to train with: pairs of a few texts, a method, a trainer, and gradients by name."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator

from textcl.corpus.tokens import special_tokens, tokenise
from textcl.encoder.heads import Projector
from textcl.encoder.load import load_encoder, tokenizer_of
from textcl.losses.info_nce import InfoNCE
from textcl.methods.simclr import SimCLR
from textcl.training.batches import Batches
from textcl.training.probe import draw_probe
from textcl.training.settings import TrainingSettings
from textcl.training.sources import PairSource, Side
from textcl.training.trainer import Trainer
from textcl.views.view import Chain


class Seeded(SimCLR):
    """Keeps the seed of torch's generator at every forward."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.seeds = []

    def embed(self, tokens):
        self.seeds.append(torch.initial_seed())
        return super().embed(tokens)


def pair_source(encoder, texts, *, seed=0, pair=None, first=None, second=None, max_tokens=24):
    """Each text is its own pair, seen through a view on each side."""
    prefix, suffix = special_tokens(tokenizer_of(encoder))
    tokens = tokenise(texts, tokenizer_of(encoder))
    sides = [Side(tokens, prefix, suffix, view or Chain()) for view in (first, second)]
    return PairSource(*sides, np.arange(len(texts))[:, None], max_tokens, seed, pair)


def new_simclr(folder, *, dropout=0.1, projector=False, kind=SimCLR, temperature=0.05):
    """SimCLR around a fresh copy of the tiny encoder; always the same projector."""
    encoder = load_encoder(folder, dropout=dropout)
    head = None
    if projector:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            head = Projector(encoder.get_embedding_dimension(), 24, 16)
    return kind(encoder, InfoNCE(temperature, symmetric=True), head)


def new_trainer(method, source, out, *, batch_size=4, evaluate=None, warn=None, **settings):
    """A trainer on this one process, with a probe if its health is to be looked at; the folder is made."""
    out.mkdir(exist_ok=True)
    batches = Batches(source, batch_size)
    probe = draw_probe(source, 12, seed=0) if settings.get("health") else None
    warned = [].append if warn is None else warn
    return Trainer(method, batches, TrainingSettings(**settings), out, Accelerator(cpu=True), evaluate, probe, warned)


def gradients(method):
    """The gradient of every parameter that has one, by name, copied."""
    return {name: one.grad.clone() for name, one in method.named_parameters() if one.grad is not None}


def states_equal(first, second):
    """Whether two state dicts hold the same names and the same bits."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
