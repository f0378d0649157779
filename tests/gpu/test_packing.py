"""The kernels of a GPU give what padded rows give; a step does not wait for the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from tests.encoder.families import encoder_of_family
from textcl.corpus.tokens import TokenRows, offsets_of
from textcl.encoder.forward import forward_rows
from textcl.encoder.packing import FAMILIES
from textcl.losses.info_nce import InfoNCE
from textcl.methods.pairs import Pairs
from textcl.training.batches import Batches
from textcl.training.optimizer import parameter_groups
from textcl.training.settings import TrainingSettings
from textcl.training.sources import PairSource, Side
from textcl.training.step import one_step
from textcl.views.view import Chain

KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
CLOSE = {"fp32": 1e-5, "bf16": 3e-2, "fp16": 5e-3}


@pytest.fixture
def rows():
    generator = np.random.default_rng(1)
    lengths = generator.integers(1, 60, size=200)
    ids = generator.integers(5, 120, size=lengths.sum()).astype(np.int32)
    return TokenRows(ids, offsets_of(lengths), np.zeros(len(ids), np.uint8))


def outcome(encoder, rows, kind, **options):
    """Return the embeddings of rows and the gradients of a function of them, (P,)."""
    encoder.zero_grad()
    with torch.autocast("cuda", dtype=kind, enabled=kind != torch.float32):
        embeddings = forward_rows(encoder, rows, **options).float()
    weights = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0)).cuda()
    (embeddings * weights).sum().backward()
    return embeddings.detach(), torch.cat([one.grad.flatten() for one in encoder.parameters() if one.grad is not None])


@pytest.mark.parametrize("precision", KINDS)
@pytest.mark.parametrize(
    "options", [{}, {"hidden_size": 48, "num_attention_heads": 8}], ids=["heads of 12", "heads of 6"]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_and_gradients_equal_the_padded_ones(tiny_model_folder, rows, family, options, precision):
    """ModernBERT among them, whose windows are narrower than the rows."""
    encoder = encoder_of_family(tiny_model_folder, family, **options).train()
    kind, near = KINDS[precision], CLOSE[precision]
    packed, padded = (outcome(encoder, rows, kind, packed=packed) for packed in (True, False))
    for one, other in zip(packed, padded, strict=True):
        assert ((one - other).norm() / other.norm()).item() < near


@pytest.mark.parametrize("precision", KINDS)
def test_dropout_of_attention_is_as_strong_packed_as_padded(tiny_model_folder, rows, precision):
    encoder = encoder_of_family(tiny_model_folder, "bert", attention_probs_dropout_prob=0.3).train()
    rows = rows.take(np.arange(40))

    def spread(packed):
        with torch.no_grad(), torch.autocast("cuda", dtype=KINDS[precision], enabled=precision != "fp32"):
            drawn = torch.stack([forward_rows(encoder, rows, packed=packed).float() for _ in range(150)])
        return drawn.std(0).mean().item()

    assert spread(True) == pytest.approx(spread(False), rel=0.05)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_a_step_does_not_wait_for_the_device(tiny_model_folder, rows):
    """Pooled by the first token: older releases of sentence-transformers wait in their mean of flat tokens."""
    encoder = encoder_of_family(tiny_model_folder, "bert", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    encoder[1].pooling_mode = ("cls",)
    side = Side(rows, (2,), (3,), Chain())
    batches = Batches(PairSource(side, side, np.arange(len(rows))[:, None], 64, 0), 32)
    method, settings = Pairs(encoder, InfoNCE(0.05)).cuda(), TrainingSettings(steps=9, learning_rate=2e-5)
    accelerator = Accelerator(cpu=True, mixed_precision="no")  # as the test process has it; tensors are where they are
    optimizer = torch.optim.AdamW(parameter_groups(method, 0.01), fused=True)
    for step in range(4):
        if step == 2:
            torch.cuda.set_sync_debug_mode("error")
        try:
            values = one_step(accelerator, method, optimizer, [batches[step]], step, settings)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite(values["loss"].item())
