from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from textcl.corpus import duplicates
from textcl.corpus.duplicates import bands_and_rows, find_duplicates
from textcl.errors import ConfigError

SENTENCE = "a man in a blue shirt is standing on a ladder cleaning a window"
CHINESE = "一个穿蓝色衬衫的男人站在梯子上擦洗一扇很大的窗户他的朋友在下面看着他"
THAI = "ผู้ชายสวมเสื้อสีฟ้ายืนอยู่บนบันไดเพื่อทำความสะอาดหน้าต่าง"


def shingles(text):
    padded = f" {' '.join(text.casefold().split())} "
    return frozenset(padded[start : start + 3] for start in range(len(padded) - 2))


def jaccard(first, second):
    ours, theirs = shingles(first), shingles(second)
    return len(ours & theirs) / len(ours | theirs) if ours | theirs else 1.0


def by_loops(texts, threshold):
    """Group ids from all pairs; a group takes the id of what comes first in it."""
    groups = list(range(len(texts)))
    for first, second in itertools.combinations(range(len(texts)), 2):
        if groups[first] != groups[second] and jaccard(texts[first], texts[second]) >= threshold:
            kept, lost = sorted((groups[first], groups[second]))
            groups = [kept if group == lost else group for group in groups]
    numbers = {}
    return [numbers.setdefault(group, len(numbers)) for group in groups]


def edited(rng, text, edits):
    for _edit in range(edits):
        place = rng.randrange(len(text) + 1)
        text = text[:place] + rng.choice(["x", " ", "é", "", "猫", "Q"]) + text[place + rng.randrange(2) :]
    return text


def corpus(seed, count, most_edits):
    """Sentences of drawn words, and copies of them with some letters changed."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(1, 8))) for _word in range(200)]
    texts = [" ".join(rng.choices(words, k=rng.randint(5, 12))) for _text in range(count // 3)]
    return [edited(rng, rng.choice(texts), rng.randint(0, most_edits)) for _text in range(count)]


def as_list(ids):
    assert ids.dtype == np.int64
    return ids.tolist()


def test_without_a_threshold_equal_strings_are_a_group():
    assert as_list(find_duplicates(["b", "a", "b", "A", "a ", "a", ""])) == [0, 1, 0, 2, 3, 1, 4]


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_no_texts_have_no_groups(threshold):
    assert as_list(find_duplicates([], threshold)) == []
    assert find_duplicates([], threshold).shape == (0,)


@pytest.mark.parametrize("threshold", [None, 0.01, 0.8, 0.999999])
@pytest.mark.parametrize("text", ["", " ", "a", SENTENCE])
def test_one_text_is_a_group_and_so_are_its_copies(text, threshold):
    assert as_list(find_duplicates([text], threshold)) == [0]
    assert as_list(find_duplicates([text] * 5, threshold)) == [0] * 5


@pytest.mark.parametrize("threshold", [0.4, 0.6, 0.8, 0.9])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_groups_equal_those_of_all_pairs(seed, threshold):
    texts = corpus(seed, 150, 5)
    expected = by_loops(texts, threshold)
    assert len(set(expected)) < len(set(texts))
    assert as_list(find_duplicates(texts, threshold, seed=5)) == expected


TEXTS = st.lists(st.text(st.sampled_from("aB c\té猫\ud800😀"), max_size=9), max_size=12)


@given(TEXTS, st.sampled_from([0.3, 0.5, 2 / 3, 0.9]))
@example(["ab", "AB ", "", " \n", "a"], 0.5)
@settings(deadline=None)
def test_a_group_never_holds_what_no_chain_of_pairs_connects(texts, threshold):
    ids, expected = as_list(find_duplicates(texts, threshold)), by_loops(texts, threshold)
    assert list(dict.fromkeys(ids)) == list(range(len(set(ids))))
    assert len(set(zip(ids, expected, strict=True))) == len(set(ids))


def test_similarity_at_the_threshold_is_near_enough_and_below_is_not():
    first, second = "abcdefghij", "abcdefghik"  # 8 of 12 trigrams are shared: ", a" to "ghi"
    assert jaccard(first, second) == 8 / 12
    assert as_list(find_duplicates([first, second], 8 / 12)) == [0, 0]
    assert as_list(find_duplicates([first, second], np.nextafter(8 / 12, 1))) == [0, 1]


def test_a_trigram_that_is_there_twice_counts_once():
    assert jaccard("ababab", "abababab") == 1
    assert as_list(find_duplicates(["ababab", "abababab", "abab"], 0.99)) == [0, 0, 0]


def test_near_equal_is_passed_on():
    texts = [SENTENCE[cut:] for cut in range(0, 30, 6)]
    assert jaccard(texts[0], texts[-1]) < 0.7 < 0.8 < min(itertools.starmap(jaccard, itertools.pairwise(texts)))
    assert as_list(find_duplicates([texts[0], texts[-1]], 0.8)) == [0, 1]
    assert as_list(find_duplicates(texts, 0.8)) == [0] * 5


def test_ids_are_in_order_of_first_appearance():
    texts = ["zebra crossing", SENTENCE, "apple", SENTENCE + "s", "zebra crossing", "apple", "mango"]
    assert as_list(find_duplicates(texts, 0.8)) == [0, 1, 2, 1, 0, 2, 3]


@pytest.mark.parametrize(
    "other", [SENTENCE.upper(), SENTENCE.replace(" ", "\u3000 \n"), f"\t{SENTENCE}  ", f"{SENTENCE}."]
)
def test_letter_case_white_space_and_a_full_stop_do_not_matter(other):
    assert as_list(find_duplicates([SENTENCE, other], 0.9)) == [0, 0]


def test_case_is_folded_beyond_ascii():
    assert as_list(find_duplicates(["DIE STRASSE IST ΣΟΦΟΣ", "die straße ist σοφος"], 0.99)) == [0, 0]


@pytest.mark.parametrize("text", [CHINESE, THAI, "😀😁😂🤣😃😄😅😆😉😊😋😎😍😘"])
def test_scripts_without_spaces_have_near_equal_texts(text):
    one_letter_less = text[:5] + text[6:]
    assert as_list(find_duplicates([text, text[::-1], one_letter_less], 0.6)) == [0, 1, 0]


@pytest.mark.parametrize("shifted", ["\U00010061", "\U00020061", "\U00040061", "\U00080061", "\U00100061"])
def test_no_character_reaches_into_another_ones_bits(shifted):
    for low, high in (("`", "a"), ("a", "c"), ("a", "e"), ("a", "i"), ("a", "q")):
        assert as_list(find_duplicates([f"{low}{shifted}", f"{high}a"], 0.3)) == [0, 1]


def test_lone_surrogates_are_letters_like_others():
    assert as_list(find_duplicates([f"{letter}abc" for letter in "\ud800\ud801?\ud800"], 0.7)) == [0, 1, 2, 0]


def test_white_space_alone_is_one_group_and_close_to_nothing():
    assert as_list(find_duplicates(["", "a", " ", "\t\n", "b"], 0.01)) == [0, 1, 0, 0, 2]


def test_texts_shorter_than_a_shingle_are_grouped_if_they_are_equal():
    assert as_list(find_duplicates(["a", "b", "A", "ab", "ba", "a b", "一", "一"], 0.5)) == [0, 1, 0, 2, 3, 4, 5, 5]


def test_neighbours_in_the_joined_texts_lend_each_other_no_shingles():
    """A chunk is cut as one string, in which a trigram must not reach from one text into the next."""
    texts = ["ab", "cd", "ab"[::-1], "cd"[::-1]]
    assert [jaccard("ab", other) for other in texts[1:]] == [0, 0, 0]
    assert as_list(find_duplicates([*texts, SENTENCE, f"{SENTENCE}s"], 0.05)) == [0, 1, 2, 3, 4, 4]


def test_texts_in_different_chunks_are_found():
    rng = random.Random(0)
    between = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=12)) for _text in range(6000)]
    ids = as_list(find_duplicates([SENTENCE, *between, f"{SENTENCE}s"], 0.8))
    assert ids == [*range(len(between) + 1), 0]


def test_a_text_repeated_very_often_costs_no_more_than_once():
    ids = find_duplicates([SENTENCE, *[f"{SENTENCE}{mark}" for mark in ("", "!", ".")] * 30_000, "another"], 0.8)
    assert np.bincount(ids).tolist() == [90_001, 1]


def test_a_large_bucket_of_near_equal_texts_becomes_one_group():
    texts = [f"your order number {number} has been shipped to the address you gave" for number in range(8_000)]
    assert set(as_list(find_duplicates(texts, 0.7))) == {0}


def test_a_large_bucket_of_boilerplate_is_not_merged_below_the_threshold():
    """A common half is enough for a common bucket now and then, but the other half tells the texts apart."""
    rng = random.Random(1)
    ends = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=14)) for _text in range(3_000)]
    ids = as_list(find_duplicates([f"your order has been shipped to {end}" for end in ends], 0.8))
    assert len(set(ids)) == len(ends)


def test_groups_in_a_large_bucket_are_found_among_its_many_texts():
    rng = random.Random(2)
    ends = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=20)) for _text in range(500)]
    texts = [f"your order has been shipped to {end}{mark}" for mark in ("", "s", "!") for end in ends]
    assert as_list(find_duplicates(texts, 0.8)) == [*range(len(ends))] * 3


@pytest.mark.parametrize(("count", "last"), [(33, 32), (40, 32), (5, 4), (1, 0)])
def test_texts_of_a_bucket_are_compared_up_to_32_apart(count, last):
    """So a bucket of up to 33 texts misses no pair, and a larger one has no more than 32 for each text."""
    keys = np.zeros((1, count), np.uint64)
    proposed = [(int(a), int(b)) for pairs in duplicates._proposed(keys, 0) for a, b in zip(*pairs, strict=True)]
    expected = [(a, a + distance) for distance in range(1, last + 1) for a in range(count - distance)]
    assert proposed == expected


def test_a_bucket_is_ordered_by_the_band_before():
    keys = np.array([[5, 5, 5, 9, 5, 9], [3, 1, 2, 1, 3, 1]], np.uint64)
    neighbours = next(duplicates._proposed(keys, 0))
    assert [ids.tolist() for ids in neighbours] == [[1, 2, 0, 3], [2, 0, 4, 5]]


def test_many_pairs_are_compared_part_by_part():
    texts = [SENTENCE[: 3 + number].strip() for number in range(40)]
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 40, (2, 120_000))
    table = np.array([[jaccard(a, b) for b in texts] for a in texts])
    similarities = duplicates._similarities(duplicates._shingle_sets(texts), first, second)
    assert np.array_equal(similarities, table[first, second])


def test_other_hash_seeds_and_another_process_give_the_same_groups(lone_pairs):
    command = (
        "import json, sys; from textcl.corpus.duplicates import find_duplicates\n"
        "print(find_duplicates(json.load(sys.stdin), 0.8, seed=3).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", command],
            input=json.dumps(lone_pairs),
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    assert outputs == {str(as_list(find_duplicates(lone_pairs, 0.8, seed=3)))}


@pytest.fixture(scope="module")
def lone_pairs():
    """400 times two texts of a similarity just above 0.8, which are like no others."""
    rng, texts = random.Random(6), []
    for number in range(400):
        text = "".join(chr(0x4E00 + 60 * (number % 300) + place) for place in rng.sample(range(60), 46))
        texts += [text, text + "".join(chr(0xAC00 + 9 * number + place) for place in range(9))]
    assert all(0.8 <= jaccard(*pair) < 0.83 for pair in zip(texts[::2], texts[1::2], strict=True))
    return texts


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_most_pairs_at_the_threshold_are_found(lone_pairs, seed):
    """The chance to miss one holds for real sketches: 0.02 at 0.8, and a few in 400 here."""
    ids = find_duplicates(lone_pairs, 0.8, seed=seed).reshape(-1, 2)
    assert 0.97 <= (ids[:, 0] == ids[:, 1]).mean()
    assert len(set(ids[:, 0].tolist())) == 400


def test_the_seed_draws_the_sketches(lone_pairs):
    """Which few of the pairs are missed is up to it."""
    found = [tuple(as_list(find_duplicates(lone_pairs, 0.8, seed=seed))) for seed in (0, 0, 1, 2)]
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.8, 0.9, 0.99])
def test_bands_and_rows_find_a_pair_at_the_threshold_and_one_row_more_would_not(threshold):
    bands, rows = bands_and_rows(threshold)
    assert bands * rows <= 256
    assert 1 - (1 - threshold**rows) ** bands >= 0.98
    assert 1 - (1 - threshold ** (rows + 1)) ** (256 // (rows + 1)) < 0.98


def test_a_threshold_too_low_for_any_bands_takes_all_hashes_one_by_one():
    assert bands_and_rows(0.001) == (256, 1)


@pytest.mark.parametrize("threshold", [0, 1, 0.0, 1.0, -0.5, 1.5, float("nan"), float("inf")])
def test_a_threshold_that_is_no_similarity_between_0_and_1_is_refused(threshold):
    with pytest.raises(ConfigError, match=rf"^threshold: expected a similarity in \(0, 1\), got {threshold}$"):
        find_duplicates(["a"], threshold)


def test_progress_is_told_of_all_texts_and_bands():
    told = {}

    @contextmanager
    def progress(description, total):
        done = told.setdefault(description, [])
        yield done.append
        assert sum(done) == total

    texts = [f"{SENTENCE} {number}" for number in range(6000)]
    find_duplicates(texts + texts, 0.99, progress=progress)
    assert told == {"sketch texts": [5000, 1000], "compare texts, by bands": [1] * bands_and_rows(0.99)[0]}
    told.clear()
    find_duplicates(texts, progress=progress)
    assert told == {"group equal texts": [6000]}
