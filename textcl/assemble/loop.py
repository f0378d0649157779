"""The `training` section of a recipe → batches and the numbers of the loop."""

from __future__ import annotations

from accelerate import Accelerator

from textcl.assemble.development import choice_of
from textcl.errors import ConfigError, DataError
from textcl.recipe.models import HealthRecipe, Recipe
from textcl.training.batches import Batches, PairSource
from textcl.training.health import Limits
from textcl.training.settings import HealthSettings, TrainingSettings


def make_batches(source: PairSource, recipe: Recipe, accelerator: Accelerator) -> Batches:
    """Return the batches of this process; their length is set later.

    Raises:
        ConfigError: If a batch, or a queue of negatives, is too small.
        DataError: If there are too few pairs.
    """
    rank, processes = accelerator.process_index, accelerator.num_processes
    try:
        batches = Batches(source, recipe.training.batch_size, rank, processes)
    except ConfigError as error:
        raise error.within("training") from None
    except DataError as error:
        raise DataError(error.problem, recipe.data.train) from None
    queue = getattr(recipe.method, "queue_size", 0)
    if 0 < queue < batches.batch_size * processes:
        expected = f"at least {batches.batch_size * processes}, the pairs of a step, or 0 for no queue"
        raise ConfigError("method.queue_size", queue, expected)
    return batches


def make_settings(recipe: Recipe, batches_per_epoch: int) -> TrainingSettings:
    """Return the numbers of a recipe's loop."""
    loop = recipe.training
    steps = max(1, round(batches_per_epoch * loop.epochs / loop.accumulate_steps))
    steps = steps if loop.max_steps is None else min(steps, loop.max_steps)
    return TrainingSettings(
        steps=steps,
        learning_rate=loop.learning_rate,
        schedule=loop.schedule,
        warmup_fraction=loop.warmup_fraction,
        layer_decay=loop.layer_decay,
        head_rate=loop.head_rate,
        average=loop.average,
        weight_decay=loop.weight_decay,
        clip_norm=loop.clip_norm,
        accumulate_steps=loop.accumulate_steps,
        chunk_rows=loop.chunk_rows,
        workers=loop.workers,
        log_every=loop.log_every,
        save_every=loop.save_every,
        evaluate_every=loop.evaluate_every,
        choice=choice_of(recipe),
        health=_health(loop.health),
        seed=recipe.seed,
    )


def _health(recipe: HealthRecipe | None) -> HealthSettings | None:
    if recipe is None:
        return None
    limits = Limits(
        least_rank=recipe.least_rank,
        least_spread=recipe.least_spread,
        most_cosine=recipe.most_cosine,
        least_gap=recipe.least_gap,
    )
    return HealthSettings(recipe.every, recipe.policy, limits)
