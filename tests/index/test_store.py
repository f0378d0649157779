from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from tests.index.vectors import ENCODER, parts, shard_of, unit
from textcl.artifacts import write_manifest
from textcl.errors import ArtifactError
from textcl.index.build import build_index
from textcl.index.search import search
from textcl.index.store import open_index

FILES = ["vectors.faiss", "documents.sqlite", "texts.arrow"]


@pytest.fixture
def folder(tmp_path):
    build_index(tmp_path / "index", **parts(1500)).close()
    return tmp_path / "index"


def rewrite_manifest(folder, **changed):
    """Change facts and bring the checksums up to date, so that only the facts are wrong."""
    manifest = json.loads((folder / "manifest.json").read_text())
    kind, version, *_ = (manifest.pop(name) for name in ("kind", "format_version", "files", "digest"))
    facts = {name: value for name, value in {**manifest, **changed}.items() if value is not ...}
    write_manifest(folder, kind, version, facts)


def test_reloading_changes_nothing(tmp_path):
    queries = unit(7, 20)
    with build_index(tmp_path / "index", **parts(1500)) as built:
        first = search(built, queries, 10)
    for verify in (False, True):
        with open_index(tmp_path / "index", verify=verify) as again:
            assert search(again, queries, 10) == first


def test_ids_texts_and_vectors_come_in_the_order_asked_for(folder):
    made = parts(1500)
    rows = [1499, 0, 1023, 1024, 7, 0]
    with open_index(folder) as index:
        assert (index.rows, index.dimension, index.normalised) == (1500, 8, True)
        assert index.ids_of(rows) == [made["ids"][row] for row in rows]
        assert index.texts_of(rows) == [made["texts"][row] for row in rows]
        np.testing.assert_array_equal(index.vectors_of(np.array(rows)), made["vectors"][rows])
        assert index.ids_of(range(1500)) == made["ids"]  # more than one statement


@pytest.mark.parametrize("row", [-1, 1500])
def test_a_row_that_is_not_there_is_an_error_and_not_the_last_row(folder, row):
    with open_index(folder) as index:
        for lookup in (index.ids_of, index.texts_of, index.vectors_of):
            with pytest.raises(IndexError, match=f"row {row} is not among the 1500 rows"):
                lookup([row])


@pytest.mark.parametrize("name", FILES)
def test_verify_finds_one_changed_byte(folder, name):
    data = bytearray((shard_of(folder) / name).read_bytes())
    data[len(data) // 2] ^= 1
    (shard_of(folder) / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{name}: is damaged: its SHA-256"):
        open_index(folder, verify=True)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_refused_on_opening(folder, name):
    data = (shard_of(folder) / name).read_bytes()
    (shard_of(folder) / name).write_bytes(data[:-10])
    with pytest.raises(ArtifactError, match=rf"{name}: is damaged: {len(data) - 10} bytes"):
        open_index(folder)
    (shard_of(folder) / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: is missing"):
        open_index(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_format_is_refused_even_where_the_checksum_agrees(folder, name):
    (shard_of(folder) / name).write_bytes(b"not what it should be" * 300)
    rewrite_manifest(folder)
    with pytest.raises(ArtifactError, match=rf"{name}: is damaged"):
        open_index(folder)


def test_files_that_do_not_fit_together_are_refused(folder, tmp_path):
    build_index(tmp_path / "other", **parts(1400)).close()
    for name, problem in [
        ("texts.arrow", "holds 1400 texts, the manifest says 1500"),
        ("documents.sqlite", "names 1400 documents, the manifest says 1500"),
        ("vectors.faiss", "holds 1400 rows of 8 numbers, the manifest says 1500 of 8"),
    ]:
        (shard_of(folder) / name).write_bytes((shard_of(tmp_path / "other") / name).read_bytes())
        rewrite_manifest(folder)
        with pytest.raises(ArtifactError, match=problem):
            open_index(folder)


def test_an_id_table_without_its_table_is_refused(folder):
    (shard_of(folder) / "documents.sqlite").unlink()
    with closing(sqlite3.connect(shard_of(folder) / "documents.sqlite")) as database, database:
        database.execute("CREATE TABLE other (a)")
    rewrite_manifest(folder)
    with pytest.raises(ArtifactError, match=r"documents\.sqlite: is damaged: no such table: documents"):
        open_index(folder)


def test_a_folder_that_is_no_index_of_this_version_is_refused(folder, tmp_path):
    with pytest.raises(ArtifactError, match="no index here"):
        open_index(tmp_path / "nowhere")
    rewrite_manifest(folder, longest=...)
    with pytest.raises(ArtifactError, match="its manifest does not say longest"):
        open_index(folder)
    write_manifest(folder, "index", 99, {})
    with pytest.raises(ArtifactError, match="has format version 99, this textcl reads 2"):
        open_index(folder)


def test_the_encoder_that_built_the_index_may_query_it_under_another_name(folder):
    with open_index(folder) as index:
        index.check_encoder({**ENCODER, "model": "/elsewhere/tiny"})


@pytest.mark.parametrize(
    ("fact", "other"),
    [
        ("fingerprint", "ffff0000"),
        ("pooling", "cls"),
        ("query_prompt", "query: "),
        ("document_prompt", ""),
        ("dimension", 4),
        ("max_tokens", 64),
    ],
)
def test_another_encoder_is_refused_with_the_fact_and_both_values(folder, fact, other):
    with open_index(folder) as index, pytest.raises(ArtifactError) as caught:
        index.check_encoder({**ENCODER, fact: other})
    assert f"{fact} {ENCODER[fact]!r} in the index, {other!r} in the query encoder" in str(caught.value)
    assert [name for name in ENCODER if f"{name} {ENCODER[name]!r}" in str(caught.value)] == [fact]
    assert "\n" not in str(caught.value)


def test_closing_twice_is_harmless(folder):
    index = open_index(folder)
    index.close()
    index.close()
    with pytest.raises(sqlite3.ProgrammingError):
        index.ids_of([0])
