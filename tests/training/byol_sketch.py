"""BYOL in a few lines, to show that the seams of Method hold it; the real one comes with its own issue.

References:
    Grill et al. (2020), arXiv:2006.07733, section 3.1.
"""

from __future__ import annotations

import copy

import torch
from torch.nn import functional as F

from textcl.encoder.forward import forward_rows
from textcl.encoder.heads import Projector
from textcl.methods.method import Method, MethodOutput, gather_rows


class Byol(Method):
    """The online side predicts what a slowly moving copy of itself makes of the other view."""

    def __init__(self, encoder, momentum=0.9):
        super().__init__(encoder)
        width = encoder.get_embedding_dimension()
        self.projector = Projector(width, 24, 16)
        self.predictor = Projector(16, 24, 16)
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.momentum = momentum

    def embed(self, tokens):
        projection = self.projector(forward_rows(self.encoder, tokens))
        with torch.no_grad():
            target = self.target_projector(forward_rows(self.target_encoder, tokens))
        return {"prediction": self.predictor(projection), "target": target}

    def loss(self, projections, batch):
        first, second = (gather_rows(side) for side in projections["prediction"].chunk(2))
        first_target, second_target = (gather_rows(side) for side in projections["target"].detach().chunk(2))
        loss = negative_cosine(first, second_target) + negative_cosine(second, first_target)
        return MethodOutput(loss, {"target_norm": first_target.norm(dim=-1).mean()})

    @torch.no_grad()
    def after_update(self, step):
        pairs = ((self.target_encoder, self.encoder), (self.target_projector, self.projector))
        for target, online in pairs:
            for kept, new in zip(target.parameters(), online.parameters(), strict=True):
                kept.lerp_(new, 1 - self.momentum)


class LatePredictor(Byol):
    """The same with the predictor inside the loss, so that parameters are trained which `embed` never uses."""

    def embed(self, tokens):
        projection = self.projector(forward_rows(self.encoder, tokens))
        with torch.no_grad():
            target = self.target_projector(forward_rows(self.target_encoder, tokens))
        return {"projection": projection, "target": target}

    def loss(self, projections, batch):
        prediction = self.predictor(projections["projection"])
        return super().loss({"prediction": prediction, "target": projections["target"]}, batch)


def negative_cosine(prediction, target):
    """Eq. 2 of the paper: the squared distance of unit vectors, as a mean over rows."""
    return (2 - 2 * F.cosine_similarity(prediction, target, dim=-1)).mean()
