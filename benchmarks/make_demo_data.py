"""Make the data of `textcl demo` from MedQuAD: three groups of topics, none of which shares a topic or a text.

    python -m benchmarks.make_demo_data --medquad FOLDER --out textcl/demo_data

FOLDER holds pairs.jsonl.gz with the fields text1 (question), text2 (answer), focus (topic), type and source. The same
input gives the same bytes (with the same versions of Python and zlib).
"""

from __future__ import annotations

import argparse
import gzip
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from textcl.artifacts import write_whole
from textcl.corpus.formats import numbered_rows
from textcl.randomness import permutation

MAX_BYTES = 2_000_000
_OTHER_BYTES = 10_000  # kept free for small files that lie beside the data, such as the demo's recipe
ATTRIBUTION = """\
# Where the demo's data comes from

The questions and answers in this folder are a part of **MedQuAD**, the Medical Question Answering Dataset.

- Authors: Asma Ben Abacha and Dina Demner-Fushman.
- Paper: *A Question-Entailment Approach to Question Answering*, BMC Bioinformatics, 2019,
  <https://doi.org/10.1186/s12859-019-3119-4>.
- Repository: <https://github.com/abachaa/MedQuAD>.
- Licence: Creative Commons Attribution 4.0 International (CC BY 4.0), <https://creativecommons.org/licenses/by/4.0/>.

The authors collected the text from web sites of the United States National Institutes of Health (NIH), among them the
National Cancer Institute, the Genetic and Rare Diseases Information Center, Genetics Home Reference and MedlinePlus.
It is here to show how search works. It is no medical advice.

## What was changed

Questions and answers are word for word those of MedQuAD as it was given to us; what differs is which there are and how
they are filed.

- Collections whose answers the authors withdrew are not part of it.
- Left out: rows without a topic, rows whose question or answer stands under more than one topic (upper and lower case
  and white space aside), and repeated rows.
- The topics that remain were shuffled and cut into three groups, and the rest was left out; no topic, question or
  answer is in two groups.
- `train.jsonl.gz` has the question, answer, topic, type and source collection of each pair of the first group.
- `dev/` and `test/` are BEIR folders: the answers are the documents, the questions the queries, and an answer is
  relevant to its own questions. Equal answers became one document, equal questions one query.

`python -m benchmarks.make_demo_data` does all this.
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """One question and its answer; `row` is its line in the source, counted from 1."""

    row: int
    question: str
    answer: str
    topic: str
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much to choose: answers for testing and for development, pairs for training, bytes in all."""

    test_answers: int = 2000
    dev_answers: int = 700
    train_pairs: int = 3600
    max_bytes: int = MAX_BYTES - _OTHER_BYTES


def normalised(text: str) -> str:
    """Return the text in lower case with single spaces: what counts as the same text."""
    return " ".join(text.casefold().split())


def read_pairs(medquad: Path) -> list[Pair]:
    """Read pairs.jsonl.gz in the folder `medquad`; a topic is `focus` in lower case."""
    rows = numbered_rows(medquad / "pairs.jsonl.gz")
    return [
        Pair(line, row["text1"], row["text2"], row["focus"].casefold().strip(), row["type"], row["source"])
        for line, row in rows
        if row is not None
    ]


def usable(pairs: Sequence[Pair]) -> list[Pair]:
    """Leave out pairs without a topic, with a text that stands under several topics, and repeated ones."""
    topics: dict[tuple[str, str], set[str]] = defaultdict(set)
    for pair in pairs:
        topics["question", normalised(pair.question)].add(pair.topic)
        topics["answer", normalised(pair.answer)].add(pair.topic)
    kept: dict[tuple[str, str], Pair] = {}
    for pair in pairs:
        question, answer = normalised(pair.question), normalised(pair.answer)
        if pair.topic and len(topics["question", question]) == 1 and len(topics["answer", answer]) == 1:
            kept.setdefault((question, answer), pair)
    return list(kept.values())


def files_of(pairs: Sequence[Pair], sizes: Sizes) -> dict[str, bytes]:
    """Return the content of every file by its path in the folder, at most `sizes.max_bytes` in all."""
    topics = _shuffled_topics(pairs)
    test, topics = _take(topics, sizes.test_answers, _count_answers)
    dev, topics = _take(topics, sizes.dev_answers, _count_answers)
    files = {"ATTRIBUTION.md": ATTRIBUTION.encode(), **_collection("test", test), **_collection("dev", dev)}
    train, _unused = _take(topics, sizes.train_pairs, len)
    files["train.jsonl.gz"] = _train(train, sizes.max_bytes - sum(map(len, files.values())))
    return files


def _shuffled_topics(pairs: Sequence[Pair]) -> list[list[Pair]]:
    by_topic: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_topic[pair.topic].append(pair)
    names = sorted(by_topic)
    return [by_topic[names[index]] for index in permutation(len(names), "demo data")]


def _take(
    topics: Sequence[list[Pair]], size: int, measure: Callable[[list[Pair]], int]
) -> tuple[list[list[Pair]], list[list[Pair]]]:
    """Split off the first topics that together measure at least `size`."""
    measured = 0
    for count, topic in enumerate(topics):
        if measured >= size:
            return list(topics[:count]), list(topics[count:])
        measured += measure(topic)
    return list(topics), []


def _count_answers(pairs: Sequence[Pair]) -> int:
    return len({normalised(pair.answer) for pair in pairs})


def _train(topics: Sequence[list[Pair]], max_bytes: int) -> bytes:
    """Return train.jsonl.gz with as many of the first topics as fit."""

    def content(count: int) -> bytes:
        return _lines(
            {
                "question": pair.question,
                "answer": pair.answer,
                "topic": pair.topic,
                "type": pair.kind,
                "source": pair.source,
            }
            for pair in _in_order(topics[:count])
        )

    # Size grows with the topics but for some bytes of the compressor: the loop settles what bisection left.
    fitting = bisect_right(range(len(topics) + 1), max_bytes, key=lambda count: len(content(count))) - 1
    while len(packed := content(fitting)) > max_bytes:
        fitting -= 1
    return packed


def _in_order(topics: Iterable[list[Pair]]) -> list[Pair]:
    return sorted(chain.from_iterable(topics), key=lambda pair: pair.row)


def _collection(split: str, topics: Iterable[list[Pair]]) -> dict[str, bytes]:
    """Return the files of a BEIR folder: equal answers are one document, equal questions one query."""
    documents: dict[str, dict[str, str]] = {}
    queries: dict[str, dict[str, str]] = {}
    judged: dict[tuple[str, str], None] = {}
    for pair in _in_order(topics):
        document = {"_id": f"a{pair.row}", "title": "", "text": pair.answer}
        query = {"_id": f"q{pair.row}", "text": pair.question, "topic": pair.topic}
        document = documents.setdefault(normalised(pair.answer), document)
        query = queries.setdefault(normalised(pair.question), query)
        judged[query["_id"], document["_id"]] = None
    qrels = "".join(f"{query_id}\t{doc_id}\t1\n" for query_id, doc_id in judged)
    return {
        f"{split}/corpus.jsonl.gz": _lines(documents.values()),
        f"{split}/queries.jsonl.gz": _lines(queries.values()),
        f"{split}/qrels/{split}.tsv": f"query-id\tcorpus-id\tscore\n{qrels}".encode(),
    }


def _lines(rows: Iterable[Mapping[str, str]]) -> bytes:
    """Return rows as compressed JSON lines; neither a time nor a name gets into the bytes."""
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def main() -> None:
    """Write the files and print what is in them."""
    parser = argparse.ArgumentParser(description="Make the data of textcl demo from MedQuAD.")
    parser.add_argument("--medquad", type=Path, required=True, help="folder that holds pairs.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, such as textcl/demo_data")
    arguments = parser.parse_args()
    pairs = read_pairs(arguments.medquad)
    kept = usable(pairs)
    files = files_of(kept, Sizes())
    for name, data in files.items():
        path = arguments.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
        rows = gzip.decompress(data).count(b"\n") if name.endswith(".gz") else data.count(b"\n")
        print(f"{name}: {rows:,} lines, {len(data):,} bytes")
    print(f"{len(kept):,} of {len(pairs):,} pairs usable; {sum(map(len, files.values())):,} bytes in all")


if __name__ == "__main__":
    main()
