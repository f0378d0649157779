"""What a run does about its health, and which weights it leaves."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from tests.journals import journal_without_speed
from tests.methods.every import EVERY, fresh_method
from tests.training.pairs import new_simclr, new_trainer, pair_source, states_equal
from textcl.errors import PromiseError
from textcl.methods.simclr import SimCLR
from textcl.training.averaging import WeightAverage
from textcl.training.checkpoint import checkpoints
from textcl.training.journal import read_journal
from textcl.training.settings import ChoiceSettings, HealthSettings
from textcl.views.cropping import Crop

PLAIN = {"hidden": 32, "out": 32, "norm": "none"}
# Heads with which the whole method keeps its spread; without its one ingredient it falls to a point.
SOUND = {
    "simsiam": {"projector": PLAIN, "predictor": {"hidden": 32}},
    "byol": {"projector": {**PLAIN, "norm": "layer"}, "predictor": {"hidden": 32}},
}
MISSING = {"simsiam": {"stop_gradient": False}, "byol": {"predictor": None}}
ADVICE = {
    "simsiam": "Set method.stop_gradient: true; without it both sides agree on one point, then start again",
    "byol": "Give method.predictor its layers: without it both sides agree on one point, then start again",
}


@pytest.fixture
def start(tiny_model_folder, tiny_corpus, tmp_path):
    """Makes a trainer of 60 texts that looks at their health at every fifth step; what it warns of is in `said`."""
    made = []

    def make(method, *, out=None, policy="stop", every=5, **settings):
        source = pair_source(method.encoder, tiny_corpus, first=Crop(0.4, 0.9), second=Crop(0.4, 0.9))
        out = out or tmp_path / f"run-{len(made)}"
        settings = {"steps": 40, "learning_rate": 3e-3, "log_every": 5, "batch_size": 16, "head_rate": 3.0, **settings}
        said = []
        health = None if policy is None else HealthSettings(every, policy)
        trainer = new_trainer(method, source, out, health=health, warn=said.append, **settings)
        trainer.said = said
        made.append(trainer)
        return trainer

    return make


def values(trainer, name):
    return {line["step"]: line["value"] for line in read_journal(trainer.out / "journal.jsonl") if line["name"] == name}


@pytest.fixture
def collapsing(tiny_model_folder):
    """A fresh method that will collapse."""
    return lambda name="byol": fresh_method(name, tiny_model_folder, **{**SOUND[name], **MISSING[name]})


@pytest.mark.parametrize("name", ["simsiam", "byol"])
def test_without_its_one_ingredient_a_method_collapses_and_is_stopped(start, collapsing, name):
    trainer = start(collapsing(name), save_every=1)
    with pytest.raises(PromiseError) as stopped:
        trainer.train()
    said = str(stopped.value)
    assert said.startswith(f"training stopped: step {trainer.step}: the embeddings collapse to one point: spread 0.")
    assert said.endswith(ADVICE[name])
    assert trainer.step < 40
    # The loss gave no sign: it fell all the way.
    losses = list(values(trainer, "loss").values())
    assert losses[-1] < losses[0]
    # No checkpoint holds collapsed weights, and the numbers that show the collapse are in the journal.
    newest = checkpoints(trainer.out / "checkpoints")[-1]
    assert newest.name == f"step-{trainer.step - 1}"
    spread = values(trainer, "health/spread")
    assert spread[trainer.step] < 0.5 * spread[0] <= spread[trainer.step - 1]


@pytest.mark.parametrize("name", ["simsiam", "byol"])
def test_the_whole_method_stays_healthy_and_the_watch_silent(start, tiny_model_folder, name):
    trainer = start(fresh_method(name, tiny_model_folder, **SOUND[name]), policy="warn")
    assert trainer.train().steps == 40
    assert trainer.said == []
    assert list(values(trainer, "health/effective_rank")) == [0, *range(5, 41, 5)]


def test_a_warning_comes_at_each_look_and_the_run_goes_on(start, collapsing):
    trainer = start(collapsing(), policy="warn", steps=25)
    assert trainer.train().steps == 25
    assert len(trainer.said) >= 4
    assert all("the embeddings collapse" in said for said in trainer.said)
    assert trainer.said[-1].startswith("step 25: ")


def test_without_health_nothing_is_looked_at(start, collapsing):
    trainer = start(collapsing(), policy=None, steps=25)
    trainer.train()
    names = {line["name"] for line in journal_without_speed(trainer.out / "journal.jsonl")}
    assert not [name for name in names if "/" in name]


def test_looking_changes_nothing_in_training(start, tiny_model_folder):
    runs = [
        start(fresh_method("moco", tiny_model_folder), policy=policy, every=1, steps=4) for policy in ("stop", None)
    ]
    for trainer in runs:
        trainer.train()
    assert states_equal(*(trainer.method.state_dict() for trainer in runs))


def test_a_rollback_halves_the_rate_three_times_and_then_gives_up(start, collapsing):
    trainer = start(collapsing(), policy="rollback", save_every=3, log_every=1, schedule="constant", warmup_fraction=0)
    with pytest.raises(PromiseError, match=r"^training stopped after 3 rollbacks: step \d+: the embeddings collapse"):
        trainer.train()
    assert len(trainer.said) == 3
    assert trainer.said[0].endswith("with 0.5 of the learning rate")
    assert trainer.said[2].endswith("with 0.125 of the learning rate")
    assert trainer.rollbacks == 3
    rates = values(trainer, "learning_rate")
    assert rates[max(rates)] == pytest.approx(3e-3 / 8)
    # Each step is in the journal once, as it went in the end.
    lines = [(line["step"], line["name"]) for line in read_journal(trainer.out / "journal.jsonl")]
    assert len(set(lines)) == len(lines)


def test_an_encoder_that_is_broken_already_is_not_trained(start, tiny_model_folder):
    method = fresh_method("pairs", tiny_model_folder)
    with torch.no_grad():
        for name, one in method.encoder.named_parameters():
            if "LayerNorm" in name:
                one.zero_()
    trainer = start(method)
    with pytest.raises(PromiseError, match=r"^training cannot start: step 0: the embeddings collapse.*other data$"):
        trainer.train()
    assert trainer.step == 0


class Explodes(SimCLR):
    """Its loss is no number at the sixth step, the first time it comes there."""

    step, exploded = 0, False

    def loss(self, embeddings, fixed, batch):
        output = super().loss(embeddings, fixed, batch)
        if self.step == 5 and not self.exploded:
            self.exploded = True
            return type(output)(output.loss * math.nan, output.diagnostics)
        return output

    def after_update(self, step):
        self.step = step


def test_a_loss_that_is_no_number_is_rolled_back_too(start, tiny_model_folder):
    method = new_simclr(tiny_model_folder, kind=Explodes)
    trainer = start(method, policy="rollback", steps=12, save_every=4, log_every=1)
    assert trainer.train().steps == 12
    (said,) = trainer.said
    assert said.startswith("the loss is nan at step 6; ")
    assert said.endswith("; back at step 4, with 0.5 of the learning rate")
    assert values(trainer, "rollbacks") == {4: 1}
    assert sorted(values(trainer, "loss")) == list(range(1, 13))
    assert all(one.isfinite().all() for one in method.parameters())


def test_there_is_a_way_back_before_the_first_checkpoint(start, tiny_model_folder):
    trainer = start(new_simclr(tiny_model_folder, kind=Explodes), policy="rollback", steps=8, log_every=1)
    trainer.train()
    assert trainer.said[0].endswith("; back at step 0, with 0.5 of the learning rate")


class StoppedError(Exception):
    pass


def test_a_run_that_was_rolled_back_resumes_to_the_same_bits(start, tiny_model_folder):
    """Killed after the rollback and before the next checkpoint: the second run must know of the first one's fall."""
    settings = {"policy": "rollback", "steps": 12, "save_every": 4, "log_every": 1, "evaluate_every": 1}
    runs = []
    for stop_at in (None, 7):
        method = new_simclr(tiny_model_folder, kind=Explodes)
        trainer = start(method, **settings)

        def look(trainer=trainer, stop_at=stop_at):
            if trainer.step == stop_at and trainer.rollbacks:
                raise StoppedError
            return {"ndcg@10": trainer.step / 100}

        trainer.evaluate = look
        runs.append(trainer)
    whole, stopped = runs
    whole.train()
    with pytest.raises(StoppedError):
        stopped.train()
    method = new_simclr(tiny_model_folder, kind=Explodes)
    method.exploded = True
    resumed = start(method, out=stopped.out, **settings)
    resumed.evaluate = lambda: {"ndcg@10": resumed.step / 100}
    resumed.train(resume=True)
    assert resumed.rollbacks == 1
    assert states_equal(resumed.method.state_dict(), whole.method.state_dict())
    assert journal_without_speed(resumed.out / "journal.jsonl") == journal_without_speed(whole.out / "journal.jsonl")


@pytest.mark.parametrize("policy", ["stop", "rollback"])
def test_a_run_killed_before_its_first_checkpoint_has_one_begin_in_its_journal(start, tiny_model_folder, policy):
    settings = {"steps": 3, "log_every": 1, "evaluate_every": 1, "policy": policy}
    whole, stopped = (start(fresh_method("pairs", tiny_model_folder), **settings) for _run in range(2))
    whole.evaluate = lambda: {"ndcg@10": 0.0}
    whole.train()

    def stop():
        raise StoppedError

    stopped.evaluate = stop
    with pytest.raises(StoppedError):
        stopped.train()
    resumed = start(fresh_method("pairs", tiny_model_folder), out=stopped.out, **settings)
    resumed.evaluate = whole.evaluate
    resumed.train(resume=True)
    assert journal_without_speed(resumed.out / "journal.jsonl") == journal_without_speed(whole.out / "journal.jsonl")


@pytest.mark.parametrize("name", EVERY)
def test_every_method_resumes_to_the_bits_of_a_run_that_never_stopped(start, tiny_model_folder, name):
    settings = {
        "steps": 9,
        "save_every": 2,
        "log_every": 1,
        "every": 3,
        "average": 0.9,
        "evaluate_every": 1,
        "policy": "warn",
    }
    stop_at = 1 + torch.randint(8, (), generator=torch.Generator().manual_seed(len(name))).item()
    whole, stopped = (start(fresh_method(name, tiny_model_folder), **settings) for _run in range(2))
    whole.evaluate = lambda: {"ndcg@10": 0.0}
    whole.train()

    def stop():
        if stopped.step == stop_at:
            raise StoppedError
        return {"ndcg@10": 0.0}

    stopped.evaluate = stop
    with pytest.raises(StoppedError):
        stopped.train()
    resumed = start(fresh_method(name, tiny_model_folder), **settings, out=stopped.out)
    resumed.evaluate = whole.evaluate
    resumed.train(resume=True)
    assert states_equal(resumed.method.state_dict(), whole.method.state_dict())
    assert journal_without_speed(resumed.out / "journal.jsonl") == journal_without_speed(whole.out / "journal.jsonl")


def test_the_average_is_what_is_evaluated_and_left(start, tiny_model_folder):
    trainer = start(fresh_method("pairs", tiny_model_folder), steps=6, average=0.8, evaluate_every=1)
    by_hand = start(fresh_method("pairs", tiny_model_folder), steps=6, evaluate_every=1)
    average, seen = WeightAverage(by_hand.method.encoder, 0.8), []

    def follow():
        average.update()
        return {"ndcg@10": 0.0}

    def look():
        seen.append({name: one.detach().clone() for name, one in trainer.method.encoder.named_parameters()})
        return {"ndcg@10": 0.0}

    trainer.evaluate, by_hand.evaluate = look, follow
    trainer.train()
    by_hand.train()
    left = dict(trainer.method.encoder.named_parameters())
    trained = dict(by_hand.method.encoder.named_parameters())
    with average.applied():
        assert_close(left, trained, rtol=0, atol=0)
    assert_close(left, seen[-1], rtol=0, atol=0)
    assert any(not torch.equal(left[name], trained[name]) for name in left)


@pytest.mark.parametrize(
    ("scores", "patience", "steps", "kept"),
    [
        ([1, 3, 2, 2, 9, 9], 2, 4, 2),
        ([1, 3, 2, 4, 3, 3], 2, 6, 4),
        ([1, 3, 2, 2, 9, 9], None, 6, 5),
        ([3, 3, 3, 3, 3, 3], 1, 2, 1),
    ],
)
def test_a_run_without_a_better_evaluation_ends_after_its_patience(
    start, tiny_model_folder, scores, patience, steps, kept
):
    choice = ChoiceSettings("best", patience=patience)
    trainer = start(fresh_method("pairs", tiny_model_folder), steps=6, evaluate_every=1, choice=choice)
    trainer.evaluate = lambda: {"ndcg@10": float(scores[trainer.step - 1])}
    result = trainer.train()
    assert (result.steps, result.kept_step) == (steps, kept)


def test_any_measure_can_choose_and_lower_is_better_where_it_is(start, tiny_model_folder):
    kept = {}
    for by in ("recall@100", "uniformity", "effective_rank"):
        choice = ChoiceSettings("best", by)
        trainer = start(fresh_method("pairs", tiny_model_folder), steps=6, evaluate_every=1, choice=choice)
        trainer.evaluate = lambda trainer=trainer: {"ndcg@10": 1.0, "recall@100": float(trainer.step == 3)}
        result = trainer.train()
        kept[by] = result.kept_step
        health = {step: measures[by] for step, measures in result.evaluations.items()}
        assert result.kept_step == (min if by == "uniformity" else max)(health, key=health.get)
    assert kept["recall@100"] == 3


def test_layers_and_heads_have_rates_of_their_own(start, tiny_model_folder):
    trainer = start(fresh_method("simclr", tiny_model_folder), steps=1, layer_decay=0.5, head_rate=10.0)
    trainer.train()
    rates = sorted({group["lr"] for group in trainer.optimizer.param_groups if group["params"]})
    assert rates == pytest.approx([3e-3 / 4, 3e-3 / 2, 3e-3, 3e-2])
