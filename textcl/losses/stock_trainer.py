"""The losses in the stock trainer of sentence-transformers, through one adapter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from textcl.errors import ConfigError
from textcl.losses.distillation import SimilarityDistillation
from textcl.losses.hypersphere import Uniformity
from textcl.losses.info_nce import InfoNCE
from textcl.losses.matryoshka import Matryoshka
from textcl.losses.sigmoid import Sigmoid
from textcl.losses.temperature import set_progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from transformers import TrainerControl, TrainerState, TrainingArguments


class StockTrainerLoss(nn.Module):
    """A loss of this package, as SentenceTransformerTrainer calls one.

    InfoNCE and Sigmoid take the dataset's columns as anchor, positive and any number of hard negatives; Uniformity is
    the mean over columns, and SimilarityDistillation takes the texts of all of them; any other loss takes two columns.
    Matryoshka takes what the loss in it takes.

    That trainer hands over tokens without texts, so equal texts in a batch cannot be seen and are negatives of each
    other here: give it the batch sampler NO_DUPLICATES. It saves the encoder alone, so that a learned temperature or
    bias starts anew when a run is resumed; it neither clips what a loss owns nor averages it over processes; and its
    weight decay, where one is set, draws a learned temperature to 1.

    Args:
        model: The encoder that is trained.
        loss: What it is trained with.
        frozen: The encoder whose similarities SimilarityDistillation keeps, with the tokenizer of `model`. Its
            parameters stop taking gradients, in place, and it stays in evaluation mode.
    """

    def __init__(self, model: SentenceTransformer, loss: nn.Module, frozen: SentenceTransformer | None = None) -> None:
        super().__init__()
        inner = loss
        while isinstance(inner, Matryoshka):
            inner = inner.loss
        _check_frozen(model, frozen, wanted=isinstance(inner, SimilarityDistillation))
        self._contrastive = isinstance(inner, InfoNCE | Sigmoid)
        self._of_columns, self._of_all_rows = isinstance(inner, Uniformity), isinstance(inner, SimilarityDistillation)
        self.model, self.loss = model, loss  # the trainer looks for a child called `model`, to wrap it
        self.frozen = None if frozen is None else frozen.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> StockTrainerLoss:
        """Set the mode of all but the frozen encoder."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        return self

    def forward(self, features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:  # noqa: ARG002 (the trainer passes it)
        """Return the loss of a batch.

        Args:
            features: One dict of (B, S) token tensors a text column.
            labels: Not used.

        Raises:
            ConfigError: If the loss takes another number of columns.
        """
        features = list(features)
        self._check_columns(len(features))
        columns = _embed(self.model, features)
        given: list[Tensor | None] = [*columns]
        kept: dict[str, Tensor] = {}
        if self._of_columns:  # a row does not meet its own pair
            return torch.stack([self.loss(column) for column in columns]).mean()
        if self._of_all_rows:
            given = [torch.cat(columns)]
        elif self._contrastive:
            given = [*columns[:2], torch.cat(columns[2:]) if columns[2:] else None]
        if self.frozen is not None:
            kept["frozen"] = torch.cat(_embed(self.frozen, features))
        loss: Tensor = self.loss(*given, **kept)
        return loss

    def _check_columns(self, count: int) -> None:
        if self._contrastive and count < 2:
            raise ConfigError("columns", count, "at least 2 text columns, anchor and positive")
        if not (self._contrastive or self._of_columns or self._of_all_rows) and count != 2:
            raise ConfigError("columns", count, "2 text columns")


class TemperatureCallback(TrainerCallback):
    """Tells the scheduled temperatures of a loss, before each step, which share of the run is done.

    Args:
        loss: The loss, or the adapter around it.
    """

    def __init__(self, loss: nn.Module) -> None:
        self.loss = loss

    def on_step_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 (the trainer passes them)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ANN401, ARG002
    ) -> None:
        """Set the progress to the steps done over all steps."""
        set_progress(self.loss, state.global_step / state.max_steps)


def _embed(encoder: nn.Module, features: list[dict[str, Any]]) -> list[Tensor]:
    """Return (B, D) for each column; the dicts stay as they are, where the encoder would write into them."""
    return [encoder(dict(column))["sentence_embedding"] for column in features]


def _check_frozen(model: SentenceTransformer, frozen: SentenceTransformer | None, *, wanted: bool) -> None:
    if frozen is None:
        if wanted:
            raise ConfigError("frozen", problem="SimilarityDistillation needs the encoder whose similarities it keeps")
        return
    if not wanted:
        raise ConfigError("frozen", problem="only SimilarityDistillation takes a frozen encoder")
    if frozen is model:
        raise ConfigError("frozen", problem="this is the trained encoder itself; give a copy of it")
    if frozen.tokenizer.get_vocab() != model.tokenizer.get_vocab():
        raise ConfigError("frozen", problem="its tokenizer is another than the trained encoder's")
