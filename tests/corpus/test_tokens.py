from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.strategies import as_lists, make_rows, plain_rows, token_rows
from textcl.corpus import tokens as tokens_module
from textcl.corpus.tokens import (
    SENTENCE_START,
    WORD_START,
    TokenRows,
    concatenate,
    offsets_of,
    special_tokens,
    tokenise,
)
from textcl.errors import ConfigError, ShapeError

ODD_TEXTS = ["", " ", "a", "Zürich, 東京!", "x" * 300, "the river\n\nrises\t.", "[MASK] is a word here", "e\u0301tude"]
PROMPTS = ["", "query: ", "query:", "A question. Find its answer: "]


def texts_and_odd_ones(corpus):
    return [*ODD_TEXTS, *corpus[:12], " ".join(corpus[:6])]


def marked(tokenizer, text, bit, prompt=""):
    """The tokens of a text that have a mark."""
    rows = tokenise([text], tokenizer, prompt)
    found = tokenizer.convert_ids_to_tokens(rows.ids.tolist())
    return [(place, token) for place, (token, mark) in enumerate(zip(found, rows.marks, strict=True)) if mark & bit]


def test_ids_are_the_tokenizer_s_own(tiny_tokenizer, tiny_corpus):
    texts = texts_and_odd_ones(tiny_corpus)
    rows = tokenise(texts, tiny_tokenizer)
    expected = tiny_tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert [rows.row(index).tolist() for index in range(len(rows))] == expected


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("room", [1, 2, 7, 60])
def test_wrapped_rows_are_the_tokenizer_s_own_with_truncation(tiny_tokenizer, tiny_corpus, prompt, room):
    texts = texts_and_odd_ones(tiny_corpus)
    prefix, suffix = special_tokens(tiny_tokenizer, prompt)
    limit = len(prefix) + len(suffix) + room
    rows = tokenise(texts, tiny_tokenizer, prompt).wrapped(prefix, suffix, limit)
    expected = tiny_tokenizer([prompt + text for text in texts], truncation=True, max_length=limit)["input_ids"]
    assert [rows.row(index).tolist() for index in range(len(rows))] == expected


def test_special_tokens_stand_around_the_prompt(tiny_tokenizer):
    cls, sep = tiny_tokenizer.cls_token_id, tiny_tokenizer.sep_token_id
    query = tiny_tokenizer("query:", add_special_tokens=False)["input_ids"]
    assert special_tokens(tiny_tokenizer) == ((cls,), (sep,))
    assert special_tokens(tiny_tokenizer, "query: ") == ((cls, *query), (sep,))


def test_a_tokenizer_without_special_tokens_has_none():
    assert special_tokens(space_holding_tokenizer(["a"])) == ((), ())


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_leaves_no_token_and_no_mark_in_the_rows(tiny_tokenizer, tiny_corpus, prompt):
    texts = [*tiny_corpus[:12], "One. Two. Three."]
    bare, prompted = tokenise(texts, tiny_tokenizer), tokenise(texts, tiny_tokenizer, prompt)
    assert as_lists(prompted) == as_lists(bare)


def test_a_token_across_the_end_of_the_prompt_belongs_to_the_text(tiny_tokenizer):
    rows = tokenise(["e river", ", bees"], tiny_tokenizer, "th")
    words = [tiny_tokenizer.convert_ids_to_tokens(rows.row(place).tolist()) for place in range(2)]
    assert words == [["the", "river"], [",", "bees"]]
    assert rows.marks.tolist() == [WORD_START | SENTENCE_START, WORD_START, WORD_START | SENTENCE_START, WORD_START]


def test_words_start_at_their_first_piece(tiny_tokenizer):
    assert tiny_tokenizer.tokenize("The river hob.") == ["the", "river", "h", "##o", "##b", "."]
    starts = marked(tiny_tokenizer, "The river hob.", WORD_START)
    assert starts == [(0, "the"), (1, "river"), (2, "h"), (5, ".")]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("the river. the mill? the bees!", ["the", "the", "the"]),
        ('the "river." the mill', ["the", "the"]),
        ("the river.the mill", ["the"]),
        ("the river.  ", ["the"]),
        ("the river", ["the"]),
        ("the 3.5 bees", ["the"]),
        ("", []),
    ],
)
def test_sentences_start_at_their_first_token(tiny_tokenizer, prompt, text, starts):
    found = marked(tiny_tokenizer, text, SENTENCE_START, prompt)
    assert [token for _place, token in found] == starts
    assert [place for place, _token in found][:1] == [0][: len(starts)]


def space_holding_tokenizer(words):
    """A tokenizer whose tokens hold the space before their word, as GPT-2's and sentencepiece's do."""
    vocabulary = {name: place for place, name in enumerate(["<unk>", *words, *(f" {word}" for word in words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_a_token_that_holds_the_space_before_it_starts_its_sentence():
    tokenizer = space_holding_tokenizer(["one", "two.", "three"])
    assert marked(tokenizer, "one two. three one", SENTENCE_START) == [(0, "one"), (2, " three")]
    assert marked(tokenizer, "one two. three one", WORD_START) == [(0, "one"), (1, " two."), (2, " three"), (3, " one")]


def test_texts_beyond_one_chunk_keep_their_order(tiny_tokenizer, tiny_corpus):
    texts = [tiny_corpus[place % 60] for place in range(2 * tokens_module._CHUNK_TEXTS + 1)]
    done = []

    class Recorder:
        def __init__(self, description, total):
            done.append(total)

        def __enter__(self):
            return done.append

        def __exit__(self, *_):
            pass

    rows = tokenise(texts, tiny_tokenizer, progress=Recorder)
    alone = tokenise(tiny_corpus, tiny_tokenizer)
    assert all((rows.row(place) == alone.row(place % 60)).all() for place in range(len(texts)))
    assert done == [len(texts), tokens_module._CHUNK_TEXTS, tokens_module._CHUNK_TEXTS, 1]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_without_marks_the_ids_are_the_same_and_the_marks_zero(tiny_tokenizer, tiny_corpus, prompt):
    texts = [*tiny_corpus, "", "One. Two. é世界"]
    tiny_tokenizer(texts, truncation=True, max_length=4, padding=True)  # what another caller has set is not kept
    bare, marked = (tokenise(texts, tiny_tokenizer, prompt, marks=wanted) for wanted in (False, True))
    assert bare.ids.tolist() == marked.ids.tolist()
    assert bare.offsets.tolist() == marked.offsets.tolist()
    assert marked.marks.any()
    assert not bare.marks.any()
    assert bare.marks.dtype == np.uint8


def test_no_texts_are_no_rows(tiny_tokenizer):
    rows = tokenise([], tiny_tokenizer)
    assert (len(rows), rows.ids.dtype, rows.offsets.tolist()) == (0, np.int32, [0])


def test_the_arrays_have_the_types_that_they_promise(tiny_tokenizer, tiny_corpus):
    for texts in (tiny_corpus, ["", ""], []):
        rows = tokenise(texts, tiny_tokenizer)
        assert (rows.ids.dtype, rows.offsets.dtype, rows.marks.dtype) == (np.int32, np.int64, np.uint8)


@given(token_rows(), st.data())
def test_take_picks_rows_in_the_order_asked_for(rows, data):
    lists = as_lists(rows)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if len(rows) else []
    taken = rows.take(np.array(chosen, dtype=np.int64))
    assert as_lists(taken) == [lists[row] for row in chosen]


@given(token_rows(), st.integers(0, 14))
def test_cut_keeps_the_first_tokens_of_each_row(rows, limit):
    assert as_lists(rows.cut(limit)) == [row[:limit] for row in as_lists(rows)]


@given(token_rows(), st.data())
def test_keep_keeps_the_tokens_that_are_named(rows, data):
    kept = data.draw(st.lists(st.booleans(), min_size=len(rows.ids), max_size=len(rows.ids)))
    flags = iter(kept)
    expected = [[token for token in row if next(flags)] for row in as_lists(rows)]
    assert as_lists(rows.keep(np.array(kept, dtype=bool))) == expected


@given(token_rows(), st.data())
def test_spans_are_slices_of_the_flat_arrays(rows, data):
    flat = [token for row in as_lists(rows) for token in row]
    starts = data.draw(st.lists(st.integers(0, len(flat)), max_size=6))
    lengths = [data.draw(st.integers(0, len(flat) - start)) for start in starts]
    spans = rows.spans(np.array(starts, dtype=np.int64), np.array(lengths, dtype=np.int64))
    assert as_lists(spans) == [flat[start : start + length] for start, length in zip(starts, lengths, strict=True)]


@given(
    token_rows(), st.lists(st.integers(1, 4), max_size=3), st.lists(st.integers(1, 4), max_size=3), st.integers(1, 9)
)
def test_wrapping_puts_prefix_and_suffix_around_what_fits(rows, prefix, suffix, room):
    wrapped = rows.wrapped(prefix, suffix, len(prefix) + len(suffix) + room)
    around = [(token, 0) for token in prefix], [(token, 0) for token in suffix]
    assert as_lists(wrapped) == [[*around[0], *row[:room], *around[1]] for row in as_lists(rows)]


@given(st.lists(token_rows(), min_size=1, max_size=4))
def test_concatenation_puts_one_part_after_the_other(parts):
    assert as_lists(concatenate(parts)) == [row for part in parts for row in as_lists(part)]


@given(st.lists(st.integers(0, 9)))
def test_offsets_are_running_sums(lengths):
    assert offsets_of(np.array(lengths, dtype=np.int64)).tolist() == [sum(lengths[:n]) for n in range(len(lengths) + 1)]


@given(token_rows())
def test_operations_change_nothing_in_place(rows):
    before = as_lists(rows)
    for changed in (rows.cut(2), rows.take(np.arange(len(rows))), rows.wrapped((1,), (2,), 9)):
        changed.ids[:] = 0
        changed.marks[:] = 0
    assert as_lists(rows) == before


def test_lengths_count_the_tokens_of_each_row():
    rows = plain_rows([5, 6], [], [7])
    assert (len(rows), rows.lengths.tolist()) == (3, [2, 0, 1])


def test_a_prompt_that_fills_the_limit_is_refused_by_name():
    with pytest.raises(
        ConfigError, match=r"^max_tokens: expected more than the 4 of the prompt and the special tokens"
    ):
        plain_rows([5, 6]).wrapped((1, 2, 3), (4,), 4)


@pytest.mark.parametrize(("offsets", "marks"), [([0, 1], 2), ([1, 2], 2), ([], 2), ([0, 2], 1)])
def test_arrays_that_do_not_fit_each_other_are_refused(offsets, marks):
    with pytest.raises(ShapeError):
        TokenRows(np.zeros(2, np.int32), np.array(offsets, dtype=np.int64), np.zeros(marks, np.uint8))


def test_make_rows_and_as_lists_are_inverse():
    lists = [[(5, 3), (6, 0)], [], [(7, 1)]]
    assert as_lists(make_rows(lists)) == lists
