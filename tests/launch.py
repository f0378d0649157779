"""Several processes of one group on this machine, as torchrun would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_together(processes, command, folder=None):
    """Run Python with the same words in each of several processes of one group; return what each printed."""
    outputs, codes = start_together(processes, command, folder)
    assert codes == [0] * processes, "\n".join(outputs)
    return outputs


def start_together(processes, command, folder=None):
    """Run them to their ends, whatever those are; return what each printed, and their exit codes."""
    group = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = []
    for rank in range(processes):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        if processes > 1:
            environment |= {**group, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append(
            subprocess.Popen(
                [sys.executable, *command],
                env=environment,
                cwd=folder or Path(__file__).parents[1],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        outputs = [process.communicate(timeout=400)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    return outputs, [process.returncode for process in started]
