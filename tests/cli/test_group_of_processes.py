"""A command leaves its group of processes once nothing of the run is left: before that it hangs, without it aborts."""

from __future__ import annotations

import weakref

import pytest
import torch.distributed as dist

from textcl.cli.app import app, main
from textcl.errors import TextclError


class Held:
    """What a run holds; whether the group was still there when it went is `left`."""

    def __init__(self, left):
        weakref.finalize(self, lambda: left.append(dist.is_initialized()))
        self.self = self  # wrapped models are in a circle too


@pytest.fixture
def command(tmp_path):
    """A function that adds a command that joins a group, and calls it; it returns the exit code."""
    before = list(app.registered_commands)

    def call(work):
        @app.command("joins")
        def joins():
            dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
            work()

        with pytest.raises(SystemExit) as exit:
            main(["joins"])
        return exit.value.code

    yield call
    app.registered_commands[:] = before
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.parametrize(("fault", "code"), [(None, 0), (TextclError, 2), (KeyError, 3), (KeyboardInterrupt, 130)])
def test_the_group_is_left_when_nothing_of_the_run_is(command, fault, code):
    left = []

    def work():
        held = Held(left)
        assert held.self is held
        if fault is not None:
            raise fault("wrong")  # made here: one that outlives the command keeps what its traceback holds

    assert command(work) == code
    assert left == [True]
    assert not dist.is_initialized()


def test_without_a_group_there_is_nothing_to_leave():
    with pytest.raises(SystemExit) as exit:
        main(["recipe", "--help"])
    assert exit.value.code == 0
