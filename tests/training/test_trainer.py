from __future__ import annotations

import math
import re

import pytest
import torch
from torch.testing import assert_close

from tests.journals import journal_without_speed
from tests.training.pairs import Seeded, gradients, new_simclr, new_trainer, pair_source, states_equal
from textcl.errors import PromiseError
from textcl.methods.simclr import SimCLR
from textcl.training.journal import read_journal
from textcl.training.settings import ChoiceSettings
from textcl.views.cropping import Crop
from textcl.views.view import Chain


@pytest.fixture
def start(tiny_model_folder, tiny_corpus, tmp_path):
    """Makes a trainer of a fresh method on 18 texts, in a folder of its own; `texts` and `method` can be others."""
    made = []

    def make(*, method=None, out=None, seed=0, **settings):
        method = method or new_simclr(tiny_model_folder, projector=True)
        source = pair_source(method.encoder, tiny_corpus[:18], seed=seed, first=Crop(0.3, 0.9), second=Chain())
        out = out or tmp_path / f"run-{len(made)}"
        made.append(new_trainer(method, source, out, seed=seed, **{"learning_rate": 1e-3, "log_every": 1, **settings}))
        return made[-1]

    return make


def values(trainer, name):
    return {line["step"]: line["value"] for line in read_journal(trainer.out / "journal.jsonl") if line["name"] == name}


def test_training_lowers_the_loss_and_says_so_in_the_journal(start, tiny_model_folder):
    method = new_simclr(tiny_model_folder, dropout=0.0)
    trainer = start(method=method, steps=30, batch_size=9, learning_rate=3e-3)
    result = trainer.train()
    losses = list(values(trainer, "loss").values())
    assert (result.steps, result.kept_step, result.evaluations) == (30, 30, {})
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    names = {line["name"] for line in journal_without_speed(trainer.out / "journal.jsonl")}
    diagnostics = {"positive_cosine", "negative_cosine", "masked_fraction", "masked_text_fraction"}
    assert names == {"loss", "gradient_norm", "learning_rate"} | diagnostics


def test_the_same_seed_gives_the_same_bits_and_another_does_not(start):
    runs = [start(steps=4, seed=seed) for seed in (0, 0, 1)]
    for trainer in runs:
        trainer.train()
    first, again, other = (trainer.method.state_dict() for trainer in runs)
    assert states_equal(first, again)
    assert not states_equal(first, other)


def test_what_ran_before_does_not_change_the_dropout_of_a_step(start):
    one, other = start(steps=3), start(steps=3)
    one.train()
    torch.rand(17)
    other.train()
    assert states_equal(one.method.state_dict(), other.method.state_dict())


def test_every_chunk_of_every_batch_of_every_step_drops_other_units(start, tiny_model_folder):
    method = new_simclr(tiny_model_folder, kind=Seeded)
    start(method=method, steps=2, accumulate_steps=2, chunk_rows=3).train()
    batches = [method.seeds[start : start + 5] for start in range(0, 2 * 2 * 5, 5)]  # three chunks, two of them twice
    assert [len(method.seeds), len(set(method.seeds))] == [2 * 2 * 5, 2 * 2 * 3]
    assert all(one[:2] == one[3:] for one in batches)


def test_the_loop_is_adamw_on_the_gradients_of_each_batch(start, tiny_model_folder):
    trainer = start(method=new_simclr(tiny_model_folder, dropout=0.0).double(), steps=3, clip_norm=None)
    by_hand = new_simclr(tiny_model_folder, dropout=0.0).double().train()
    matrices = [one for one in by_hand.parameters() if one.requires_grad and one.ndim > 1]
    others = [one for one in by_hand.parameters() if one.requires_grad and one.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}])
    for number, rate in enumerate((1e-3, 1e-3 * 2 / 3, 1e-3 / 3)):
        for group in optimizer.param_groups:
            group["lr"] = rate
        by_hand(batch=trainer.batches[number]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    trainer.train()
    assert values(trainer, "learning_rate") == pytest.approx({1: 1e-3, 2: 1e-3 * 2 / 3, 3: 1e-3 / 3})
    assert_close(dict(trainer.method.state_dict()), dict(by_hand.state_dict()), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("chunks", [{}, {"chunk_rows": 3}, {"chunk_tokens": 40}], ids=str)
def test_a_step_of_two_batches_has_their_averaged_gradient(start, tiny_model_folder, chunks):
    method = new_simclr(tiny_model_folder, dropout=0.0).double()
    trainer = start(method=method, steps=2, accumulate_steps=2, clip_norm=1e9, **chunks)
    by_hand = new_simclr(tiny_model_folder, dropout=0.0).double().train()
    losses = []
    for number in (0, 1):
        loss = by_hand(batch=trainer.batches[number]).loss / 2
        loss.backward()
        losses.append(loss.item())
    norm = torch.stack([one.norm() for one in gradients(by_hand).values()]).norm().item()
    trainer.train()
    assert values(trainer, "gradient_norm")[1] == pytest.approx(norm, rel=1e-9)
    assert values(trainer, "loss")[1] == pytest.approx(sum(losses), rel=1e-9)


def test_clipping_scales_all_gradients_together(start):
    limit = 0.01
    free, clipped = start(steps=1, clip_norm=1e9), start(steps=1, clip_norm=limit)
    for trainer in (free, clipped):
        trainer.train()
    norm = values(free, "gradient_norm")[1]
    assert norm > 10 * limit
    assert values(clipped, "gradient_norm")[1] == pytest.approx(norm)  # before clipping
    moments = [[state["exp_avg"] for state in trainer.optimizer.state.values()] for trainer in (free, clipped)]
    for moment, small in zip(*moments, strict=True):
        assert_close(small, moment * limit / norm, rtol=1e-3, atol=1e-9)


def test_weight_decay_is_for_matrices_alone(start):
    trainer = start(steps=1, weight_decay=0.25)
    decayed, free = trainer.optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.25, 0.0)
    assert {one.ndim for one in decayed["params"]} == {2}
    assert {one.ndim for one in free["params"]} == {1}
    trained = [one for one in trainer.method.parameters() if one.requires_grad]
    assert len(decayed["params"]) + len(free["params"]) == len(trained)


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("learning_rate", (1e-3, 2e-3)),
        ("schedule", ("linear", "cosine")),
        ("warmup_fraction", (0.0, 0.5)),
        ("weight_decay", (0.0, 0.5)),
        ("clip_norm", (None, 1e-6)),
        ("accumulate_steps", (1, 2)),
        ("chunk_rows", (None, 3)),
        ("chunk_tokens", (None, 40)),
        ("steps", (3, 4)),
        ("seed", (0, 1)),
        ("batch_size", (4, 5)),
    ],
)
def test_each_setting_of_the_step_changes_the_weights(start, option, values):
    found = []
    for value in values:
        trainer = start(**{"steps": 3, option: value})
        trainer.train()
        found.append(trainer.method.state_dict())
    assert not states_equal(*found)


def test_the_journal_has_a_line_at_its_steps_and_at_the_last(start):
    trainer = start(steps=7, log_every=3)
    trainer.train()
    assert list(values(trainer, "loss")) == [3, 6, 7]


def test_checkpoints_are_written_at_their_steps(start):
    often, never = start(steps=7, save_every=3), start(steps=7)
    for trainer in (often, never):
        trainer.train()
    assert sorted(path.name for path in (often.out / "checkpoints").iterdir()) == ["step-3", "step-6"]
    assert not (never.out / "checkpoints").exists()


class Told(SimCLR):
    """Keeps what it is told before and after each update."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.told = []

    def before_update(self, progress):
        self.told.append(progress)

    def after_update(self, step):
        self.told.append(step)


def test_a_method_is_told_how_far_the_run_is_before_each_update_and_its_number_after(start, tiny_model_folder):
    method = new_simclr(tiny_model_folder, kind=Told)
    start(method=method, steps=5, accumulate_steps=2).train()
    assert method.told == [0.0, 1, 0.25, 2, 0.5, 3, 0.75, 4, 1.0, 5]


class Scripted:
    """An evaluation that returns given scores one after the other, and remembers the weights that it saw."""

    def __init__(self, method, scores):
        self.method, self.scores, self.weights = method, list(scores), []

    def __call__(self):
        weights = {name: one.detach().clone() for name, one in self.method.encoder.state_dict().items()}
        self.weights.append(weights)
        return {"ndcg@10": self.scores[len(self.weights) - 1], "recall@100": -float(len(self.weights))}


@pytest.mark.parametrize(
    ("scores", "keep", "kept"),
    [
        ([0.1, 0.5, 0.3], "best", 4),
        ([0.5, 0.5, 0.3], "best", 2),
        ([0.1, 0.2, 0.3], "best", 5),
        ([0.1, 0.5, 0.3], "last", 5),
    ],
)
def test_the_run_leaves_the_weights_of_the_step_it_says(start, scores, keep, kept):
    trainer = start(steps=5, evaluate_every=2, choice=ChoiceSettings(keep))
    trainer.evaluate = scripted = Scripted(trainer.method, scores)
    result = trainer.train()
    assert list(result.evaluations) == [2, 4, 5]
    assert [found["ndcg@10"] for found in result.evaluations.values()] == scores
    assert result.kept_step == kept
    left = trainer.method.encoder.state_dict()
    assert [states_equal(left, seen) for seen in scripted.weights] == [step == kept for step in (2, 4, 5)]
    assert values(trainer, "ndcg@10") == dict(zip((2, 4, 5), scores, strict=True))
    assert not trainer.method.training


def test_evaluation_is_at_the_end_alone_unless_asked_for(start):
    trainer = start(steps=3)
    trainer.evaluate = Scripted(trainer.method, [0.5])
    assert list(trainer.train().evaluations) == [3]


def test_evaluation_changes_nothing_in_training(start):
    watched, alone = start(steps=4, evaluate_every=1), start(steps=4)

    def look():
        watched.method.eval()
        torch.rand(3)
        return {"ndcg@10": 0.0}

    watched.evaluate = look
    for trainer in (watched, alone):
        trainer.train()
    assert states_equal(watched.method.state_dict(), alone.method.state_dict())


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("settings", [{}, {"chunk_rows": 3, "accumulate_steps": 2}], ids=["plain", "cached"])
@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_a_resumed_run_equals_one_that_never_stopped(start, tiny_model_folder, settings, stop_at):
    """StoppedError before the first checkpoint, between two, and right behind the last one; also the best so far."""
    settings = {"steps": 8, "save_every": 3, "evaluate_every": 1, "choice": ChoiceSettings("best"), **settings}
    scores = [0.1, 0.2, 0.9, 0.3, 0.4, 0.5, 0.6, 0.7]
    whole = start(**settings)
    whole.evaluate = Scripted(whole.method, scores)
    expected = whole.train()
    stopped = start(**settings)

    def stop():
        if stopped.step == stop_at:
            raise StoppedError
        return {"ndcg@10": scores[stopped.step - 1], "recall@100": -float(stopped.step)}

    stopped.evaluate = stop
    with pytest.raises(StoppedError):
        stopped.train()
    resumed = start(out=stopped.out, **settings)
    resumed.evaluate = lambda: {"ndcg@10": scores[resumed.step - 1], "recall@100": -float(resumed.step)}
    assert resumed.train(resume=True) == expected
    assert expected.kept_step == 3
    assert states_equal(resumed.method.state_dict(), whole.method.state_dict())
    assert journal_without_speed(resumed.out / "journal.jsonl") == journal_without_speed(whole.out / "journal.jsonl")


def test_a_finished_run_resumes_to_the_same_weights(start):
    trainer = start(steps=4, save_every=2)
    trainer.train()
    again = start(out=trainer.out, steps=4, save_every=2)
    assert again.train(resume=True).steps == 4
    assert states_equal(again.method.state_dict(), trainer.method.state_dict())


class Broken(SimCLR):
    """Its loss is infinite from the third step on."""

    steps = 0

    def loss(self, embeddings, fixed, batch):
        output = super().loss(embeddings, fixed, batch)
        return type(output)(output.loss * (math.inf if self.steps >= 2 else 1.0), output.diagnostics)

    def after_update(self, step):
        self.steps = step


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_checkpoint(start, tiny_model_folder):
    trainer = start(method=new_simclr(tiny_model_folder, kind=Broken), steps=9, save_every=1)
    advice = "lower training.learning_rate or raise method.temperature, then start again"
    with pytest.raises(PromiseError, match=rf"^training stopped: the loss is inf at step 3; {re.escape(advice)}$"):
        trainer.train()
    assert [path.name for path in sorted((trainer.out / "checkpoints").iterdir())] == ["step-1", "step-2"]
    assert all(math.isfinite(value) for value in values(trainer, "loss").values())


def test_no_checkpoint_holds_weights_that_are_no_numbers(start, tiny_model_folder):
    """A rate that breaks the weights at the first step, while its loss is still a number."""
    trainer = start(method=new_simclr(tiny_model_folder), steps=9, save_every=1, learning_rate=1e38, clip_norm=None)
    with pytest.raises(PromiseError, match="training stopped"):
        trainer.train()
    for path in (trainer.out / "checkpoints").glob("step-*/state.pt"):
        state = torch.load(path)["method"]
        assert all(one.isfinite().all() for one in state.values())
