"""A command that trains leaves its group of processes: an exit that meets the group's threads aborts."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from textcl.cli.train import _processes_left


@pytest.fixture
def group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def test_the_group_is_left_at_the_end(group):
    with _processes_left():
        assert dist.is_initialized()
    assert not dist.is_initialized()


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_the_group_is_left_after_a_fault_too(group, fault):
    with pytest.raises(fault), _processes_left():
        raise fault
    assert not dist.is_initialized()


def test_without_a_group_there_is_nothing_to_leave():
    with _processes_left():
        pass
    assert not dist.is_initialized()
