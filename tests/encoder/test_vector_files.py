from __future__ import annotations

import os
import resource

import numpy as np
import pytest
import torch

from textcl.encoder import vector_files
from textcl.encoder.embed import embed_texts
from textcl.encoder.vector_files import cached_vectors, new_vectors


def test_the_vectors_are_those_of_the_encoder_and_are_made_once(tmp_path, tiny_encoder, tiny_corpus, encoded):
    texts = [*tiny_corpus[:5], tiny_corpus[7] * 5]
    for _time in range(2):
        kept = cached_vectors(tiny_encoder, texts, cache=tmp_path)
        plain = embed_texts(tiny_encoder, texts)
        np.testing.assert_array_equal(kept.vectors, plain.vectors)
        assert (kept.vectors.dtype, kept.cut_texts, plain.cut_texts) == (np.float32, 1, 1)
    assert encoded == [6]
    assert not kept.vectors.flags.writeable


def one_weight(encoder):
    with torch.no_grad():
        next(encoder.parameters())[0, 0] += 1e-3


def shorter(encoder):
    encoder.max_seq_length = 9


@pytest.mark.parametrize("change", [one_weight, shorter])
def test_another_encoder_embeds_anew(tmp_path, tiny_encoder, tiny_corpus, encoded, change):
    before = np.array(cached_vectors(tiny_encoder, tiny_corpus[:5], cache=tmp_path).vectors)
    change(tiny_encoder)
    after = cached_vectors(tiny_encoder, tiny_corpus[:5], cache=tmp_path).vectors
    assert encoded == [5, 5]
    np.testing.assert_array_equal(after, embed_texts(tiny_encoder, tiny_corpus[:5]).vectors)
    assert (change is one_weight) or not np.allclose(before, after)


def test_other_texts_and_another_prompt_embed_anew(tmp_path, tiny_encoder, tiny_corpus, encoded):
    cached_vectors(tiny_encoder, tiny_corpus[:5], cache=tmp_path)
    cached_vectors(tiny_encoder, tiny_corpus[:4], cache=tmp_path)
    prompted = cached_vectors(tiny_encoder, tiny_corpus[:5], prompt="ask: ", cache=tmp_path).vectors
    assert encoded == [5, 4, 5]
    np.testing.assert_array_equal(prompted, embed_texts(tiny_encoder, tiny_corpus[:5], prompt="ask: ").vectors)


@pytest.mark.parametrize("damage", ["shorter", "another shape", "no header"])
def test_damaged_files_are_made_again(tmp_path, tiny_encoder, tiny_corpus, encoded, damage):
    texts = tiny_corpus[:5]
    expected = np.array(cached_vectors(tiny_encoder, texts, cache=tmp_path).vectors)
    (path,) = tmp_path.glob("*/vectors.npy")
    whole = path.read_bytes()
    if damage == "shorter":
        path.write_bytes(whole[:-4])
    elif damage == "no header":
        path.write_bytes(bytes(len(whole)))
    else:
        path.write_bytes(whole.replace(b"(5, 32)", b"(32, 5)"))
    np.testing.assert_array_equal(cached_vectors(tiny_encoder, texts, cache=tmp_path).vectors, expected)
    assert encoded == [5, 5]


def test_a_stop_while_embedding_leaves_nothing_that_is_taken_for_whole(
    tmp_path, tiny_encoder, tiny_corpus, monkeypatch
):
    def stopped(*_arguments, **_more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vector_files, "embed_texts", stopped)
        with pytest.raises(KeyboardInterrupt):
            cached_vectors(tiny_encoder, tiny_corpus[:5], cache=tmp_path)
    assert list(tmp_path.iterdir()) == []
    made = cached_vectors(tiny_encoder, tiny_corpus[:5], cache=tmp_path).vectors
    np.testing.assert_array_equal(made, embed_texts(tiny_encoder, tiny_corpus[:5]).vectors)


def test_no_texts_have_no_vectors(tmp_path, tiny_encoder):
    assert cached_vectors(tiny_encoder, [], cache=tmp_path).vectors.shape == (0, 32)


def test_without_a_folder_the_cache_of_datasets_is_taken(tiny_encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(vector_files.datasets.config, "HF_DATASETS_CACHE", tmp_path)
    cached_vectors(tiny_encoder, ["a"])
    assert len(list((tmp_path / "textcl" / "vectors").iterdir())) == 1


def test_what_was_not_asked_for_longest_is_removed_where_there_is_no_room(tmp_path, tiny_encoder, tiny_corpus, encoded):
    def ask(count, most_bytes=vector_files.MOST_BYTES):
        return cached_vectors(tiny_encoder, tiny_corpus[:count], cache=tmp_path, most_bytes=most_bytes)

    ask(3)
    (first,) = tmp_path.glob("*/manifest.json")
    ask(4)
    os.utime(first, (0, 0))
    (second,) = set(tmp_path.glob("*/manifest.json")) - {first}
    os.utime(second, (1, 1))
    ask(3)  # asked for later than the second one
    kept = ask(5, most_bytes=1300)  # 3 and 5 rows of 32 numbers with a header each, not 4 rows more
    assert encoded == [3, 4, 5]
    assert {len(np.load(path)) for path in tmp_path.glob("*/vectors.npy")} == {3, 5}
    ask(3)
    assert encoded == [3, 4, 5]
    alone = ask(6, most_bytes=1)
    assert {len(np.load(path)) for path in tmp_path.glob("*/vectors.npy")} == {6}
    expected = embed_texts(tiny_encoder, tiny_corpus[:6]).vectors
    np.testing.assert_array_equal(alone.vectors, expected)
    np.testing.assert_allclose(kept.vectors, expected[:5], atol=1e-6)  # mapped still, though removed


def test_what_a_kill_left_of_a_removal_is_made_again(tmp_path, tiny_encoder, tiny_corpus, encoded):
    cached_vectors(tiny_encoder, tiny_corpus[:3], cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "manifest.json").unlink()
    kept = cached_vectors(tiny_encoder, tiny_corpus[:3], cache=tmp_path)
    assert encoded == [3, 3]
    np.testing.assert_array_equal(kept.vectors, embed_texts(tiny_encoder, tiny_corpus[:3]).vectors)
    cached_vectors(tiny_encoder, tiny_corpus[:3], cache=tmp_path)
    assert encoded == [3, 3]


def test_what_another_process_writes_now_stays_and_what_is_older_than_a_day_goes(tmp_path, tiny_encoder, tiny_corpus):
    for name, when in ((".x.partial-1", None), (".y.gone-2", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
        (tmp_path / name / "vectors.npy").write_bytes(bytes(5000))
        if when is not None:
            os.utime(tmp_path / name, (when, when))
    cached_vectors(tiny_encoder, tiny_corpus[:3], cache=tmp_path, most_bytes=1)
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == {".x.partial-1"}


def test_the_bytes_of_new_vectors_are_taken_from_the_disk_at_once(tmp_path):
    new_vectors(tmp_path / "v.npy", (1000, 64))
    status = (tmp_path / "v.npy").stat()
    assert 512 * status.st_blocks >= status.st_size > 256_000


def test_a_disk_without_room_says_so_before_anything_is_mapped(tmp_path, tiny_encoder, tiny_corpus):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            cached_vectors(tiny_encoder, tiny_corpus[:5], cache=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
