"""The loss of a training that runs packed beside the same one padded: they should be one curve.

    python -m benchmarks.training_curves --data FOLDER

The embedded model without dropout, 50 steps of AdamW at 2e-5 on question-answer pairs of medquad, many of which are
alike, so that the loss stays well above zero; batches of 64, at most 64 tokens, InfoNCE at temperature 0.05, float32.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks import harness
from benchmarks.train_throughput import read_pairs

STEPS, BATCH, LIMIT, ROWS = 50, 64, 64, 10_000


def losses(pairs: list[tuple[str, str]], *, packed: bool) -> list[float]:
    """Return the loss of each step."""
    import torch
    from accelerate import Accelerator

    from textcl.corpus.tokens import TokenRows, special_tokens, tokenise
    from textcl.encoder.forward import forward_rows
    from textcl.encoder.load import load_encoder, tokenizer_of
    from textcl.losses.info_nce import InfoNCE
    from textcl.methods.pairs import Pairs
    from textcl.training.batches import Batches
    from textcl.training.optimizer import parameter_groups
    from textcl.training.settings import TrainingSettings
    from textcl.training.sources import PairSource, Side
    from textcl.training.step import one_step
    from textcl.views.view import Chain

    class Either(Pairs):
        """Pairs whose forward pass is packed or not."""

        def embed(self, tokens: TokenRows) -> torch.Tensor:
            return forward_rows(self.encoder, tokens, packed=packed)

    import numpy as np

    encoder = load_encoder("all-MiniLM-L6-v2", max_tokens=LIMIT, dropout=0.0)
    around = special_tokens(tokenizer_of(encoder))
    first, second = (
        Side(tokenise(list(column), tokenizer_of(encoder)), *around, Chain()) for column in zip(*pairs, strict=True)
    )
    batches = Batches(PairSource(first, second, np.arange(len(pairs))[:, None], LIMIT, 0), BATCH)
    method = Either(encoder, InfoNCE(0.05))
    settings = TrainingSettings(steps=STEPS, learning_rate=2e-5)
    accelerator = Accelerator(cpu=True, mixed_precision="no")
    optimizer = torch.optim.AdamW(parameter_groups(method, 0.01), fused=True)
    wrapped, optimizer = accelerator.prepare(method, optimizer)
    return [
        float(one_step(accelerator, wrapped, optimizer, [batches[number]], number, settings)["loss"])
        for number in range(STEPS)
    ]


def main() -> None:
    """Measure, print and write results/training_curves.json."""
    made = harness.parser(__doc__ or "")
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    pairs = read_pairs(harness.data_folder(made.parse_args(), "medquad"))[:ROWS]
    curves: dict[str, Any] = {
        name: harness.on_cores(None, _losses, pairs, name == "packed") for name in ("packed", "padded")
    }
    furthest = max(abs(one - other) for one, other in zip(curves["packed"], curves["padded"], strict=True))
    ends = curves["packed"][0], curves["packed"][-1]
    print(f"{STEPS} steps, loss {ends[0]:.4f} to {ends[1]:.4f}, at most {furthest:.2g} apart")
    harness.write_result("training_curves", {"steps": STEPS, "largest_difference": furthest, "losses": curves})


def _losses(pairs: list[tuple[str, str]], packed: bool) -> list[float]:
    return losses(pairs, packed=packed)


if __name__ == "__main__":
    main()
