"""Numbers of the loop, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

from textcl.training.health import Limits


@dataclass(frozen=True)
class HealthSettings:
    """When to look whether the embeddings collapse, and what to do then.

    Args:
        every: Steps between looks; there is one before each checkpoint too.
        policy: `warn` says so and goes on; `stop` ends the run; `rollback` goes on from the last checkpoint at half the
            learning rate, three times at most.
        limits: What counts as a collapse.
    """

    every: int = 50
    policy: str = "stop"
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class ChoiceSettings:
    """Which step's weights a run leaves.

    Args:
        keep: `best` by one measure of the evaluations, or `last`.
        by: That measure; None takes the first.
        patience: Evaluations without a better one before the run ends; None goes to the last step.
    """

    keep: str = "last"
    by: str | None = None
    patience: int | None = None


@dataclass(frozen=True)
class TrainingSettings:
    """Numbers of the loop; ranges are checked in the recipe.

    Args:
        steps: Optimizer steps of the whole run.
        learning_rate: Peak of the schedule.
        schedule: linear, cosine or constant, after the warm-up.
        warmup_fraction: Share of the steps in which the rate rises.
        layer_decay: Factor of the rate from each layer to the one below it; None: all layers alike.
        head_rate: Factor of the rate for what is not the encoder's.
        average: Decay of a moving average of the encoder's weights, which is evaluated and left; None: no average.
        weight_decay: AdamW's, on matrices alone.
        clip_norm: Largest norm of all gradients together; None does not clip.
        accumulate_steps: Batches whose gradients are averaged before one optimizer step; they add no negatives.
        chunk_rows: Token rows held at a time by the gradient cache.
        chunk_tokens: Tokens held at a time by it, instead; with neither, the batch runs whole.
        workers: Processes that draw views; 0 draws them in this one.
        log_every: Steps between journal lines.
        save_every: Steps between checkpoints; None writes none but on Ctrl-C.
        evaluate_every: Steps between evaluations; None evaluates at the end alone.
        choice: Which step's weights are left.
        health: None never looks.
        seed: Decides dropout; order and views have it from their source.
        peak_flops: Floating-point operations a second that the machines of all processes can do, which the journal
            compares with; None where nobody measured.
    """

    steps: int
    learning_rate: float = 2e-5
    schedule: str = "linear"
    warmup_fraction: float = 0.1
    layer_decay: float | None = None
    head_rate: float = 1.0
    average: float | None = None
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    accumulate_steps: int = 1
    chunk_rows: int | None = None
    chunk_tokens: int | None = None
    workers: int = 0
    log_every: int = 10
    save_every: int | None = None
    evaluate_every: int | None = None
    choice: ChoiceSettings = ChoiceSettings()
    health: HealthSettings | None = None
    seed: int = 0
    peak_flops: float | None = None


@dataclass(frozen=True)
class TrainingResult:
    """Steps done, the step whose weights the method's encoder now has, and the evaluations by step."""

    steps: int
    kept_step: int
    evaluations: dict[int, dict[str, float]]
