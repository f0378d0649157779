"""Definitions in plain loops, slow and obvious, that the code is held against."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

# --- evaluation ---------------------------------------------------------------------------------------------------


def float32(value):
    """The float32 nearest to a number, as a float."""
    return struct.unpack("f", struct.pack("f", value))[0]


def canonical(scored):
    """Ids by float32 score descending, then by id descending; an insertion sort."""
    ordered = []
    for doc_id, score in scored:
        key = (float32(score), doc_id)
        place = 0
        while place < len(ordered) and ordered[place] > key:
            place += 1
        ordered.insert(place, key)
    return [doc_id for _score, doc_id in ordered]


def exact_top(query, documents, doc_ids, k):
    """The k best (id, score) of one query, inner products in exact arithmetic, rounded once."""
    scored = []
    for doc_id, document in zip(doc_ids, documents, strict=True):
        total = Fraction(0)
        for a, b in zip(query, document, strict=True):
            total += Fraction(float(a)) * Fraction(float(b))
        scored.append((doc_id, float32(float(total))))
    by_id = dict(scored)
    return [(doc_id, by_id[doc_id]) for doc_id in canonical(scored)[:k]]


def precision(ranking, gains, k):
    return sum(1 for doc_id in ranking[:k] if gains.get(doc_id, 0) >= 1) / k


def recall(ranking, gains, k):
    relevant = sum(1 for gain in gains.values() if gain >= 1)
    found = sum(1 for doc_id in ranking[:k] if gains.get(doc_id, 0) >= 1)
    return found / relevant if relevant else 0.0


def hit_rate(ranking, gains, k):
    for doc_id in ranking[:k]:
        if gains.get(doc_id, 0) >= 1:
            return 1.0
    return 0.0


def mrr(ranking, gains, k=None):
    rank = 0
    for doc_id in ranking:
        rank += 1
        if k is not None and rank > k:
            break
        if gains.get(doc_id, 0) >= 1:
            return 1 / rank
    return 0.0


def average_precision(ranking, gains, k=None):
    relevant = sum(1 for gain in gains.values() if gain >= 1)
    total = 0.0
    for rank in range(1, len(ranking if k is None else ranking[:k]) + 1):
        if gains.get(ranking[rank - 1], 0) >= 1:
            total += precision(ranking, gains, rank)
    return total / relevant if relevant else 0.0


def ndcg(ranking, gains, k=None):
    def discounted(values):
        total = 0.0
        for rank, gain in enumerate(values, start=1):
            total += max(gain, 0) / math.log2(rank + 1)
        return total

    ideal = discounted(sorted(gains.values(), reverse=True)[:k])
    return discounted([gains.get(doc_id, 0) for doc_id in ranking[:k]]) / ideal if ideal else 0.0


def correlation(first, second):
    """Pearson's."""
    mean_first, mean_second = sum(first) / len(first), sum(second) / len(second)
    both = sum((a - mean_first) * (b - mean_second) for a, b in zip(first, second, strict=True))
    spread_first = sum((a - mean_first) ** 2 for a in first)
    spread_second = sum((b - mean_second) ** 2 for b in second)
    return both / math.sqrt(spread_first * spread_second)


def ranks(values):
    """Ranks from 1, ties sharing the mean of theirs."""
    found = []
    for value in values:
        below = sum(1 for other in values if other < value)
        equal = sum(1 for other in values if other == value)
        found.append(below + (equal + 1) / 2)
    return found


def cosine(first, second):
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / math.sqrt(sum(a * a for a in first) * sum(b * b for b in second))


# --- losses -------------------------------------------------------------------------------------------------------


def info_nce(anchors, positives, temperature, negatives=(), same=None, symmetric=False, same_side=False):
    """The mean over anchors of -log softmax of the own positive; `same[i][j]` takes row j out for anchor i."""
    if symmetric:
        forth = info_nce(anchors, positives, temperature, negatives, same, same_side=same_side)
        back = info_nce(positives, anchors, temperature, negatives, same, same_side=same_side)
        return (forth + back) / 2
    total = 0.0
    for i, anchor in enumerate(anchors):
        own = cosine(anchor, positives[i]) / temperature
        logits = [own]
        for j in range(len(positives)):
            if j == i or (same is not None and same[i][j]):
                continue
            logits.append(cosine(anchor, positives[j]) / temperature)
            if same_side:
                logits.append(cosine(anchor, anchors[j]) / temperature)
        logits += [cosine(anchor, negative) / temperature for negative in negatives]
        peak = max(logits)
        total += peak + math.log(sum(math.exp(logit - peak) for logit in logits)) - own
    return total / len(anchors)


def share_a_label(first, second):
    for label in first:
        for other in second:
            if label == other:
                return True
    return False


# --- views --------------------------------------------------------------------------------------------------------
# A row is a list of (id, marks); the random numbers come in as lists.


def units(row, whole_words):
    """The row cut into single tokens, or into words, which begin at a mark (bit 1) or at the row's begin."""
    cut = []
    for token in row:
        if cut and whole_words and not token[1] & 1:
            cut[-1].append(token)
        else:
            cut.append([token])
    return cut


def first_numbers(row, numbers, whole_words):
    """The number of each unit: that of its first token."""
    found, place = [], 0
    for unit in units(row, whole_words):
        found.append(numbers[place])
        place += len(unit)
    return found


def span_start_rate(rate, mean_span, max_span):
    """The chance to begin a span with which the share `rate` of the tokens is inside of one, by bisection."""

    def inside(start):
        outside = 1.0
        for longer in range(max_span):
            outside *= 1 - start * (1 - 1 / mean_span) ** longer
        return 1 - outside

    low, high = 0.0, 1.0
    for _step in range(50):
        middle = (low + high) / 2
        if inside(middle) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def geometric(number, mean, longest):
    """The least length whose chance, added to that of all shorter ones, is above a number in [0, 1)."""
    length, below = 1, 1 / mean
    while length < longest and number >= below:
        below += (1 / mean) * (1 - 1 / mean) ** length
        length += 1
    return length


def span_mask(tokens, begins, lengths, start_rate, mean_span, max_span):
    """Which of `tokens` places are hidden; the numbers are those of max_span - 1 places before them, then theirs."""
    before = max_span - 1
    hidden = [False] * tokens
    for place in range(before + tokens):
        if begins[place] < start_rate:
            for reached in range(place, place + geometric(lengths[place], mean_span, max_span)):
                if before <= reached < before + tokens:
                    hidden[reached - before] = True
    return hidden


def delete(row, numbers, rate, whole_words):
    cut = units(row, whole_words)
    own = first_numbers(row, numbers, whole_words)
    kept = []
    for unit, number in zip(cut, own, strict=True):
        if number >= rate or number == max(own):
            kept += unit
    return kept


def shuffle(row, numbers, distance, whole_words):
    """An insertion sort of the units by their place and their noise."""
    ordered = []
    for place, number in enumerate(first_numbers(row, numbers, whole_words)):
        key = place + number * (distance + 1)
        slot = len(ordered)
        while slot > 0 and ordered[slot - 1][0] > key:
            slot -= 1
        ordered.insert(slot, (key, place))
    cut = units(row, whole_words)
    return [token for _key, place in ordered for token in cut[place]]


def repeat(row, numbers, count_number, max_fraction, whole_words):
    """The units with the smallest numbers twice; the sentence mark (bit 2) stays with the first."""
    cut = units(row, whole_words)
    own = first_numbers(row, numbers, whole_words)
    most = min(max(2, int(max_fraction * len(cut))), len(cut)) if max_fraction else 0
    count = int(count_number * (most + 1))
    said = []
    for unit, number in zip(cut, own, strict=True):
        said += unit
        if sum(1 for other in own if other < number) < count:
            said += [(token, mark & ~2) for token, mark in unit]
    return said


def leaves_taken(view, row, shares):
    """The (leaf, name) through which one row of a composition goes, in order.

    `view` is nested tuples: ("chain", [...]), ("choice", weights, [...]), ("where", rows, ...) or ("leaf", leaf);
    `shares(name)` is the number in [0, 1) that the part called `name` draws for the row.
    """

    def walk(view, name):
        if view[0] == "leaf":
            return [(view[1], name)]
        if view[0] == "where":
            return walk(view[2], name) if row in view[1] else []
        if view[0] == "chain":
            return [taken for number, link in enumerate(view[1]) for taken in walk(link, (*name, number))]
        share, reached = shares(name), 0.0
        for number, weight in enumerate(view[1]):
            reached += weight / sum(view[1])
            if share < reached:
                return walk(view[2][number], (*name, number))
        raise AssertionError(share)

    return walk(view, ())
