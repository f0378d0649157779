"""Processes of one group that are not given the same: each has words and a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.launch import free_port


def start_ranks(words, folders, limit_s=240):
    """Run `textcl` with words[rank] in folders[rank]; return what each printed, and the exit codes.

    Whoever waits for another still after `limit_s` is killed, and its exit code is that of the kill: gloo itself would
    wait for half an hour. Ten seconds are enough on a machine with nothing else to do.
    """
    group = {"WORLD_SIZE": str(len(words)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started, begin = [], time.monotonic()
    for rank, (own, folder) in enumerate(zip(words, folders, strict=True)):
        environment = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "RANK": str(rank), "LOCAL_RANK": str(rank)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "textcl", *own],
                env={**os.environ, **group, **environment},
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    outputs = []
    for process in started:
        try:
            outputs.append(process.communicate(timeout=max(0.1, begin + limit_s - time.monotonic()))[0])
        except subprocess.TimeoutExpired:
            process.kill()
            outputs.append(process.communicate()[0])
    return outputs, [process.returncode for process in started]
