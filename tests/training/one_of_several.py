"""What each process of test_processes.py runs: every scenario once, its numbers saved by the first process.

    python -m tests.training.one_of_several MODEL TEXTS OUT BATCH_SIZE

RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT are those of torchrun; without them it is one process.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from tests.journals import journal_without_speed
from tests.methods.every import EVERY, fresh_method
from tests.training.pairs import Seeded, gradients, new_simclr, pair_source
from textcl.methods.method import ABSENT
from textcl.training.batches import Batches
from textcl.training.gradient_cache import cached_backward
from textcl.training.order import Unique
from textcl.training.settings import TrainingSettings
from textcl.training.sources import HardNegatives, Lookup
from textcl.training.trainer import Trainer
from textcl.views.cropping import Crop

METHODS = EVERY
WAYS = {"plain": [{}], "cached": [{"chunk_rows": 3}], "uneven": [{"chunk_tokens": 1000}, {"chunk_tokens": 1}]}
"""The limits of chunks by process."""
WITHOUT_NEGATIVES = {"byol", "simsiam", "barlow_twins", "vicreg"}


def new_method(name, model, **more):
    """A method without dropout in double precision, the same in every process."""
    return fresh_method(name, model, dropout=0.0, **more).double()


def batches_for(method, texts, batch_size, accelerator):
    source = pair_source(method.encoder, texts, first=Crop(0.3, 0.9), second=Crop(0.3, 0.9))
    return Batches(source, batch_size, accelerator.process_index, accelerator.num_processes)


def of_seven(name, model, texts, accelerator):
    """A method that a guide judges for, if it has negatives, and batches of 7 rows over all processes.

    They have hard negatives, if the method takes them; some are absent.
    """
    judged = {} if name in WITHOUT_NEGATIVES else {"false_negatives": {"margin": -0.5}}
    method = new_method(name, model, guide_width=2, **judged)
    source = pair_source(method.encoder, texts[:28], first=Crop(0.3, 0.9), second=Crop(0.3, 0.9))
    random = np.random.default_rng(0)
    guides = [Lookup(random.standard_normal((28, 2), dtype=np.float32), np.arange(28)) for _side in range(3)]
    places = random.integers(ABSENT, 28, (28, 2))
    negatives = HardNegatives(source.second, 100 + np.arange(28)[:, None], places, guides[2])
    source = replace(source, guide=tuple(guides[:2]), hard_negatives=negatives if method.takes_hard_negatives else None)
    processes = accelerator.num_processes

    def order(step):
        return Unique(source.groups, step, 0)  # 28 rows in 4 batches

    return method, Batches(source, 8 // processes, accelerator.process_index, processes, order=order)


def one_step(method, batch, limits, accelerator):
    """Loss, gradients and the state after one step of plain gradient descent."""
    method.train()
    seeds = []
    optimizer = torch.optim.SGD([one for one in method.parameters() if one.requires_grad], lr=0.1)
    wrapped, stepping = accelerator.prepare(method, optimizer)
    if not limits:
        output = wrapped(batch=batch)
        accelerator.backward(output.loss)
    else:
        no_sync = functools.partial(accelerator.no_sync, wrapped)
        output = cached_backward(wrapped, batch, seeds.append, accelerator.backward, **limits, no_sync=no_sync)
    found = gradients(method)
    stepping.step()
    method.after_update(1)
    return {
        "loss": output.loss.detach(),
        "diagnostics": output.diagnostics,
        "gradients": found,
        "chunks": seeds,
        "rows": len(batch),
        "state": method.state_dict(),
    }


def whole_run(method, batches, limits, accelerator, out):
    """The state after three steps of the loop, each of two batches, and what the journal says of them."""
    settings = TrainingSettings(
        steps=3, learning_rate=1e-3, accumulate_steps=2, **limits, log_every=1, clip_norm=0.5, save_every=2
    )
    out.mkdir(exist_ok=True)
    Trainer(method, batches, settings, out, accelerator).train()
    lines = journal_without_speed(out / "journal.jsonl") if accelerator.is_main_process else []
    return {"state": method.state_dict(), "journal": lines}


def dropout_seeds(model, texts, batch_size, accelerator, out):
    """The seed of torch's generator at each forward of a run."""
    method = new_simclr(model, kind=Seeded)
    out.mkdir(exist_ok=True)
    settings = TrainingSettings(steps=3, chunk_rows=3)
    Trainer(method, batches_for(method, texts, batch_size, accelerator), settings, out, accelerator).train()
    return method.seeds


def main(model, texts, out, batch_size):
    accelerator = Accelerator(cpu=True)
    known = json.loads(Path(texts).read_text())
    results = {"processes": accelerator.num_processes}
    for name in METHODS:
        for way, by_process in WAYS.items():
            limits = by_process[accelerator.process_index % len(by_process)]
            method = new_method(name, model)
            batches = batches_for(method, known, int(batch_size), accelerator)
            results[f"{name} {way} step"] = one_step(method, batches[0], limits, accelerator)
            method, folder = new_method(name, model), Path(out) / f"{name}-{way}"
            results[f"{name} {way} run"] = whole_run(method, batches, limits, accelerator, folder)
            method, batches = of_seven(name, model, known, accelerator)
            results[f"{name} {way} step of seven"] = one_step(method, batches[0], limits, accelerator)
    method, batches = of_seven("moco", model, known, accelerator)
    results["moco run of seven"] = whole_run(method, batches, {}, accelerator, Path(out) / "seven")
    results["seeds"] = dropout_seeds(model, known, int(batch_size), accelerator, Path(out) / "seeds")
    torch.save(results, Path(out) / f"rank-{accelerator.process_index}.pt")
    accelerator.end_training()


if __name__ == "__main__":
    main(*sys.argv[1:])
