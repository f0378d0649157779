from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.strategies import as_lists
from textcl.artifacts import MANIFEST
from textcl.corpus.token_files import MappedRows, cached_tokens, open_tokens
from textcl.corpus.tokens import tokenise
from textcl.errors import ArtifactError


class Counting:
    """A progress that counts what it is told."""

    def __init__(self):
        self.units = 0

    def __call__(self, description, total):
        from contextlib import contextmanager

        @contextmanager
        def opened():
            yield self.add

        return opened()

    def add(self, units):
        self.units += units


def test_the_files_hold_what_tokenising_gives(tiny_corpus, tiny_tokenizer, tmp_path):
    texts = [*tiny_corpus, "", "a"] * 80  # more than one chunk
    stored = cached_tokens(texts, tiny_tokenizer, cache=tmp_path)
    assert isinstance(stored, MappedRows)
    assert as_lists(stored) == as_lists(tokenise(texts, tiny_tokenizer))
    assert isinstance(stored.ids.base, np.memmap)
    assert not stored.ids.flags.writeable


def test_texts_are_tokenised_once(tiny_corpus, tiny_tokenizer, tmp_path):
    first, second = Counting(), Counting()
    cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path, progress=first)
    cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path, progress=second)
    assert (first.units, second.units) == (60, 0)
    assert len(list(tmp_path.iterdir())) == 1


def test_other_texts_another_prompt_and_another_tokenizer_have_files_of_their_own(
    tiny_corpus, tiny_tokenizer, tmp_path
):
    plain = cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path)
    prompted = cached_tokens(tiny_corpus, tiny_tokenizer, "query: ", cache=tmp_path)
    fewer = cached_tokens(tiny_corpus[:-1], tiny_tokenizer, cache=tmp_path)
    tiny_tokenizer.add_tokens(["northern hills"])
    other = cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path)
    folders = {rows.folder for rows in (plain, prompted, fewer, other)}
    assert len(folders) == 4
    assert other.ids.tolist() != plain.ids.tolist()


def test_what_padding_and_truncation_the_tokenizer_was_left_with_does_not_matter(tiny_corpus, tiny_tokenizer, tmp_path):
    before = cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path).folder
    tiny_tokenizer(tiny_corpus, padding=True, truncation=True, max_length=8)
    assert cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path).folder == before


def test_no_texts_and_empty_texts_are_kept_too(tiny_tokenizer, tmp_path):
    assert len(cached_tokens([], tiny_tokenizer, cache=tmp_path)) == 0
    assert cached_tokens(["", ""], tiny_tokenizer, cache=tmp_path).lengths.tolist() == [0, 0]


def test_mapped_rows_go_to_another_process_by_name(tiny_corpus, tiny_tokenizer, tmp_path):
    rows = cached_tokens(tiny_corpus * 50, tiny_tokenizer, cache=tmp_path)
    sent = pickle.dumps(rows)
    assert len(sent) < 1000
    assert as_lists(pickle.loads(sent)) == as_lists(rows)


@pytest.mark.parametrize("name", ["ids", "lengths", "marks"])
def test_damaged_files_are_refused_and_made_again(tiny_corpus, tiny_tokenizer, tmp_path, name):
    rows = cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path)
    expected = as_lists(rows)
    path = rows.folder / name
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match="is damaged"):
        open_tokens(rows.folder)
    assert as_lists(cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path)) == expected


def test_a_kill_before_the_end_leaves_nothing_that_opens(tiny_corpus, tiny_tokenizer, tmp_path):
    def interrupted(description, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path, progress=interrupted)
    assert list(tmp_path.glob(f"*/{MANIFEST}")) == []
    assert len(cached_tokens(tiny_corpus, tiny_tokenizer, cache=tmp_path)) == 60
