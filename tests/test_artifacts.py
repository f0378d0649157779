from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textcl.artifacts import (
    check_target,
    checksum,
    fingerprint,
    next_numbered,
    read_manifest,
    whole_folder,
    write_manifest,
    write_whole,
)
from textcl.errors import ArtifactError, ConfigError


def write(folder, text, name="value.txt"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def make_ours(folder, text="old"):
    write(folder, text)
    write_manifest(folder, "thing", 1, {})


def write_half(target, *, force=False):
    with whole_folder(target, force=force) as partial:
        write(partial, "half")
        raise RuntimeError("stop")


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_folder_appears_whole_when_the_block_ends(tmp_path):
    target = tmp_path / "a" / "b"
    with whole_folder(target) as partial:
        write(partial / "sub", "new")
        assert not target.exists()
    assert everything(tmp_path / "a") == ["b", "b/sub", "b/sub/value.txt"]


def test_a_block_that_raises_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        write_half(tmp_path / "new")
    assert everything(tmp_path) == []


def test_a_replacement_that_raises_leaves_the_old_folder(tmp_path):
    make_ours(tmp_path / "out")
    before = everything(tmp_path)
    with pytest.raises(RuntimeError, match="stop"):
        write_half(tmp_path / "out", force=True)
    assert everything(tmp_path) == before
    assert (tmp_path / "out" / "value.txt").read_text() == "old"


def test_force_replaces_the_whole_folder_and_leaves_no_trace_of_the_old_one(tmp_path):
    make_ours(tmp_path / "out")
    with whole_folder(tmp_path / "out", force=True) as partial:
        write(partial, "new", "other.txt")
    assert everything(tmp_path) == ["out", "out/other.txt"]


def test_an_existing_folder_is_refused_without_force(tmp_path):
    make_ours(tmp_path / "out")
    message = r"^out: .*/out exists already; name another folder, or add --force to replace it$"
    with pytest.raises(ConfigError, match=message), whole_folder(tmp_path / "out"):
        pytest.fail("the block must not run")
    with pytest.raises(ConfigError, match=r"^where: .* exists already"):
        check_target(tmp_path / "out", field="where")
    assert (tmp_path / "out" / "value.txt").read_text() == "old"


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.json": '{"kind": "index", "format_version": 1}'},
        {"recipe.yaml": "seed: 0", "journal.jsonl": ""},
        {},
    ],
    ids=["finished", "unfinished run", "empty"],
)
def test_force_replaces_what_textcl_writes_and_empty_folders(tmp_path, files):
    (tmp_path / "out").mkdir()
    for name, content in files.items():
        write(tmp_path / "out", content, name)
    check_target(tmp_path / "out", force=True)
    with whole_folder(tmp_path / "out", force=True) as partial:
        write(partial, "new")
    assert everything(tmp_path / "out") == ["value.txt"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("thesis.txt", "four years"),
        ("recipe.yaml", "a project that has a recipe too"),
        ("modules.json", "[]"),
        ("manifest.json", '{"kind": "something else"}'),
        ("manifest.json", '{"manifest_version": 3, "name": "a browser extension"}'),
        ("manifest.json", "[]"),
        ("manifest.json", "not JSON"),
    ],
)
def test_force_replaces_nothing_else(tmp_path, name, content):
    write(tmp_path / "out", content, name)
    with pytest.raises(ConfigError, match=r"was not written by textcl, so --force does not replace it"):
        check_target(tmp_path / "out", force=True)
    with pytest.raises(ConfigError, match="not written by textcl"), whole_folder(tmp_path / "out", force=True):
        pytest.fail("the block must not run")
    assert (tmp_path / "out" / name).read_text() == content


def test_force_does_not_replace_a_file(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match="not written by textcl"):
        check_target(tmp_path / "out", force=True)


def test_a_target_that_is_not_there_is_fine(tmp_path):
    check_target(tmp_path / "nowhere" / "out")
    assert everything(tmp_path) == []


def test_an_old_folder_that_a_kill_left_aside_comes_back_and_is_not_overwritten(tmp_path):
    # Where the system cannot let two folders change places, a kill between two renames leaves this.
    make_ours(tmp_path / ".out[1].replaced-0123abcd")
    target = tmp_path / "out[1]"
    with pytest.raises(ConfigError, match="exists already"), whole_folder(target):
        pytest.fail("the block must not run")
    assert (target / "value.txt").read_text() == "old"
    assert everything(tmp_path) == ["out[1]", "out[1]/manifest.json", "out[1]/value.txt"]


def test_an_old_folder_that_a_kill_left_beside_its_replacement_goes(tmp_path):
    make_ours(tmp_path / ".out.replaced-0123abcd")
    make_ours(tmp_path / "out", "new")
    check_target(tmp_path / "out", force=True)
    assert everything(tmp_path) == ["out", "out/manifest.json", "out/value.txt"]
    assert (tmp_path / "out" / "value.txt").read_text() == "new"


WRITER = """
import sys
from pathlib import Path
from textcl.artifacts import whole_folder, write_manifest
target, number = Path(sys.argv[1]), 0
while True:
    number += 1
    with whole_folder(target, force=True) as partial:
        for name in "abcdef":
            (partial / name).write_text(str(number) * 1000)
        write_manifest(partial, "thing", 1, {"number": number})
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(12))
def test_after_a_kill_during_replacements_a_whole_folder_stands(tmp_path, attempt):
    target = tmp_path / "out"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"1\n"
        deadline = time.monotonic() + 0.05 + 0.0137 * attempt
        while time.monotonic() < deadline:
            assert target.exists()  # also while the old folder and the new one change places
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        finished = writer.stdout.read().split()
        writer.stdout.close()
        writer.wait()
    facts = read_manifest(target, "thing", 1, verify=True)
    assert {(target / name).read_text() for name in "abcdef"} == {str(facts["number"]) * 1000}
    assert facts["number"] >= int(finished[-1] if finished else 1)
    with whole_folder(target, force=True) as partial:  # what the kill left is in nobody's way
        write(partial, "next")
    assert everything(target) == ["value.txt"]


@pytest.mark.slow
def test_a_kill_before_the_first_folder_is_whole_leaves_no_folder(tmp_path):
    program = WRITER.replace("for name in", "print(0, flush=True); import time; time.sleep(60)\n        for name in")
    writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "out")], stdout=subprocess.PIPE)
    with writer:
        assert writer.stdout.readline() == b"0\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    make_ours(tmp_path / "other")
    with whole_folder(tmp_path / "out") as partial:
        write(partial, "new")
    assert everything(tmp_path / "out") == ["value.txt"]


@pytest.mark.parametrize(("data", "expected"), [("häuser\n", "häuser\n".encode()), (b"\x00\xff", b"\x00\xff")])
def test_a_file_is_written_whole(tmp_path, data, expected):
    (tmp_path / "file").write_text("old and longer than the new")
    write_whole(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == expected
    assert everything(tmp_path) == ["file"]


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "file", "a lone surrogate \ud800")
    assert (tmp_path / "file").read_text() == "old"
    assert everything(tmp_path) == ["file"]


def test_numbered_folders_take_the_first_free_number(tmp_path):
    assert next_numbered(tmp_path, "train").name == "train-001"
    (tmp_path / "train-001").mkdir()
    (tmp_path / "train-003").mkdir()
    assert next_numbered(tmp_path, "train").name == "train-002"


def test_a_manifest_names_every_file_with_size_and_checksum(tmp_path):
    write(tmp_path / "sub", "two")
    write(tmp_path, "one")
    write(tmp_path / "sub", "{}", "manifest.json")
    write_manifest(tmp_path, "index", 3, {"width": 8})
    manifest = read_manifest(tmp_path, "index", 3, verify=True)
    assert (manifest["kind"], manifest["format_version"], manifest["width"]) == ("index", 3, 8)
    assert set(manifest["files"]) == {"value.txt", "sub/value.txt", "sub/manifest.json"}
    assert manifest["files"]["value.txt"] == {"bytes": 3, "sha256": hashlib.sha256(b"one").hexdigest()}


def test_what_is_left_out_may_change_or_go(tmp_path):
    write(tmp_path, "kept")
    write(tmp_path / "changing", "old")
    write(tmp_path / "sub" / "changing", "old")
    write_manifest(tmp_path, "index", 1, {}, leave_out={"changing"})
    (tmp_path / "changing" / "value.txt").unlink()
    assert set(read_manifest(tmp_path, "index", 1, verify=True)["files"]) == {"value.txt", "sub/changing/value.txt"}


@pytest.mark.parametrize(
    ("kind", "version", "message"),
    [
        ("checkpoint", 1, r"is a index, not a checkpoint$"),
        ("index", 2, r"has format version 1, this textcl reads 2; make it again$"),
    ],
)
def test_another_kind_or_version_is_refused(tmp_path, kind, version, message):
    write_manifest(tmp_path, "index", 1, {})
    with pytest.raises(ArtifactError, match=message):
        read_manifest(tmp_path, kind, version)


def test_a_folder_without_manifest_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match=r"no index here \(manifest.json is missing\)$"):
        read_manifest(tmp_path / "nothing", "index", 1)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kind": "index", "format_version": 1}', '"text"', "\xff"])
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match=r"manifest.json: is damaged: not a manifest; make the folder again$"):
        read_manifest(tmp_path, "index", 1)


def test_a_missing_file_is_named(tmp_path):
    make_ours(tmp_path)
    (tmp_path / "value.txt").unlink()
    with pytest.raises(ArtifactError, match=r"value.txt: is missing, though the manifest names it$"):
        read_manifest(tmp_path, "thing", 1)


def test_a_file_of_another_size_is_named(tmp_path):
    make_ours(tmp_path, "four")
    write(tmp_path, "seven..")
    with pytest.raises(ArtifactError, match=r"value.txt: is damaged: 7 bytes, the manifest says 4$"):
        read_manifest(tmp_path, "thing", 1)


def test_a_flipped_bit_is_found_when_checksums_are_verified(tmp_path):
    make_ours(tmp_path, "four")
    write(tmp_path, "fous")
    read_manifest(tmp_path, "thing", 1)
    with pytest.raises(ArtifactError, match=r"value.txt: is damaged: its SHA-256 is not the manifest's$"):
        read_manifest(tmp_path, "thing", 1, verify=True)


def test_a_manifest_is_readable_json(tmp_path):
    write_manifest(tmp_path, "index", 1, {"name": "Größe"})
    text = (tmp_path / "manifest.json").read_text(encoding="utf-8")
    assert '"name": "Größe"' in text
    assert list(json.loads(text)) == ["kind", "format_version", "name", "files", "digest"]


def test_a_checksum_is_the_file_s_sha256(tmp_path):
    write(tmp_path, "abc")
    assert checksum(tmp_path / "value.txt") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


PARTS = st.lists(st.one_of(st.text(max_size=3), st.binary(max_size=3)), max_size=4)


def as_bytes(parts):
    return [part.encode() if isinstance(part, str) else part for part in parts]


@given(PARTS, PARTS)
def test_fingerprints_are_equal_where_all_parts_are(first, second):
    assert (fingerprint(first) == fingerprint(second)) == (as_bytes(first) == as_bytes(second))


def test_where_one_part_ends_counts():
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
    assert fingerprint([b"ab"]) == fingerprint([memoryview(b"ab")])
