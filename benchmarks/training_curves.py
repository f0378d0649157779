"""The loss of a training that runs packed beside the same one padded: they should be one curve.

    python -m benchmarks.training_curves --data FOLDER

The embedded model without dropout, 50 steps of AdamW at 2e-5 on sentences of wiki-sentences, each its own positive, in
the view of a crop of half its tokens and more; batches of 64, at most 64 tokens, InfoNCE at temperature 0.05, float32.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
from pathlib import Path
from typing import Any

from benchmarks import harness

STEPS, BATCH, LIMIT, TEXTS = 50, 64, 64, 10_000


def losses(texts: list[str], *, packed: bool) -> list[float]:
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
    from textcl.views.cropping import Crop
    from textcl.views.view import Chain

    class Either(Pairs):
        """Pairs whose forward pass is packed or not."""

        def embed(self, tokens: TokenRows) -> torch.Tensor:
            return forward_rows(self.encoder, tokens, packed=packed)

    import numpy as np

    encoder = load_encoder("all-MiniLM-L6-v2", max_tokens=LIMIT, dropout=0.0)
    tokens, around = tokenise(texts, tokenizer_of(encoder)), special_tokens(tokenizer_of(encoder))
    sides = Side(tokens, *around, Chain()), Side(tokens, *around, Crop(0.5, 1.0))
    batches = Batches(PairSource(*sides, np.arange(len(texts))[:, None], LIMIT, 0), BATCH)
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
    folder = harness.data_folder(made.parse_args(), "wiki-sentences")
    with gzip.open(Path(folder) / "sentences-0.txt.gz", "rt", encoding="utf-8") as lines:
        texts = [text.strip() for text in itertools.islice(lines, TEXTS)]
    curves: dict[str, Any] = {
        name: harness.on_cores(None, _losses, texts, name == "packed") for name in ("packed", "padded")
    }
    furthest = max(abs(one - other) for one, other in zip(curves["packed"], curves["padded"], strict=True))
    ends = curves["packed"][0], curves["packed"][-1]
    print(f"{STEPS} steps, loss {ends[0]:.4f} to {ends[1]:.4f}, at most {furthest:.2g} apart")
    harness.write_result("training_curves", {"steps": STEPS, "largest_difference": furthest, "losses": curves})


def _losses(texts: list[str], packed: bool) -> list[float]:
    return losses(texts, packed=packed)


if __name__ == "__main__":
    main()
