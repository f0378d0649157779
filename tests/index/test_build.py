from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest

import textcl
from tests.index.vectors import ENCODER, parts, shard_of, unit
from textcl.errors import ArtifactError, ConfigError, DataError, ShapeError
from textcl.index.build import build_index
from textcl.index.store import open_index


def test_the_folder_is_readable_without_textcl(tmp_path):
    made = parts(3000)  # several batches of texts
    build_index(tmp_path / "index", **made).close()
    flat = faiss.read_index(str(shard_of(tmp_path / "index") / "vectors.faiss"))
    np.testing.assert_array_equal(flat.reconstruct_n(0, 3000), made["vectors"])
    assert flat.metric_type == faiss.METRIC_INNER_PRODUCT
    with closing(sqlite3.connect(shard_of(tmp_path / "index") / "documents.sqlite")) as database:
        rows = database.execute("SELECT number, id FROM documents ORDER BY number").fetchall()
    assert rows == [(row, one) for row, one in enumerate(made["ids"])]
    with pa.memory_map(str(shard_of(tmp_path / "index") / "texts.arrow")) as file:
        assert pa.ipc.open_file(file).read_all().to_pydict() == {
            "text": made["texts"], "metadata": [None] * 3000,
        }  # fmt: skip


def test_the_manifest_says_what_the_index_is(tmp_path):
    build_index(tmp_path / "index", **parts(5)).close()
    manifest = json.loads((tmp_path / "index" / "manifest.json").read_text())
    assert manifest["kind"] == "index"
    assert manifest["format_version"] == 2
    facts = {name: manifest[name] for name in ("factory", "metric", "normalised", "dimension", "texts", "fields")}
    assert facts == {
        "factory": "Flat", "metric": "inner_product", "normalised": True, "dimension": 8, "texts": True, "fields": [],
    }  # fmt: skip
    assert manifest["encoder"] == ENCODER
    assert manifest["faiss_version"] == faiss.__version__
    assert manifest["build"]["seconds"] >= 0
    names = ("vectors.faiss", "documents.sqlite", "texts.arrow")
    assert set(manifest["files"]) == {f"shards/{shard_of(tmp_path / 'index').name}/{name}" for name in names}


def test_texts_are_optional(tmp_path):
    with build_index(tmp_path / "index", **{**parts(5), "texts": None}) as index:
        assert index.texts_of([0, 4]) == [None, None]
    assert not (shard_of(tmp_path / "index") / "texts.arrow").exists()


def test_vectors_may_be_memory_mapped_and_span_chunks(tmp_path):
    made = parts(9000)
    np.save(tmp_path / "vectors.npy", made["vectors"])
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    with build_index(tmp_path / "index", **{**made, "vectors": mapped}) as index:
        np.testing.assert_array_equal(index.vectors_of(np.arange(9000)), made["vectors"])


def test_progress_is_told_of_every_vector(tmp_path):
    told = []

    @contextmanager
    def listen(description, total):
        told.append(total)
        yield told.append

    build_index(tmp_path / "index", **parts(9000), progress=listen).close()
    assert told == [9000, 8192, 808]


def test_an_existing_folder_is_refused_without_force_and_replaced_with_it(tmp_path):
    build_index(tmp_path / "index", **parts(5)).close()
    before = (tmp_path / "index" / "manifest.json").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        build_index(tmp_path / "index", **parts(7))
    assert (tmp_path / "index" / "manifest.json").read_bytes() == before
    with build_index(tmp_path / "index", **parts(7), force=True) as index:
        assert index.rows == 7


def refused(tmp_path, error, match, **changed):
    with pytest.raises(error, match=match):
        build_index(tmp_path / "index", **{**parts(4), **changed})
    assert list(tmp_path.iterdir()) == [], "nothing may be left"


def test_vectors_that_are_not_of_length_one_are_counted_and_the_first_is_named(tmp_path):
    vectors = unit(0, 4)
    vectors[2:] *= 3
    ids = ["a", "b", "c", "d"]
    expected = r"2 of 4 vectors are wrong: the first, document 'c' \(row 2\) has length 3; expected length 1"
    refused(tmp_path, DataError, expected, vectors=vectors, ids=ids)
    with build_index(tmp_path / "index", **{**parts(4), "vectors": vectors}, normalised=False) as index:
        assert index.longest == pytest.approx(3)
        assert not index.normalised


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_named_by_document_and_row(tmp_path, value, normalised):
    vectors = unit(0, 4)
    vectors[1, 3] = value
    expected = r"1 of 4 vectors are wrong: the first, document 'b' \(row 1\) has length (nan|inf)"
    refused(tmp_path, DataError, expected, vectors=vectors, ids=list("abcd"), normalised=normalised)


def test_ids_must_be_there_and_differ(tmp_path):
    refused(tmp_path, DataError, "row 2: the id 'a' comes twice", ids=["a", "b", "a", "c"])
    refused(tmp_path, DataError, "row 1: its id is empty", ids=["a", "", "b", "c"])


def test_half_a_character_is_refused_by_name(tmp_path):
    expected = r"the text of document 'b' has half a character \(U\+D800\) at 1"
    refused(tmp_path, DataError, expected, ids=list("abcd"), texts=["", "x\ud800", "", ""])
    refused(tmp_path, DataError, r"the id '\\ud800' has half a character", ids=["a", "\ud800", "c", "d"])


def test_wrong_shapes_and_an_empty_corpus_are_refused(tmp_path):
    refused(tmp_path, ShapeError, "vectors: expected shape", vectors=unit(0, 5))
    refused(tmp_path, ShapeError, "vectors: expected shape", vectors=unit(0, 4, width=9))
    refused(tmp_path, ShapeError, "vectors: expected shape", vectors=unit(0, 4)[0])
    refused(tmp_path, ShapeError, "texts: expected shape", texts=["one"])
    refused(tmp_path, DataError, "nothing to index", vectors=unit(0, 4)[:0], ids=[], texts=[])


def test_an_encoder_that_does_not_say_enough_is_refused_by_the_fact(tmp_path):
    encoder = {name: value for name, value in ENCODER.items() if name != "pooling"}
    refused(tmp_path, ConfigError, r"^encoder\.pooling: is missing", encoder=encoder)


KILLED_BUILD = """
import sys
from contextlib import contextmanager
from pathlib import Path
from tests.index.vectors import parts
from textcl.index.build import build_index

@contextmanager
def stop_in_the_middle(description, total):
    def advance(rows):
        print("in the middle", flush=True)
        sys.stdin.read()
    yield advance

build_index(Path(sys.argv[1]), **parts(50, seed=1), force=True, progress=stop_in_the_middle)
"""


@pytest.mark.slow
@pytest.mark.parametrize("standing", [False, True])
def test_a_kill_in_the_middle_of_a_build_leaves_the_old_state(tmp_path, standing):
    target = tmp_path / "index"
    if standing:
        build_index(target, **parts(5)).close()
    root = Path(textcl.__file__).parents[1]
    command = [sys.executable, "-c", KILLED_BUILD, str(target)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, **pipes) as process:
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    if standing:
        with open_index(target, verify=True) as index:
            assert index.rows == 5
    else:
        assert not target.exists()
        with pytest.raises(ArtifactError, match="no index here"):
            open_index(target)
    with build_index(target, **parts(6), force=True) as index:
        assert index.rows == 6


def interrupted(tmp_path, **changed):
    """Stop a build while it adds rows; what it was of may be changed."""

    @contextmanager
    def stop(description, _total):
        def advance(_rows, _note=""):
            if description == "indexing":
                raise KeyboardInterrupt

        yield advance

    made = {**parts(200), "metadata": [{"n": number} for number in range(200)], "factory": "IVF4,SQ8", **changed}
    with pytest.raises(KeyboardInterrupt):
        build_index(tmp_path / "index", **made, progress=stop)
    return made


def test_a_resumed_build_is_of_the_same_or_is_refused(tmp_path):
    made = interrupted(tmp_path)
    for name, other in [
        ("metadata", [{"n": -number} for number in range(200)]),
        ("metadata", None),
        ("texts", [f"other {number}" for number in range(200)]),
        ("vectors", unit(9, 200)),
        ("factory", "IVF8,SQ8"),
        ("cutting", {"tokens": 3, "overlap": 1}),
    ]:
        with pytest.raises(
            ConfigError, match="resume: the interrupted build was of other vectors, documents or settings"
        ):
            build_index(tmp_path / "index", **{**made, name: other}, resume=True)
    waiting = tmp_path / ".index.unfinished"
    for left in ("partial.faiss", "partial.new", ".manifest.json.partial-0123", ".DS_Store"):  # as kills leave them
        if not (waiting / left).exists():
            (waiting / left).write_bytes(b"")
    (waiting / "partial.faiss").unlink()
    with build_index(tmp_path / "index", **made, resume=True) as index:
        assert index.rows == 200
        assert {name.split("/")[0] for name in index.manifest["files"]} == {"shards"}
    assert {path.name for path in (tmp_path / "index").iterdir()} == {"manifest.json", "shards"}
    open_index(tmp_path / "index", verify=True).close()
