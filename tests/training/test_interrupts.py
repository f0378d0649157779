"""Ctrl-C inside the loop; tests/test_resume.py sends it to a real command."""

from __future__ import annotations

import signal
import threading

import pytest

from tests.training.pairs import new_simclr, new_trainer, pair_source, states_equal
from textcl.training.checkpoint import checkpoints
from textcl.training.journal import read_journal
from textcl.training.trainer import TrainingResult

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
    assert resumed.train(resume=True) == TrainingResult(STEPS, STEPS, whole.evaluations)
    assert states_equal(resumed.method.state_dict(), whole.method.state_dict())
    assert read_journal(resumed.out / "journal.jsonl") == read_journal(whole.out / "journal.jsonl")


def test_a_second_ctrl_c_does_not_wait_for_the_step(start):
    pressing = Pressing(at_step=3, times=2)
    trainer = start("stopped", pressing, save_every=1)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert pressing.ended == [1, 2]
    assert [path.name for path in checkpoints(trainer.out / "checkpoints")] == ["step-1", "step-2"]


def test_a_run_in_another_thread_leaves_signals_alone(start):
    # Only the main thread may set handlers.
    found = []
    trainer = start("threaded", steps=2)
    thread = threading.Thread(target=lambda: found.append(trainer.train()))
    thread.start()
    thread.join()
    assert [result.steps for result in found] == [2]
