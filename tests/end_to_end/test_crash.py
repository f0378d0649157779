"""An index is killed at random moments while it is built, added to, deleted from and compacted."""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import textcl
from tests.index.vectors import ENCODER, unit
from textcl.errors import ArtifactError
from textcl.index.build import build_index
from textcl.index.search import neighbours
from textcl.index.shard_files import Documents
from textcl.index.store import open_index
from textcl.index.update import add, compact, delete

KILLS = 50
ROWS, WIDTH, BATCH = 3000, 32, 60
ROOT = Path(textcl.__file__).parents[1]

CHILD = """
import sys
from pathlib import Path
from tests.end_to_end.test_crash import change
print("ready", flush=True)
number = int(sys.argv[2])
while True:
    change(Path(sys.argv[1]), number)
    print(number, flush=True)
    number += 1
"""


def documents(numbers):
    ids = [f"d{number}" for number in numbers]
    return Documents(ids, [f"text of {one}" for one in ids], [{"tenth": number % 10} for number in numbers])


@functools.cache
def all_vectors():
    return unit(0, ROWS + 200 * BATCH, WIDTH)


def vectors(numbers):
    return all_vectors()[list(numbers)]


def batch(number):
    """The documents that change `number` adds, and that the change after the next takes away again."""
    return range(ROWS + number * BATCH, ROWS + (number + 1) * BATCH)


def build(folder, *, resume=False, force=False):
    made = documents(range(ROWS))
    build_index(
        folder, vectors=vectors(range(ROWS)), ids=made.ids, texts=made.texts, metadata=made.metadata,
        encoder={**ENCODER, "dimension": WIDTH}, factory="IVF32,SQ8", resume=resume, force=force,
    ).close()  # fmt: skip


def change(folder, number):
    """Make generation `number` + 2 of the generation before it: add, delete or compact, in turn."""
    turn, kind = divmod(number, 3)
    if kind == 0:
        add(folder, vectors=vectors(batch(turn)), documents=documents(batch(turn)))
    elif kind == 1:
        delete(folder, [f"d{one}" for one in batch(turn)][: BATCH // 2])
    else:
        compact(folder)


def expected_ids(generation):
    """What an index of this generation holds."""
    found = set(range(ROWS))
    for number in range(generation - 1):
        turn, kind = divmod(number, 3)
        if kind == 0:
            found |= set(batch(turn))
        elif kind == 1:
            found -= set(list(batch(turn))[: BATCH // 2])
    return {f"d{one}" for one in found}


@pytest.mark.slow
def test_killed_at_any_moment_the_last_generation_opens_and_is_whole(tmp_path):
    folder, draw = tmp_path / "index", random.Random(0)
    build(folder)
    generation, reached, seconds = 1, set(), 0.2
    for kill in range(KILLS):
        command = [sys.executable, "-c", CHILD, str(folder), str(generation - 1)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment()) as process:
            assert process.stdout.readline() == "ready\n"
            started = time.monotonic()
            if kill == 0:
                process.stdout.readline()
                seconds = time.monotonic() - started  # a process's first change loads what the others find loaded
            time.sleep(draw.uniform(0, 3 * seconds))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        with open_index(folder, verify=True) as index:
            assert index.manifest["generation"] >= generation
            generation = index.manifest["generation"]
            reached.add(generation)
            assert set(index.ids()) == expected_ids(generation)
            rows, _ = neighbours(index, unit(7, 3, WIDTH), 10)
            assert (rows >= 0).all()
    assert len(reached) > 10, "most kills came after a change, many in the middle of the next"
    change(folder, generation - 1)  # what the last kill left does not stand in the way
    with open_index(folder, verify=True) as index:
        assert set(index.ids()) == expected_ids(generation + 1)
        named = {Path(name).parts[1] for name in index.manifest["files"]}
    assert {path.name for path in (folder / "shards").iterdir()} == named, "what kills left is gone"


BUILD = """
import sys
from pathlib import Path
from textcl.index import grow
grow._SAVE_SECONDS = 0.0
from tests.end_to_end.test_crash import build
print("ready", flush=True)
build(Path(sys.argv[1]), resume=sys.argv[2] == "resume", force=sys.argv[2] == "force")
"""


@pytest.mark.slow
def test_a_killed_build_leaves_what_stood_there_and_can_be_gone_on_with(tmp_path):
    folder, draw = tmp_path / "index", random.Random(1)
    whole, started = tmp_path / "whole", time.monotonic()
    build(whole)
    seconds, resumed = time.monotonic() - started, 0
    state = tmp_path / ".index.unfinished" / "unfinished.json"
    for round_ in range(12):
        mode = "resume" if state.is_file() else "force"
        resumed += mode == "resume"
        command = [sys.executable, "-c", BUILD, str(folder), mode]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment()) as process:
            assert process.stdout.readline() == "ready\n"
            while round_ % 2 and not (folder.exists() or state.is_file() or process.poll() is not None):
                time.sleep(0.0005)
            time.sleep(draw.uniform(0, seconds))
            process.send_signal(signal.SIGKILL)
        if folder.exists():
            same_structure(folder, whole)
            if round_ < 8:
                shutil.rmtree(folder)
    build(folder, resume=state.is_file(), force=True)
    same_structure(folder, whole)
    assert resumed > 0, "some kill came after the first state"


def same_structure(one, other):
    """The files of two builds are the same, whatever was killed on the way; only times differ."""
    with open_index(one, verify=True) as first, open_index(other, verify=True) as second:
        for name in second.manifest["files"]:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
        assert first.manifest["search"] == second.manifest["search"]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_every_changed_byte_of_every_file_is_found(tmp_path):
    folder = tmp_path / "index"
    made = documents(range(40))
    passages = np.array([(number // 2, 3 * (number % 2), 3 + 3 * (number % 2)) for number in range(80)])
    build_index(
        folder, vectors=vectors(range(80))[:, :8] / np.linalg.norm(vectors(range(80))[:, :8], axis=1, keepdims=True),
        ids=made.ids, texts=made.texts, metadata=made.metadata, passages=passages, encoder=ENCODER, factory="IVF4,SQ8",
    ).close()  # fmt: skip
    delete(folder, ["d3", "d5"])
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = "manifest.json vectors.faiss search.faiss documents.sqlite texts.arrow passages.npy deleted-2.npy"
    assert {path.name for path in files} == set(names.split())
    draw, changed = random.Random(2), 0
    for path in files:
        whole = path.read_bytes()
        for place in range(len(whole)):
            data = bytearray(whole)
            data[place] ^= 1 << draw.randrange(8)
            path.write_bytes(data)
            with pytest.raises(ArtifactError):
                open_index(folder, verify=True)
            changed += 1
        path.write_bytes(whole)
    assert changed == sum(path.stat().st_size for path in files) > 10_000
    open_index(folder, verify=True).close()
