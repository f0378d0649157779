"""The `training` section of a recipe → batches and the numbers of the loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from accelerate import Accelerator

from textcl.assemble.development import choice_of
from textcl.assemble.texts import AnyTexts, StreamedTexts
from textcl.errors import ConfigError, DataError
from textcl.methods.method import Method
from textcl.recipe.models import HealthRecipe, MixtureRecipe, Recipe
from textcl.training.batches import Batches
from textcl.training.health import Limits
from textcl.training.order import Alternating, Mixed, Order, Shuffled, Unique, source_seed
from textcl.training.settings import HealthSettings, TrainingSettings
from textcl.training.sources import Source


def make_batches(
    sources: Sequence[Source], texts: Sequence[AnyTexts], recipe: Recipe, method: Method, accelerator: Accelerator
) -> Batches:
    """Return the batches of this process; their length is set later.

    Raises:
        ConfigError: If a batch, or a queue of negatives, is too small, a chunk too large, or rows of a group must meet
            that may not.
        DataError: If there are too few pairs.
    """
    rank, processes = accelerator.process_index, accelerator.num_processes
    try:
        batches = Batches(
            sources,
            recipe.training.batch_size,
            rank,
            processes,
            order=lambda step: _order(texts, recipe, step),
            names=[one.name for one in texts if one.name],
        )
    except ConfigError as error:
        raise error.within("training") from None
    except DataError as error:
        files = error.file or ", ".join(part.train for part in recipe.data.parts)
        raise DataError(error.problem, files) from None
    queue = getattr(recipe.method, "queue_size", 0)
    if 0 < queue < batches.batch_size * processes:
        expected = f"at least {batches.batch_size * processes}, the pairs of a step, or 0 for no queue"
        raise ConfigError("method.queue_size", queue, expected)
    if recipe.training.chunk_rows is not None:
        _check_chunk(recipe.training.chunk_rows, sources, method, batches.batch_size)
    return batches


def _check_chunk(chunk_rows: int, sources: Sequence[Source], method: Method, batch_size: int) -> None:
    """Raise ConfigError if a chunk would be larger than a batch, where the cache would cost and save nothing.

    Only rows can be: a budget of tokens that a batch stays below is one for the batches that do not.
    """
    sides = max(source.draw(np.arange(1), 0).sides for source in sources)
    rows = batch_size * method.trained_sides(sides)
    if chunk_rows > rows:
        raise ConfigError("training.chunk_rows", chunk_rows, f"at most {rows}, the trained token rows of a batch")


def _order(texts: Sequence[AnyTexts], recipe: Recipe, step: int) -> Order:
    """Return the order of all rows, `step` of them at a time."""
    data, blocks = recipe.data, [part.stream for part in recipe.data.parts]
    if not isinstance(data, MixtureRecipe):
        return _order_of(texts[0], recipe, step, recipe.seed)
    counts = [len(one) for one in texts]
    weights = [
        float(count if part.weight is None else part.weight) for part, count in zip(data.sources, counts, strict=True)
    ]
    per_epoch = max(1, sum(counts) // step)
    if data.batches == "mixed":
        return Mixed(counts, weights, step, per_epoch, recipe.seed, blocks)
    for number, count in enumerate(counts):
        if count < step:
            problem = f"has {count} rows, fewer than the {step} pairs of a step; take data.batches: mixed, or less"
            raise DataError(problem, data.sources[number].train)
    orders = [_order_of(one, recipe, step, source_seed(recipe.seed, number)) for number, one in enumerate(texts)]
    return Alternating(orders, weights, per_epoch)


def _order_of(texts: AnyTexts, recipe: Recipe, step: int, seed: int) -> Order:
    if isinstance(texts, StreamedTexts):
        return Shuffled(len(texts), step, seed, texts.block)
    if recipe.training.unique_batches:
        return Unique(texts.groups, step, seed)
    return Shuffled(len(texts), step, seed)


def make_settings(recipe: Recipe, batches_per_epoch: int, peak_flops: float | None = None) -> TrainingSettings:
    """Return the numbers of a recipe's loop; `peak_flops` as the settings have it."""
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
        chunk_tokens=loop.chunk_tokens,
        workers=loop.workers,
        log_every=loop.log_every,
        save_every=loop.save_every,
        evaluate_every=loop.evaluate_every,
        choice=choice_of(recipe),
        health=_health(loop.health),
        seed=recipe.seed,
        peak_flops=peak_flops,
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
