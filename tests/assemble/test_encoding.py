"""`encode` is interrupted and goes on: here by errors of its own process, in test_encode_killed by the system."""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager

import numpy as np
import pytest

from tests.small_data import write_collection, write_lines
from textcl import artifacts, unfinished
from textcl.assemble import encoding
from textcl.assemble.encoding import encode
from textcl.assemble.indexing import build_index
from textcl.encoder.load import load_encoder, save_encoder
from textcl.encoder.products import multiplies_bytes
from textcl.errors import ArtifactError, ConfigError, DataError, TextclError
from textcl.unfinished import resumable_folder

FILES = ("manifest.json", "texts.jsonl", "vectors.npy")


@pytest.fixture
def work(tmp_path, monkeypatch, tiny_corpus):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(encoding, "BLOCK_TEXTS", 7)
    write_lines(tmp_path / "texts.txt", tiny_corpus)
    return tmp_path


@contextmanager
def stopping_after(texts, error=KeyboardInterrupt):
    """A progress that ends the work behind so many texts."""
    done = 0

    def progress(_description, _total):
        return counting()

    @contextmanager
    def counting():
        def advance(units, _note=""):
            nonlocal done
            done += units
            if done >= texts:
                raise error

        yield advance

    yield progress


def stop(model, source, out="out", texts=25, error=KeyboardInterrupt, **options):
    """Encode until so many texts are done."""
    with stopping_after(texts, error) as progress, pytest.raises(error):
        encode(model, source, out=out, progress=progress, **options)


def saved(work):
    return json.loads((work / ".out.unfinished" / "unfinished.json").read_text())


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_what_was_interrupted_goes_on_to_the_same_bytes(work, tiny_model_folder, precision, error):
    said = []
    encode(tiny_model_folder, "texts.txt", out="whole", precision=precision)
    stop(tiny_model_folder, "texts.txt", error=error, precision=precision, say=said.append)
    assert not (work / "out").exists()
    assert said[-1] == "21 of 60 texts are done and kept; add --resume to go on"
    stop(tiny_model_folder, "texts.txt", texts=50, precision=precision, resume=True, say=said.append)
    assert said[-1].startswith("49 of 60")
    encode(tiny_model_folder, "texts.txt", out="out", precision=precision, resume=True)
    assert contents(work / "out") == contents(work / "whole")
    assert sorted(path.name for path in work.iterdir()) == ["out", "texts.txt", "whole"]


def test_what_is_done_is_not_done_again(work, tiny_model_folder):
    stop(tiny_model_folder, "texts.txt")
    (held,) = (work / ".out.unfinished").rglob("vectors.npy")
    vectors = np.load(held, mmap_mode="r+")
    assert not vectors[28:].any()
    vectors[20] = 7  # the last row that is done; the next block begins behind it
    vectors.flush()
    encode(tiny_model_folder, "texts.txt", out="out", resume=True)
    assert (np.load(work / "out" / "vectors.npy")[20] == 7).all()


def test_an_unfinished_one_is_not_lost_by_mistake(work, tiny_model_folder):
    stop(tiny_model_folder, "texts.txt")
    problem = "out: an unfinished out waits; add --resume to go on with it, or --force to start anew"
    with pytest.raises(ConfigError, match=f"^{problem}$"):
        encode(tiny_model_folder, "texts.txt", out="out")
    stop(tiny_model_folder, "texts.txt", texts=15, force=True)
    assert saved(work)["done"]["texts"] == 14
    encode(tiny_model_folder, "texts.txt", out="out", force=True)
    assert not (work / ".out.unfinished").exists()


def test_what_failed_before_anything_was_done_leaves_nothing(work, tiny_model_folder):
    stop(tiny_model_folder, "texts.txt", texts=3)
    assert sorted(path.name for path in work.iterdir()) == ["texts.txt"]
    with pytest.raises(DataError):
        encode(tiny_model_folder, "absent.txt", out="out")
    assert sorted(path.name for path in work.iterdir()) == ["texts.txt"]


def test_there_must_be_something_to_go_on_with(work, tiny_model_folder):
    with pytest.raises(ArtifactError, match=r"^out: there is nothing to continue here; start it without --resume$"):
        encode(tiny_model_folder, "texts.txt", out="out", resume=True)
    encode(tiny_model_folder, "texts.txt", out="out")
    with pytest.raises(ArtifactError, match=r"^out: this one is complete; there is nothing to continue"):
        encode(tiny_model_folder, "texts.txt", out="out", resume=True)


def test_another_model_precision_or_number_of_texts_is_refused_by_name(work, tiny_model_folder):
    stop(tiny_model_folder, "texts.txt")
    other = load_encoder(tiny_model_folder)
    other[0].auto_model.embeddings.word_embeddings.weight.data.mul_(2)
    (work / "other").mkdir()
    save_encoder(other, work / "other")
    for model, options, named in (
        ("other", {}, "fingerprint"),
        (tiny_model_folder, {"precision": "bf16"}, "precision"),
        (tiny_model_folder, {"limit": 50}, "rows"),
    ):
        with pytest.raises(ArtifactError, match=f"^out: began with another {named} "):
            encode(model, "texts.txt", out="out", resume=True, **options)
    encode(tiny_model_folder, "texts.txt", out="out", resume=True)


def test_texts_that_changed_since_are_refused(work, tiny_model_folder, tiny_corpus):
    stop(tiny_model_folder, "texts.txt")
    changed = write_lines(work / "changed.txt", [tiny_corpus[0].upper(), *tiny_corpus[1:]])
    with pytest.raises(DataError, match=r"changed.txt: holds other texts than those this encode began with"):
        encode(tiny_model_folder, changed, out="out", resume=True)
    encode(tiny_model_folder, "texts.txt", out="out", resume=True)


def test_what_cannot_start_costs_nothing_that_waits(work, tiny_model_folder):
    stop(tiny_model_folder, "texts.txt")
    for model, source, options in (
        ("absent", "texts.txt", {}),
        (tiny_model_folder, "absent.txt", {}),
        (tiny_model_folder, "texts.txt", {"precision": "fp8"}),
    ):
        with pytest.raises(TextclError):
            encode(model, source, out="out", force=True, **options)
    assert saved(work)["done"]["texts"] == 21


@pytest.mark.parametrize("cleans_up", [True, False])
def test_a_kill_behind_the_exchange_leaves_the_new_folder_and_no_way_back(
    work, tiny_model_folder, monkeypatch, cleans_up
):
    """The old folder, now where the new one was made, is not gone on with."""
    encode(tiny_model_folder, "texts.txt", out="out", limit=9)

    def exchange_and_die(partial, target):
        assert artifacts._exchange(partial, target)
        if not cleans_up:
            monkeypatch.setattr(unfinished.shutil, "rmtree", lambda *_, **__: None)
        raise KeyboardInterrupt

    monkeypatch.setattr(unfinished, "put_in_place", exchange_and_die)
    with pytest.raises(KeyboardInterrupt):
        encode(tiny_model_folder, "texts.txt", out="out", force=True)
    monkeypatch.undo()
    monkeypatch.chdir(work)
    assert (work / ".out.unfinished").exists() != cleans_up
    assert len(np.load(work / "out" / "vectors.npy")) == 60
    with pytest.raises(ArtifactError, match="this one is complete"):
        encode(tiny_model_folder, "texts.txt", out="out", force=True, resume=True)
    encode(tiny_model_folder, "texts.txt", out="out", force=True, limit=8)
    assert sorted(path.name for path in (work / "out").iterdir()) == sorted(FILES)
    assert sorted(path.name for path in work.iterdir()) == ["out", "texts.txt"]


def test_an_empty_document_is_encoded_and_indexed(work, tiny_model_folder, tiny_corpus):
    write_collection(work / "dev", [*tiny_corpus[:9], ""])
    encode(tiny_model_folder, "dev", out="out")
    assert build_index(tiny_model_folder, "out", out="index").index.rows == 10


def test_two_processes_do_not_write_one_folder(work, tiny_model_folder):
    with (
        resumable_folder(work / "out"),
        pytest.raises(ConfigError, match=r"^out: another process is writing .*out; wait for it"),
    ):
        encode(tiny_model_folder, "texts.txt", out=work / "out", force=True)


def test_an_old_folder_stands_until_the_new_one_is_whole(work, tiny_model_folder):
    encode(tiny_model_folder, "texts.txt", out="out", limit=9)
    old = contents(work / "out")
    stop(tiny_model_folder, "texts.txt", force=True)
    assert contents(work / "out") == old
    encode(tiny_model_folder, "texts.txt", out="out", force=True, resume=True)
    assert len(np.load(work / "out" / "vectors.npy")) == 60


def test_a_full_disk_is_an_error_at_the_start(work, tiny_model_folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        encode(tiny_model_folder, "texts.txt", out="out")
    assert sorted(path.name for path in work.iterdir()) == ["texts.txt"]


def test_the_loss_of_a_lower_precision_is_said_and_kept(work, tiny_model_folder):
    said = []
    _, manifest = encode(tiny_model_folder, "texts.txt", out="out", precision="int8", say=said.append)
    assert manifest["precision"] == "int8"
    assert manifest["loss"]["texts"] == 60
    assert 0.97 < manifest["loss"]["least_cosine"] < manifest["loss"]["mean_cosine"] < 0.99999
    assert said[0] == (
        f"int8: cosine to fp32 {manifest['loss']['mean_cosine']:.5f} on average, "
        f"{manifest['loss']['least_cosine']:.5f} at least (60 texts)"
    )
    slow = ["int8: this processor has no products of bytes (VNNI); fp32 is faster and nearer here"]
    assert said[1:] == ([] if multiplies_bytes() else slow)
    said.clear()
    _, exact = encode(tiny_model_folder, "texts.txt", out="exact", say=said.append)
    assert exact["precision"] == "fp32"
    assert "loss" not in exact
    assert said == []
    both = [np.load(work / name / "vectors.npy") for name in ("out", "exact")]
    assert 1e-4 < np.abs(both[0] - both[1]).max() < 0.2


def test_auto_is_a_precision_that_was_measured_and_holds_for_what_goes_on(work, tiny_model_folder):
    said = []
    stop(tiny_model_folder, "texts.txt", precision="auto", say=said.append)
    chosen = saved(work)["made_with"]["precision"]
    assert chosen in ("fp32", "bf16")
    assert said[0].startswith(f"precision: {chosen} (measured: fp32 ")
    _, manifest = encode(tiny_model_folder, "texts.txt", out="out", precision="auto", resume=True)
    assert manifest["precision"] == chosen
