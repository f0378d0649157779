"""The loop, on Accelerate: one process or many, plain or through the gradient cache, resumable bit for bit on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor

from textcl.errors import ArtifactError, PromiseError
from textcl.methods.method import Method, PairBatch
from textcl.progress import Advance, Progress, Say, quiet, silent
from textcl.training.averaging import WeightAverage
from textcl.training.batches import Batches, load
from textcl.training.best import Best
from textcl.training.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from textcl.training.interrupts import interruptible
from textcl.training.journal import Journal
from textcl.training.meter import Meter, in_words
from textcl.training.optimizer import parameter_groups
from textcl.training.probe import Probe
from textcl.training.refresh import Refresh
from textcl.training.settings import TrainingResult, TrainingSettings
from textcl.training.step import one_step
from textcl.training.watch import Unhealthy, Watch, unnamed

Evaluate = Callable[[], Mapping[str, float]]


_ROLLBACKS = 3


class Trainer:
    """Trains a method in place.

    Args:
        method: Its encoder is what the run is for.
        batches: Batch m of this process.
        settings: Numbers of the loop.
        out: The run's folder: journal, TensorBoard curves and checkpoints go there.
        accelerator: Decides device, precision and processes.
        evaluate: Measures of the encoder as it stands, first the one to choose by; called on the first process alone.
        probe: The pairs on which the health is looked at; needed with `settings.health`.
        warn: Told what is wrong with a run that goes on all the same.
        refresh: Replaces the only source now and then.
    """

    def __init__(
        self,
        method: Method,
        batches: Batches,
        settings: TrainingSettings,
        out: Path,
        accelerator: Accelerator,
        evaluate: Evaluate | None = None,
        probe: Probe | None = None,
        warn: Say = silent,
        refresh: Refresh | None = None,
    ) -> None:
        self.method, self.batches, self.settings, self.out = method, batches, settings, out
        self.accelerator, self.evaluate, self.refresh = accelerator, evaluate, refresh
        self.watch = Watch(method, settings.health, probe, warn if accelerator.is_main_process else silent)
        method.to(accelerator.device)
        groups = parameter_groups(
            method, settings.weight_decay, layer_decay=settings.layer_decay, head_rate=settings.head_rate
        )
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        self.average = None if settings.average is None else WeightAverage(method.encoder, settings.average)
        self.best = Best(out / "checkpoints", settings.choice)
        self.meter = Meter(method, accelerator.num_processes, settings.peak_flops)
        self.step = 0
        self.rollbacks = 0

    def train(self, *, resume: bool = False, progress: Progress = quiet) -> TrainingResult:
        """Run to the last step, from the newest checkpoint with `resume`.

        Raises:
            PromiseError: If the loss or a weight is no finite number, or the embeddings collapse; the last good
                checkpoint stands.
            KeyboardInterrupt: On Ctrl-C, after the step in progress and a checkpoint of it.
        """
        if resume:
            self._restore()
        wrapped, optimizer = self.accelerator.prepare(self.method, self.optimizer)
        kept = None if not resume else -1 if self.step == 0 and self.watch.begin is None else self.step
        journal = Journal(self.out, kept) if self.accelerator.is_main_process else None
        try:
            with interruptible(self.accelerator.num_processes == 1) as interrupted:
                with progress("train", self.settings.steps) as advance:
                    advance(self.step)
                    self._begin(journal)
                    while not self._is_done():
                        try:
                            self._run(wrapped, optimizer, journal, interrupted, advance)
                        except Unhealthy as found:
                            back = self._roll_back(str(found), journal)
                            advance(-back)
        finally:
            if journal is not None:
                journal.close()
        return self._finish()

    def _begin(self, journal: Journal | None) -> None:
        """Look at the health that all later looks are compared with, and make sure that there is a way back."""
        if self.watch.begin is None:
            health = self.watch.start()
            if journal is not None:
                journal.write(0, health)
        if self.watch.policy == "rollback" and not checkpoints(self.out / "checkpoints"):
            self._save()

    def _is_done(self) -> bool:
        over = [self.step >= self.settings.steps or self.best.patience_is_over]
        broadcast_object_list(over)
        return over[0]

    def _run(
        self,
        wrapped: Any,  # noqa: ANN401
        optimizer: Any,  # noqa: ANN401
        journal: Journal | None,
        interrupted: list[bool],
        advance: Advance,
    ) -> None:
        """Go on from where the run is, until it is done."""
        self.meter.go_on()
        for batches in self.meter.watched(self._steps(journal)):
            share = 0.5**self.rollbacks
            values = one_step(self.accelerator, wrapped, optimizer, batches, self.step, self.settings, share)
            self.step += 1
            if self.average is not None:
                self.average.update()
            self.meter.add(batches)
            advance(1)
            evaluated = self._after_step(values, journal, bool(interrupted), advance)
            if evaluated and self._is_done():
                return

    def _steps(self, journal: Journal | None) -> Iterator[list[PairBatch]]:
        """Yield the batches of each optimizer step that is still to do, with the sources refreshed in time."""
        every = None if self.refresh is None else self.refresh.every
        while self.step < self.settings.steps:
            end = self.settings.steps
            if self.refresh is not None and every is not None:
                begin = self.step - self.step % every
                end = min(end, begin + every)
                source, numbers = self.refresh.at(begin, self.step)
                self.batches.sources = (source,)
                if journal is not None:  # it is of the first step that it is for, and goes with that where it is undone
                    journal.write(begin + 1, numbers)
            yield from load(self.batches, self.step, end, self.settings.accumulate_steps, self.settings.workers)

    def _after_step(
        self, values: dict[str, Tensor], journal: Journal | None, interrupted: bool, advance: Advance
    ) -> bool:
        """Write the journal, look at the health, evaluate and save where it is time; tell whether it was evaluated.

        Raises:
            Unhealthy: If the state is none to go on from; nothing is evaluated and saved then.
            KeyboardInterrupt: If a stop was asked for, after all of it.
        """
        settings, last = self.settings, self.step == self.settings.steps
        log, save, evaluate = (
            every is not None and self.step % every == 0
            for every in (settings.log_every, settings.save_every, settings.evaluate_every)
        )
        evaluate = (evaluate or last) and (self.evaluate is not None or settings.choice.by is not None)
        look = self.watch.is_due(self.step)
        if not (log or save or evaluate or look or last or interrupted):
            return False
        numbers = {name: value.item() for name, value in values.items()}  # the only place that waits for the device
        self.meter.pause()
        look = look or save or evaluate or last or interrupted
        self.watch.check_finite(self.step, numbers["loss"], weights=look)
        numbers |= self.watch.look(self.step) if look else {}
        speed = self.meter.read() if log or last else {}
        if speed:
            advance(0, in_words(speed))
        if journal is not None and all(map(math.isfinite, numbers.values())):
            counts = self.batches.contributed(self.step * settings.accumulate_steps)
            journal.write(self.step, {**numbers, **counts, **speed})
        if look:
            self.watch.judge(self.step, numbers)
        if evaluate:
            self._evaluate(journal, numbers)
        if save or interrupted:
            self._save()
        if interrupted:
            raise KeyboardInterrupt
        self.meter.go_on()
        return evaluate

    def _roll_back(self, said: str, journal: Journal | None) -> int:
        """Return to the last checkpoint with half the learning rate; return how many steps that undoes.

        Raises:
            PromiseError: If the policy is another, or this has been done often enough.
        """
        found = checkpoints(self.out / "checkpoints")
        if self.watch.policy != "rollback" or not found:
            raise PromiseError(f"training stopped: {said}, then start again")
        if self.rollbacks == _ROLLBACKS:
            raise PromiseError(f"training stopped after {_ROLLBACKS} rollbacks: {said}, then start again")
        self.accelerator.wait_for_everyone()
        reached, rollbacks = self.step, self.rollbacks + 1
        self._restore()
        self.rollbacks = rollbacks
        self._save()  # so that a resume knows of it
        if journal is not None:
            journal.rewind(self.step, "rollbacks")
            journal.write(self.step, {"rollbacks": rollbacks})
            self.watch.warn(f"{said}; back at step {self.step}, with {0.5**rollbacks:g} of the learning rate")
        return reached - self.step

    def _averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the encoder has the weights that the run would leave."""
        return nullcontext() if self.average is None else self.average.applied()

    def _evaluate(self, journal: Journal | None, numbers: Mapping[str, float]) -> None:
        """Measure the encoder on the first process, and keep a copy of it where it is the best so far."""
        if self.accelerator.is_main_process and journal is not None:
            with self._averaged():
                measures = {} if self.evaluate is None else dict(self.evaluate())
                journal.write(self.step, measures)
                # With an average, the weights that are kept are others than those that the watch looked at.
                measures |= unnamed(numbers if self.average is None else self.watch.look_alone(self.step))
                if measures:
                    self.best.add(self.step, measures, self.method.encoder)
        self.accelerator.wait_for_everyone()

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            facts = {
                "evaluations": {str(step): measures for step, measures in self.best.evaluations.items()},
                "run": self._fixed_facts(),
                "health_at_begin": self.watch.begin,
                "rollbacks": self.rollbacks,
            }
            save_checkpoint(self.out / "checkpoints", self.step, self._parts(), facts)
            self.best.tidy()
        self.accelerator.wait_for_everyone()

    def _parts(self) -> dict[str, Any]:
        """Return everything whose state a resume needs."""
        parts = {"method": self.method, "optimizer": self.optimizer}
        return parts if self.average is None else {**parts, "average": self.average}

    def _fixed_facts(self) -> dict[str, int]:
        """Return what must stay as it is for a resumed run to see the batches and rates that it would have seen."""
        return {
            "processes": self.accelerator.num_processes,
            "steps": self.settings.steps,
            "pairs": self.batches.pairs,
            "seed": self.settings.seed,
        }

    def _restore(self) -> None:
        found = checkpoints(self.out / "checkpoints")
        if found:
            facts = load_checkpoint(found[-1], self._parts())
            if odd := [name for name, value in self._fixed_facts().items() if facts["run"][name] != value]:
                said = ", ".join(f"{facts['run'][name]} {name}, now {self._fixed_facts()[name]}" for name in odd)
                raise ArtifactError(found[-1], f"cannot continue: it had {said}")
            self.step, self.rollbacks = int(facts["step"]), int(facts["rollbacks"])
            self.watch.begin = facts["health_at_begin"]
            self.best.evaluations = {int(step): measures for step, measures in facts["evaluations"].items()}
        if self.refresh is not None:
            self.refresh.forget(self.step)

    def _finish(self) -> TrainingResult:
        """Put the chosen weights into the encoder."""
        self.method.eval()
        kept = self.step
        if self.average is not None:
            self.average.apply()
        if self.settings.choice.keep == "best" and self.best.evaluations and self.best.step != self.step:
            kept = self.best.step
            self.best.load(self.method.encoder)
        return TrainingResult(self.step, kept, self.best.evaluations)
