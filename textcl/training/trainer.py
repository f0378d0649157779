"""The loop, on Accelerate: one process or many, plain or through the gradient cache, resumable bit for bit on a CPU."""

from __future__ import annotations

import math
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader

from textcl.artifacts import whole_folder, write_manifest
from textcl.errors import ArtifactError, PromiseError
from textcl.methods.method import Method, MethodOutput, PairBatch
from textcl.progress import Progress, quiet
from textcl.randomness import key_of
from textcl.training.batches import Batches
from textcl.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from textcl.training.gradient_cache import cached_backward, touch_all
from textcl.training.journal import Journal
from textcl.training.schedules import learning_rate_at

Evaluate = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class TrainingSettings:
    """Numbers of the loop; ranges are checked in the recipe.

    Args:
        steps: Optimizer steps of the whole run.
        learning_rate: Peak of the schedule.
        schedule: linear, cosine or constant, after the warm-up.
        warmup_fraction: Share of the steps in which the rate rises.
        weight_decay: AdamW's, on matrices alone.
        clip_norm: Largest norm of all gradients together; None does not clip.
        accumulate_steps: Batches whose gradients are averaged before one optimizer step; they add no negatives.
        chunk_rows: Token rows held at a time by the gradient cache; None runs the batch whole.
        workers: Processes that draw views; 0 draws them in this one.
        log_every: Steps between journal lines.
        save_every: Steps between checkpoints; None writes none but on Ctrl-C.
        evaluate_every: Steps between evaluations; None evaluates at the end alone.
        keep: `best` by the first measure of the evaluation, or `last`.
        seed: Decides dropout; order and views have it from their source.
    """

    steps: int
    learning_rate: float = 2e-5
    schedule: str = "linear"
    warmup_fraction: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    accumulate_steps: int = 1
    chunk_rows: int | None = None
    workers: int = 0
    log_every: int = 10
    save_every: int | None = None
    evaluate_every: int | None = None
    keep: str = "last"
    seed: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """Steps done, the step whose weights the method's encoder now has, and the evaluations by step."""

    steps: int
    kept_step: int
    evaluations: dict[int, dict[str, float]]


class Trainer:
    """Trains a method in place.

    Args:
        method: Its encoder is what the run is for.
        batches: Batch m of this process.
        settings: Numbers of the loop.
        out: The run's folder: journal, TensorBoard curves and checkpoints go there.
        accelerator: Decides device, precision and processes.
        evaluate: Measures of the encoder as it stands, first the one to choose by; called on the first process alone.
    """

    def __init__(
        self,
        method: Method,
        batches: Batches,
        settings: TrainingSettings,
        out: Path,
        accelerator: Accelerator,
        evaluate: Evaluate | None = None,
    ) -> None:
        self.method, self.batches, self.settings, self.out = method, batches, settings, out
        self.accelerator, self.evaluate = accelerator, evaluate
        self.optimizer = torch.optim.AdamW(
            _decay_groups(method, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self.step = 0
        self.evaluations: dict[int, dict[str, float]] = {}

    def train(self, *, resume: bool = False, progress: Progress = quiet) -> TrainingResult:
        """Run to the last step, from the newest checkpoint with `resume`.

        Raises:
            PromiseError: If the loss or a weight is no finite number; the last checkpoint stands.
            KeyboardInterrupt: On Ctrl-C, after the step in progress and a checkpoint of it.
        """
        self.method.to(self.accelerator.device)
        if resume:
            self._restore()
        wrapped, optimizer = self.accelerator.prepare(self.method, self.optimizer)
        journal = Journal(self.out, self.step if resume else None) if self.accelerator.is_main_process else None
        try:
            with _interruptible(self.accelerator.num_processes == 1) as interrupted:
                with progress("train", self.settings.steps) as advance:
                    advance(self.step)
                    for batches in self._steps():
                        values = self._one_step(wrapped, optimizer, batches)
                        self.step += 1
                        advance(1)
                        self._after_step(values, journal, bool(interrupted))
        finally:
            if journal is not None:
                journal.close()
        return self._finish()

    def _steps(self) -> Iterator[list[PairBatch]]:
        """Yield the batches of each optimizer step that is still to do."""
        accumulate = self.settings.accumulate_steps
        numbers = range(self.step * accumulate, self.settings.steps * accumulate)
        loader: DataLoader[PairBatch] = DataLoader(
            self.batches,
            sampler=numbers,
            batch_size=None,
            num_workers=self.settings.workers,
            worker_init_fn=_start_worker,
        )
        pending: list[PairBatch] = []
        for batch in loader:
            pending.append(batch)
            if len(pending) == accumulate:
                yield pending
                pending = []

    def _one_step(self, wrapped: Any, optimizer: Any, batches: list[PairBatch]) -> dict[str, Tensor]:  # noqa: ANN401
        """Run one optimizer step; return its scalars, still on the device."""
        self.method.train()
        rate = learning_rate_at(
            self.step,
            self.settings.steps,
            self.settings.learning_rate,
            self.settings.warmup_fraction,
            self.settings.schedule,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        outputs = [self._backward(wrapped, batch, place, len(batches)) for place, batch in enumerate(batches)]
        values = {"loss": torch.stack([output.loss.detach() for output in outputs]).mean()}
        for name in outputs[0].diagnostics:
            values[name] = torch.stack([output.diagnostics[name] for output in outputs]).mean()
        if self.settings.clip_norm is not None:
            values["gradient_norm"] = self.accelerator.clip_grad_norm_(
                self.method.parameters(), self.settings.clip_norm
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.method.after_update(self.step + 1)
        values["learning_rate"] = torch.tensor(rate)
        return values

    def _backward(self, wrapped: Any, batch: PairBatch, place: int, count: int) -> MethodOutput:  # noqa: ANN401
        """Add the gradients of one batch, as its share of a step of `count` batches."""

        def no_sync() -> Any:  # noqa: ANN401 (Accelerate's own context)
            return self.accelerator.no_sync(wrapped)

        def backward(loss: Tensor) -> None:
            self.accelerator.backward(loss / count)

        def seed_chunk(number: int) -> None:
            torch.manual_seed(
                key_of(self.settings.seed, "dropout", self.step, place, self.accelerator.process_index, number)
            )

        with no_sync() if place < count - 1 else nullcontext():
            if self.settings.chunk_rows is not None:
                with self.accelerator.autocast():
                    return cached_backward(wrapped, batch, self.settings.chunk_rows, seed_chunk, backward, no_sync)
            seed_chunk(0)
            output: MethodOutput = wrapped(batch=batch)
            # Every parameter must be reached, or DistributedDataParallel waits for it.
            backward(output.loss if wrapped is self.method else output.loss + touch_all(self.method))
            return output

    def _after_step(self, values: dict[str, Tensor], journal: Journal | None, interrupted: bool) -> None:
        """Write the journal, evaluate and save where the settings ask for it at this step."""
        last = self.step == self.settings.steps
        log, save, evaluate = (
            every is not None and self.step % every == 0
            for every in (self.settings.log_every, self.settings.save_every, self.settings.evaluate_every)
        )
        if log or save or evaluate or last or interrupted:
            numbers = {name: value.item() for name, value in values.items()}  # the only place that waits for the device
            self._check_finite(numbers["loss"], weights=save or last)
            if journal is not None:
                journal.write(self.step, numbers)
        if (evaluate or last) and self.evaluate is not None:
            self._evaluate(journal)
        if save or interrupted:
            self._save()
        if interrupted:
            raise KeyboardInterrupt

    def _check_finite(self, loss: float, *, weights: bool) -> None:
        """Stop a run that diverged, before its weights take the place of good ones."""
        what = None if math.isfinite(loss) else f"the loss is {loss}"
        if what is None and weights and not all(one.isfinite().all() for one in self.method.parameters()):
            what = "a weight is no finite number"
        if what is not None:
            advice = "lower training.learning_rate or raise method.temperature, then start again or --resume"
            raise PromiseError(f"training stopped: {what} at step {self.step}; {advice}")

    def _evaluate(self, journal: Journal | None) -> None:
        """Measure the encoder on the first process, and keep a copy of it where it is the best so far."""
        if self.accelerator.is_main_process and self.evaluate is not None and journal is not None:
            measures = dict(self.evaluate())
            self.evaluations[self.step] = measures
            journal.write(self.step, measures)
            if self.settings.keep == "best" and self._best_step() == self.step:
                with whole_folder(self._best_folder(self.step), force=True) as partial:
                    torch.save(self.method.encoder.state_dict(), partial / "encoder.pt")
                    write_manifest(partial, "best encoder", 1, {"step": self.step})
        self.accelerator.wait_for_everyone()

    def _best_folder(self, step: int) -> Path:
        """Return where the best weights of a step lie: one folder a step, since a resume may find another step best."""
        return self.out / "checkpoints" / f"best-{step}"

    def _best_step(self) -> int:
        """Return the first of the steps with the highest first measure."""
        return max(self.evaluations, key=lambda step: (next(iter(self.evaluations[step].values())), -step))

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            evaluations = {str(step): measures for step, measures in self.evaluations.items()}
            facts = {"evaluations": evaluations, "run": self._fixed_facts()}
            save_checkpoint(self.out / "checkpoints", self.step, self.method, self.optimizer, facts)
            best = self._best_folder(self._best_step()) if self.evaluations else None
            for old in (self.out / "checkpoints").glob("best-*"):
                if old != best:
                    shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def _fixed_facts(self) -> dict[str, int]:
        """Return what must stay as it is for a resumed run to see the batches and rates that it would have seen."""
        return {
            "processes": self.accelerator.num_processes,
            "steps": self.settings.steps,
            "pairs": len(self.batches.source),
            "seed": self.settings.seed,
        }

    def _restore(self) -> None:
        found = checkpoints(self.out / "checkpoints")
        if found:
            facts = load_checkpoint(found[-1], self.method, self.optimizer)
            if odd := [name for name, value in self._fixed_facts().items() if facts["run"][name] != value]:
                said = ", ".join(f"{facts['run'][name]} {name}, now {self._fixed_facts()[name]}" for name in odd)
                raise ArtifactError(found[-1], f"cannot continue: it had {said}")
            self.step = int(facts["step"])
            self.evaluations = {int(step): measures for step, measures in facts["evaluations"].items()}

    def _finish(self) -> TrainingResult:
        """Put the chosen weights into the encoder."""
        self.method.eval()
        kept = self.step
        if self.settings.keep == "best" and self.evaluations:
            kept = self._best_step()
            if kept != self.step:
                path = self._best_folder(kept) / "encoder.pt"
                self.method.encoder.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return TrainingResult(self.step, kept, self.evaluations)


def _decay_groups(method: Method, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups: weight decay on matrices, none on biases and norms."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _start_worker(number: int) -> None:  # noqa: ARG001 (torch's signature)
    """Keep tokenizers to the worker's own thread: threads of the process that it was forked from are not in it."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@contextmanager
def _interruptible(catch: bool) -> Iterator[list[bool]]:
    """Yield a list that is filled at the first Ctrl-C, so that the step in progress can end; a second one interrupts.

    With several processes the signal is left alone: they would stop at different steps and wait for each other.
    """
    pressed: list[bool] = []
    if not catch or threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def press(signum: int, frame: FrameType | None) -> None:
        if pressed:
            previous(signum, frame) if callable(previous) else signal.default_int_handler(signum, None)
        pressed.append(True)

    previous = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, previous)
