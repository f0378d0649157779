"""Definitions in plain loops, slow and obvious, that the code is held against."""

from __future__ import annotations

import itertools
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


def r_precision(ranking, gains):
    relevant = sum(1 for gain in gains.values() if gain >= 1)
    return precision(ranking, gains, relevant) if relevant else 0.0


def judged(ranking, gains, k):
    known = 0
    for doc_id in ranking[:k]:
        if doc_id in gains:
            known += 1
    return known / len(ranking[:k]) if ranking else 0.0


def orders_of_ties(scored):
    """Every ranking that has greater scores first: (document ids) for each order of equal float32 scores."""
    groups = {}
    for doc_id, score in scored:
        groups.setdefault(float32(score), []).append(doc_id)
    orders = [[]]
    for score in sorted(groups, reverse=True):
        ways = list(itertools.permutations(groups[score]))
        orders = [[*order, *way] for order in orders for way in ways]
    return orders


def holm(p_values):
    """Each p value times how many are at least as large, never below a smaller one's, at most 1."""
    adjusted = []
    for p in p_values:
        found = 0.0
        for other in p_values:
            if other <= p:
                left = sum(1 for one in p_values if one >= other)
                found = max(found, min(1.0, left * other))
        adjusted.append(found)
    return adjusted


def sign_flip_p(differences):
    """The share of all signs under which the mean lies as far out, twice that of the nearer side."""
    observed, above, below, count = sum(differences), 0, 0, 0
    for signs in itertools.product((1, -1), repeat=len(differences)):
        total = sum(sign * one for sign, one in zip(signs, differences, strict=True))
        above += total >= observed - 1e-12
        below += total <= observed + 1e-12
        count += 1
    return min(1.0, 2 * min(above, below) / count)


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


def grain(cosine):
    """The cosine to the nearest multiple of 2 ** -24."""
    return round(cosine * 2**24) / 2**24


def negatives_of(i, anchors, positives, negatives=(), same=None, same_side=False, same_negatives=None, further=None):
    """The rows that anchor i is told apart from; `same`, `same_negatives` and `further` positives take rows out."""
    found = []
    for j in range(len(positives)):
        if j != i and (same is None or not same[i][j]) and (further is None or not further[i][j]):
            found.append(positives[j])
            if same_side:
                found.append(anchors[j])
    for k, negative in enumerate(negatives):
        if same_negatives is None or not same_negatives[i][k]:
            found.append(negative)
    return found


def positives_of(i, positives, further=None):
    """The rows that anchor i is drawn to: its own, and row j's where `further` has (i, j)."""
    found = []
    for j, positive in enumerate(positives):
        if j == i or (further is not None and further[i][j]):
            found.append(positive)
    return found


def info_nce(
    anchors,
    positives,
    temperature,
    negatives=(),
    same=None,
    symmetric=False,
    same_side=False,
    same_negatives=None,
    decoupled=False,
    label_smoothing=0.0,
    hardness=0.0,
    weigh=None,
    further=None,
):
    """The mean over anchors, and over the positives of each, of the cross-entropy of one positive among negatives.

    `weigh` are the (anchors, positives, negatives) whose similarities decide the weights of negatives; None is these.
    """
    if symmetric:
        options = {"same_negatives": same_negatives, "decoupled": decoupled, "label_smoothing": label_smoothing}
        options |= {"same_side": same_side, "hardness": hardness, "further": further}
        turned = weigh and (weigh[1], weigh[0], weigh[2])
        forth = info_nce(anchors, positives, temperature, negatives, same, weigh=weigh, **options)
        back = info_nce(positives, anchors, temperature, negatives, same, weigh=turned, **options)
        return (forth + back) / 2
    total = 0.0
    for i, anchor in enumerate(anchors):
        pulled = [cosine(anchor, row) / temperature for row in positives_of(i, positives, further)]
        options = (same, same_side, same_negatives, further)
        others = [cosine(anchor, row) / temperature for row in negatives_of(i, anchors, positives, negatives, *options)]
        if not others:
            continue
        at = weigh or (anchors, positives, negatives)
        near = [cosine(at[0][i], row) / temperature for row in negatives_of(i, *at, *options)]
        weights = [math.exp(hardness * logit) for logit in near]
        weights = [weight * len(weights) / sum(weights) for weight in weights]
        even = sum([*pulled, *others]) / len([*pulled, *others])
        for own in pulled:
            candidates = others if decoupled else [own, *others]
            factors = weights if decoupled else [1.0, *weights]
            peak = max(candidates)
            mass = sum(factor * math.exp(logit - peak) for factor, logit in zip(factors, candidates, strict=True))
            target = (1 - label_smoothing) * own + label_smoothing * even
            total += (peak + math.log(mass) - target) / len(pulled)
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


# --- more losses --------------------------------------------------------------------------------------------------


def sigmoid_loss(anchors, positives, temperature, bias, negatives=(), same=None, same_negatives=None, further=None):
    """Minus log of the logistic function of each pair's logit, and of minus each other logit, over the anchors."""
    total = 0.0
    for i, anchor in enumerate(anchors):
        for row in positives_of(i, positives, further):
            total += math.log1p(math.exp(-(cosine(anchor, row) / temperature + bias)))
        for row in negatives_of(i, anchors, positives, negatives, same, False, same_negatives, further):
            total += math.log1p(math.exp(cosine(anchor, row) / temperature + bias))
    return total / len(anchors)


def cosine_above(first, second, least):
    """Whether two rows, neither of them of zeros, have a cosine above a number."""
    return any(first) and any(second) and cosine(first, second) > least


def nearer_across(i, j, anchors, positives, own, margin):
    """Whether a text of row i is nearer to row j's on the other side than the pair `own` is, less a margin."""
    if not any(anchors[own]) or not any(positives[own]):
        return False
    least = cosine(anchors[own], positives[own]) - margin
    return cosine_above(anchors[i], positives[j], least) or cosine_above(positives[i], anchors[j], least)


def same_rows(anchors, positives, above=None, margin=None):
    """Which rows are taken for the same by any of their texts, or by those across and the own pair of either."""
    found = []
    for i in range(len(anchors)):
        found.append([])
        for j in range(len(anchors)):
            judged = [i == j]
            if above is not None:
                texts = [(first, second) for first in (anchors, positives) for second in (anchors, positives)]
                judged += [cosine_above(first[i], second[j], above) for first, second in texts]
            if margin is not None:
                judged += [nearer_across(i, j, anchors, positives, own, margin) for own in (i, j)]
            found[i].append(any(judged))
    return found


def same_candidates(anchors, positives, candidates, above=None, margin=None):
    """Which candidates are too near to a row to be its negatives."""
    found = []
    for anchor, positive in zip(anchors, positives, strict=True):
        found.append([])
        for candidate in candidates:
            same = False
            if above is not None:
                same = cosine_above(anchor, candidate, above) or cosine_above(positive, candidate, above)
            if margin is not None and any(anchor) and any(positive):
                same = same or cosine_above(anchor, candidate, cosine(anchor, positive) - margin)
            found[-1].append(same)
    return found


def negative_cosine(predictions, targets):
    return -sum(cosine(*pair) for pair in zip(predictions, targets, strict=True)) / len(predictions)


def mean(values):
    return sum(values) / len(values)


def covariances(first, second, divisor):
    """The matrix of sums of products of centred columns, over `divisor`."""
    first, second = list(zip(*first, strict=True)), list(zip(*second, strict=True))
    return [
        [sum((x - mean(one)) * (y - mean(two)) for x, y in zip(one, two, strict=True)) / divisor for two in second]
        for one in first
    ]


def barlow_twins(first, second, off_diagonal_weight, scale):
    rows = len(first)
    across = covariances(first, second, rows)
    own_first, own_second = covariances(first, first, rows), covariances(second, second, rows)
    total = 0.0
    for i in range(len(across)):
        for j in range(len(across)):
            spread = math.sqrt((own_first[i][i] + 1e-5) * (own_second[j][j] + 1e-5))
            correlation = across[i][j] / spread
            total += (1 - correlation) ** 2 if i == j else off_diagonal_weight * correlation**2
    return scale * total


def vicreg(first, second, invariance, variance, covariance):
    rows, width = len(first), len(first[0])
    total = 0.0
    for one, two in zip(first, second, strict=True):
        total += invariance * sum((x - y) ** 2 for x, y in zip(one, two, strict=True)) / (rows * width)
    for side in (first, second):
        found = covariances(side, side, rows - 1)
        for i in range(width):
            total += variance * max(0.0, 1 - math.sqrt(found[i][i] + 1e-4)) / width
            total += covariance * sum(found[i][j] ** 2 for j in range(width) if j != i) / width
    return total


def sphere_distance(first, second):
    return math.sqrt(max(0.0, 2 - 2 * cosine(first, second)))


def alignment(first, second, alpha):
    return mean([sphere_distance(*pair) ** alpha for pair in zip(first, second, strict=True)])


def uniformity(rows, t):
    pairs = [(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
    return math.log(mean([math.exp(-t * sphere_distance(*pair) ** 2) for pair in pairs]))


def similarity_distillation(rows, frozen, temperature):
    """The mean over rows of KL(softmax of the frozen similarities with the others, the same of the trained ones)."""

    def shares(found, i):
        masses = [math.exp(cosine(found[i], found[j]) / temperature) for j in range(len(found)) if j != i]
        return [mass / sum(masses) for mass in masses]

    total = 0.0
    for i in range(len(rows)):
        for wanted, has in zip(shares(frozen, i), shares(rows, i), strict=True):
            total += wanted * math.log(wanted / has)
    return total / len(rows)
