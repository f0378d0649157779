"""Ctrl-C and kills inside the loop, and how it goes on; tests/test_resume.py stops a real command."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.journals import journal_without_speed
from tests.training.pairs import new_simclr, new_trainer, pair_source, states_equal
from textcl.errors import ArtifactError
from textcl.training.checkpoint import checkpoints
from textcl.training.settings import ChoiceSettings, TrainingResult

STEPS = 6


class Pressing:
    """An evaluation in which Ctrl-C is pressed some times at one step."""

    trainer = None

    def __init__(self, at_step, times=1):
        self.at_step, self.times, self.ended = at_step, times, []

    def __call__(self):
        for _time in range(self.times if self.trainer.step == self.at_step else 0):
            signal.raise_signal(signal.SIGINT)
        self.ended.append(self.trainer.step)
        return {"ndcg@10": 0.5}


@pytest.fixture
def start(tiny_model_folder, tiny_corpus, tmp_path):
    def make(name, evaluate=None, **settings):
        method = new_simclr(tiny_model_folder)
        settings = {"steps": STEPS, "learning_rate": 1e-3, "log_every": 1, "evaluate_every": 1, **settings}
        evaluate = evaluate or Pressing(at_step=None)
        source = pair_source(method.encoder, tiny_corpus[:13])
        evaluate.trainer = new_trainer(method, source, tmp_path / name, evaluate=evaluate, **settings)
        return evaluate.trainer

    return make


def test_ctrl_c_ends_the_step_saves_it_and_leaves_the_old_handler(start):
    before = signal.getsignal(signal.SIGINT)
    pressing = Pressing(at_step=3)
    trainer = start("stopped", pressing)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    # The signal comes in the work after step 3, so step 4 is the one that sees it.
    assert pressing.ended == [1, 2, 3, 4]
    assert [path.name for path in checkpoints(trainer.out / "checkpoints")] == ["step-4"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_goes_on_from_ctrl_c_to_the_bits_of_one_that_never_stopped(start, workers):
    whole = start("whole")
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        start("stopped", Pressing(at_step=2), workers=workers).train()
    resumed = start("stopped", workers=workers)
    assert resumed.train(resume=True) == TrainingResult(STEPS, STEPS, whole.best.evaluations)
    assert states_equal(resumed.method.state_dict(), whole.method.state_dict())
    assert journal_without_speed(resumed.out / "journal.jsonl") == journal_without_speed(whole.out / "journal.jsonl")


def test_a_second_ctrl_c_does_not_wait_for_the_step(start):
    pressing = Pressing(at_step=3, times=2)
    trainer = start("stopped", pressing, save_every=1)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert pressing.ended == [1, 2]
    assert [path.name for path in checkpoints(trainer.out / "checkpoints")] == ["step-1", "step-2"]


class Noisy:
    """An evaluation whose score of a step depends on which time it is seen, as on a GPU; a kill comes at one step."""

    trainer = None

    def __init__(self, scores, kill_at=None):
        self.scores, self.kill_at, self.weights = scores, kill_at, {}

    def __call__(self):
        step = self.trainer.step
        if step == self.kill_at:
            raise KilledError
        weights = self.trainer.method.encoder.state_dict()
        self.weights[step] = {name: one.clone() for name, one in weights.items()}
        return {"ndcg@10": self.scores[step - 1]}


class KilledError(Exception):
    pass


def test_a_best_step_that_the_resumed_run_does_not_find_again_costs_no_earlier_one(start):
    first = Noisy([0.1, 0.8, 0.2, 0.9, 0.3, 0.3], kill_at=5)
    with pytest.raises(KilledError):
        start("run", first, save_every=3, choice=ChoiceSettings("best")).train()
    second = Noisy([0.1, 0.8, 0.2, 0.7, 0.3, 0.3])
    resumed = start("run", second, save_every=3, choice=ChoiceSettings("best"))
    assert resumed.train(resume=True).kept_step == 2
    left = resumed.method.encoder.state_dict()
    assert states_equal(left, first.weights[2])
    assert not states_equal(left, second.weights[4])


def test_only_best_weights_that_a_resume_may_want_stay_on_disk(start):
    trainer = start("run", Noisy([0.1, 0.2, 0.3, 0.4, 0.5, 0.1]), save_every=4, choice=ChoiceSettings("best"))
    assert trainer.train().kept_step == 5
    assert sorted(path.name for path in (trainer.out / "checkpoints").iterdir()) == ["best-4", "best-5", "step-4"]


def test_a_run_that_would_see_other_batches_or_rates_is_not_continued(start):
    start("run", save_every=3).train()
    with pytest.raises(ArtifactError, match=r"step-6: cannot continue: it had 6 steps, now 9$"):
        start("run", steps=9).train(resume=True)
    with pytest.raises(ArtifactError, match=r"step-6: cannot continue: it had 0 seed, now 1$"):
        start("run", seed=1).train(resume=True)


def test_a_run_in_another_thread_leaves_signals_alone(start):
    # Only the main thread may set handlers.
    found = []
    trainer = start("threaded", steps=2)
    thread = threading.Thread(target=lambda: found.append(trainer.train()))
    thread.start()
    thread.join()
    assert [result.steps for result in found] == [2]
