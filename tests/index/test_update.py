from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import textcl
from tests.index.vectors import ENCODER, unit
from textcl.errors import ArtifactError, ConfigError, DataError, ShapeError
from textcl.index import update
from textcl.index.build import build_index
from textcl.index.families import SearchSettings
from textcl.index.generations import commit, writing
from textcl.index.join import join
from textcl.index.search import neighbours, search
from textcl.index.shard_files import Documents
from textcl.index.store import open_index
from textcl.index.update import add, compact, delete

WIDTH = 16
ENCODER_16 = {**ENCODER, "dimension": WIDTH}
FACTORIES = ["Flat", "HNSW8", "IVF8,SQ8", "IVF8,PQ8x4fs"]
QUERIES = unit(99, 12, WIDTH)


def documents(start, stop):
    ids = [f"d{number}" for number in range(start, stop)]
    return Documents(ids, [f"text of {one}" for one in ids], [{"odd": number % 2} for number in range(start, stop)])


def vectors(start, stop):
    return unit(0, 400, WIDTH)[start:stop]


def built(folder, start, stop, factory="Flat"):
    made = documents(start, stop)
    build_index(
        folder, vectors=vectors(start, stop), ids=made.ids, texts=made.texts, metadata=made.metadata,
        encoder=ENCODER_16, factory=factory,
    ).close()  # fmt: skip
    return folder


def answers(folder, **changed):
    with open_index(folder, verify=True) as index:
        return search(index, QUERIES, 15, exact=True, **changed)


@pytest.fixture
def small_shards(monkeypatch):
    """Shards get a structure from 50 rows on."""
    monkeypatch.setattr(update, "EXACT_ROWS", 50)


@pytest.mark.parametrize("factory", FACTORIES)
def test_whatever_was_done_the_answers_are_those_of_an_index_built_of_what_is_there(tmp_path, small_shards, factory):
    folder = built(tmp_path / "index", 0, 200, factory)
    add(folder, vectors=vectors(200, 300), documents=documents(200, 300))
    add(folder, vectors=vectors(300, 310), documents=documents(300, 310))
    assert delete(folder, [f"d{number}" for number in range(0, 200, 3)]) == 67
    assert delete(folder, ["d201", "d305"]) == 2
    left = [number for number in range(310) if not (number < 200 and number % 3 == 0) and number not in (201, 305)]
    whole = documents(0, 310)
    fresh = build_index(
        tmp_path / "fresh", vectors=vectors(0, 310)[left], ids=[whole.ids[n] for n in left],
        texts=[whole.texts[n] for n in left], metadata=[whole.metadata[n] for n in left], encoder=ENCODER_16,
    )  # fmt: skip
    expected = search(fresh, QUERIES, 15)
    assert answers(folder) == expected
    odd = answers(folder, filters={"odd": 1})
    assert odd == search(fresh, QUERIES, 15, filters={"odd": 1})
    with open_index(folder) as index:
        assert [shard.structure is not None for shard in index.shards] == [factory != "Flat"] * 2 + [False]
        assert index.documents == len(left)
        rows, _ = neighbours(index, QUERIES, 15, settings=SearchSettings(nprobe=8, ef_search=300, rerank=15))
        near = [index.ids_of(line) for line in rows]
    found = [set(line) & {hit.id for hit in hits} for line, hits in zip(near, expected, strict=True)]
    assert np.mean([len(one) / 15 for one in found]) > 0.95
    compact(folder)
    assert answers(folder) == expected
    assert answers(folder, filters={"odd": 1}) == odd
    with open_index(folder) as index:
        assert (len(index.shards), index.rows, index.manifest["generation"]) == (1, len(left), 6)
        assert (index.shards[0].structure is None) == (factory == "Flat")
        assert len(list((folder / "shards").iterdir())) == 1, "what no generation names is gone"


def test_replacing_is_deleting_and_adding_in_one_generation(tmp_path):
    folder = built(tmp_path / "index", 0, 50)
    new = Documents(["d7", "d90"], ["seven", "ninety"], [{"odd": True}, {}])
    with pytest.raises(DataError, match="1 documents are in the index already, the first 'd7'; add --replace"):
        add(folder, vectors=vectors(300, 302), documents=new)
    assert add(folder, vectors=vectors(300, 302), documents=new, replace=True) == 1
    with open_index(folder, verify=True) as index:
        assert (index.documents, index.manifest["generation"]) == (51, 2)
        hit = search(index, vectors(300, 301), 1)[0][0]
        assert (hit.id, hit.text, hit.metadata) == ("d7", "seven", {"odd": True})
        assert len([one for one in index.ids() if one == "d7"]) == 1
        assert [hit.id for hit in search(index, QUERIES[:1], 50, filters={"odd": True})[0]] == ["d7"]


def test_a_reader_keeps_what_it_opened_and_an_index_is_never_empty(tmp_path):
    folder = built(tmp_path / "index", 0, 60)
    with open_index(folder) as reader:
        before = search(reader, QUERIES, 15)
        delete(folder, ["d1", "d2"])
        compact(folder)
        add(folder, vectors=vectors(60, 70), documents=documents(60, 70))
        assert search(reader, QUERIES, 15) == before
        assert reader.texts_of([1, 59]) == ["text of d1", "text of d59"]
    with open_index(folder) as index:
        everything = list(index.ids())
    with pytest.raises(DataError, match="these are all of its documents"):
        delete(folder, everything)


def test_readers_open_whole_generations_while_a_writer_changes_them(tmp_path):
    folder = built(tmp_path / "index", 0, 60)
    seen, faults, is_over = set(), [], threading.Event()

    def read():
        while not is_over.is_set():
            try:
                with open_index(folder) as index:
                    seen.add((index.manifest["generation"], index.documents))
                    search(index, QUERIES[:1], 5)
            except Exception as error:  # whatever it is, it is a fault
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for round_ in range(8):
            add(folder, vectors=vectors(60, 70), documents=documents(60, 70), replace=True)
            delete(folder, ["d60"])
            compact(folder)
            assert round_ < 8
    finally:
        is_over.set()
        reader.join()
    assert faults == []
    assert len(seen) > 3
    assert {count for _, count in seen} <= {60, 69, 70}


def test_two_writers_do_not_meet(tmp_path):
    folder = built(tmp_path / "index", 0, 20)
    with writing(folder), pytest.raises(ConfigError, match=r"another process is writing .*index"):
        delete(folder, ["d1"])
    assert delete(folder, ["d1"]) == 1


@pytest.mark.parametrize("factory", ["Flat", "IVF8,SQ8"])
def test_shards_built_apart_answer_as_one_index(tmp_path, factory):
    apart = [built(tmp_path / f"part-{start}", start, start + 100, factory) for start in (0, 100, 200)]
    delete(apart[1], ["d150"])
    one = join(apart, tmp_path / "one")
    assert len(one.shards) == 3
    one.close()
    whole = built(tmp_path / "whole", 0, 300)
    delete(whole, ["d150"])
    assert answers(tmp_path / "one") == answers(whole)
    compact(tmp_path / "one")
    assert answers(tmp_path / "one") == answers(whole)
    assert answers(apart[0]) == answers(built(tmp_path / "again", 0, 100)), "the parts are as they were"


def test_indexes_that_do_not_go_together_are_not_joined(tmp_path):
    first, same, other = (tmp_path / name for name in ("first", "same", "other"))
    built(first, 0, 20)
    built(same, 19, 40)
    with pytest.raises(DataError, match=r"same: 1 of its documents are in an index before it too, the first 'd19'"):
        join([first, same], tmp_path / "out")
    built(other, 100, 220, "HNSW8")
    with pytest.raises(ConfigError, match=r"factory: is 'HNSW8' in .*other, 'Flat' in .*first; build them alike"):
        join([first, other], tmp_path / "out")
    made = documents(300, 310)
    encoder = {**ENCODER_16, "fingerprint": "ffff"}
    build_index(tmp_path / "model", vectors=vectors(300, 310), ids=made.ids, texts=made.texts, encoder=encoder).close()
    with pytest.raises(ArtifactError, match="was built with another encoder: fingerprint"):
        join([first, tmp_path / "model"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def unchanged(folder, change, error, match):
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    with pytest.raises(error, match=match):
        change()
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before


def test_what_is_wrong_changes_nothing(tmp_path):
    folder = built(tmp_path / "index", 0, 20)

    def adding(vectors_, documents_):
        return lambda: add(folder, vectors=vectors_, documents=documents_)

    two = documents(30, 32)
    nan, zero = vectors(30, 32).copy(), vectors(30, 32).copy()
    nan[1, 0], zero[0] = np.nan, 0
    unchanged(folder, adding(nan, two), DataError, r"document 'd31' \(row 1\) has length nan")
    unchanged(folder, adding(zero, two), DataError, r"document 'd30' \(row 0\) has length 0")
    unchanged(folder, adding(vectors(30, 32)[:, :8].copy(), two), ShapeError, r"expected shape \(2, 16\)")
    unchanged(folder, adding(vectors(30, 33), two), ShapeError, r"expected shape \(2, 16\)")
    twice = Documents(["x", "x"], ["a", "b"])
    unchanged(folder, adding(vectors(30, 32), twice), DataError, "the id 'x' comes twice")
    unchanged(folder, adding(vectors(30, 32), Documents(["x", "y"])), DataError, "the index keeps texts")
    unchanged(
        folder, lambda: delete(folder, ["d1", "no", "none"]), DataError, "2 ids are not in the index, the first 'no'"
    )
    with open_index(folder) as index, pytest.raises(ConfigError, match="no field 'colour'; fields: odd"):
        search(index, QUERIES, 3, filters={"colour": "red"})


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.index.test_update import documents, vectors
from textcl.errors import ArtifactError
from textcl.index.update import add
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    add(Path(sys.argv[1]), vectors=vectors(100, 400), documents=documents(100, 400))
except (OSError, ArtifactError) as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("most", [100, 4_000, 15_000, 19_000])
def test_a_full_disk_leaves_the_index_as_it_was(tmp_path, most):
    folder = built(tmp_path / "index", 0, 100, "HNSW8")
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    root = Path(textcl.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder), str(most)], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(("OSError [Errno 27] File too large", "ArtifactError")), done
    assert "\n" not in done.stdout.strip()
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before
    add(folder, vectors=vectors(100, 400), documents=documents(100, 400))


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 39), st.integers(1, 10)),
            st.tuples(st.just("delete"), st.integers(0, 49), st.integers(1, 8)),
            st.tuples(st.just("compact"), st.just(0), st.just(0)),
        ),
        max_size=8,
    )
)
def test_any_order_of_changes_leaves_what_it_should(tmp_path_factory, steps):
    folder = built(tmp_path_factory.mktemp("steps") / "index", 0, 30, "SQ8")
    there = {f"d{number}": number for number in range(30)}
    for what, start, count in steps:
        if what == "add":
            made = documents(start, start + count)
            replaced = add(folder, vectors=vectors(start, start + count), documents=made, replace=True)
            assert replaced == len(set(made.ids) & set(there))
            there |= {f"d{number}": number for number in range(start, start + count)}
        elif what == "delete":
            gone = [f"d{number}" for number in range(start, start + count) if f"d{number}" in there]
            if gone and len(gone) < len(there):
                delete(folder, gone)
                for one in gone:
                    del there[one]
        else:
            compact(folder)
    with open_index(folder, verify=True) as index:
        assert sorted(index.ids()) == sorted(there)
        hits = search(index, QUERIES[:2], len(there) + 5)
    for query, found in zip(QUERIES[:2], hits, strict=True):
        assert sorted(hit.id for hit in found) == sorted(there)
        for hit in found:
            assert hit.score == pytest.approx(float(query @ vectors(there[hit.id], there[hit.id] + 1)[0]), abs=1e-6)
            assert hit.text == f"text of {hit.id}"


def test_documents_without_fields_beside_some_with_are_passed_over_by_a_filter(tmp_path):
    made = documents(0, 30)
    plain = {"vectors": vectors(0, 30), "ids": made.ids, "texts": made.texts, "encoder": ENCODER_16}
    build_index(tmp_path / "plain", **plain).close()
    built(tmp_path / "fields", 30, 60)
    join([tmp_path / "plain", tmp_path / "fields"], tmp_path / "both").close()
    add(tmp_path / "both", vectors=vectors(60, 70), documents=Documents([f"p{n}" for n in range(10)], ["t"] * 10))
    with open_index(tmp_path / "both") as index:
        (hits,) = search(index, QUERIES[:1], 99, filters={"odd": 1})
    assert {hit.id for hit in hits} == {f"d{number}" for number in range(31, 60, 2)}


def test_an_index_that_was_replaced_meanwhile_is_not_written(tmp_path):
    folder = built(tmp_path / "index", 0, 20)
    with writing(folder) as index:
        made = documents(0, 25)
        build_index(
            tmp_path / "other", vectors=vectors(0, 25), ids=made.ids, texts=made.texts, encoder=ENCODER_16
        ).close()
        folder.rename(tmp_path / "old")
        (tmp_path / "other").rename(folder)
        with pytest.raises(ArtifactError, match="was replaced while it was being changed; nothing was written"):
            commit(index, {"promise": None})
    with open_index(folder, verify=True) as index:
        assert index.documents == 25


def test_one_lock_whatever_path_leads_to_the_index(tmp_path, monkeypatch):
    folder = built(tmp_path / "index", 0, 20)
    (tmp_path / "link").symlink_to(folder)
    with writing(folder), pytest.raises(ConfigError, match="another process is writing"):
        delete(tmp_path / "link", ["d1"])
    monkeypatch.chdir(folder)
    assert delete(Path(), ["d1"]) == 1


def test_what_a_graph_is_lent_is_given_back(tmp_path):
    folder = built(tmp_path / "index", 0, 60, "HNSW8")
    with open_index(folder) as index:
        assert index.shards[0].flat.thisown, "the graph would keep the mapped vectors for good"
        assert not index.shards[0].structure.index.own_fields


def test_a_filter_that_one_shard_hardly_meets_is_answered_exactly(tmp_path, small_shards):
    folder = built(tmp_path / "index", 0, 200, "IVF8,SQ8")
    made = Documents([f"e{n}" for n in range(100)], ["t"] * 100, [{"odd": "new"}] * 100)
    add(folder, vectors=vectors(200, 300), documents=made)
    with writing(folder) as index:
        commit(index, {"filter_from": 0.6, "search": {"nprobe": 1, "rerank": 1}})
    with open_index(folder) as index:
        for value in (1, "new"):
            near = search(index, QUERIES, 10, filters={"odd": value})
            best = search(index, QUERIES, 10, filters={"odd": value}, exact=True)
            same = [[hit.id for hit in hits] for hits in near] == [[hit.id for hit in hits] for hits in best]
            assert same == (value == 1), "half of one shard is below the share, all of the other is not"


def test_vectors_of_another_encoder_are_refused_though_their_width_fits(tmp_path):
    folder = built(tmp_path / "index", 0, 50)
    other = {**ENCODER_16, "fingerprint": "of another"}
    with pytest.raises(ArtifactError, match="fingerprint"):
        add(folder, vectors=vectors(50, 55), documents=documents(50, 55), encoder=other)
    assert add(folder, vectors=vectors(50, 55), documents=documents(50, 55), encoder=ENCODER_16) == 0


def test_an_index_that_is_not_there_cannot_be_joined(tmp_path):
    folder = built(tmp_path / "index", 0, 20)
    with pytest.raises(ArtifactError, match="nowhere"):
        join([tmp_path / "nowhere" / "a", folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()
