"""Facts of a made-up run that has everything, with texts that would like to be code."""

from __future__ import annotations

import numpy as np

from textcl.report.contents import (
    CorpusMap,
    CurvePoint,
    Document,
    IndexFacts,
    RunFacts,
    Similarities,
    Slice,
    WorstQuery,
)

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'><b>bold</b> %{x} $0"


def measures(mean, queries=40):
    return {
        name: {"mean": mean + place / 10, "low": mean - 0.05, "high": mean + 0.15, "queries": queries}
        for place, name in enumerate(("ndcg@10", "mrr@10"))
    }


def difference(value):
    return {name: {"difference": value, "low": value - 0.02, "high": value + 0.02} for name in ("ndcg@10", "mrr@10")}


def full_run(name="run", shift=0.0):
    """A run of which nothing is missing; `shift` moves its numbers."""
    rng = np.random.default_rng(7)
    texts = [f"document {number} {HOSTILE}" for number in range(30)]
    systems = {"before": measures(0.4), "bm25": measures(0.35), "after": measures(0.5 + shift)}
    documents = [Document("d1", HOSTILE, 1, False), Document("d2", None, None, True)]
    names = ("loss", "learning_rate", "ndcg@10", "temperature", "health/alignment", "health/uniformity")
    names = (*names, "health/effective_rank", "speed/pairs_per_s", "speed/padding_fraction")
    steps = list(range(1, 41))
    return RunFacts(
        name=name,
        folder=f"runs/{HOSTILE}",
        collection="dev",
        systems=systems,
        changes={("after", "before"): difference(0.1 + shift), ("after", "bm25"): difference(0.15 + shift)},
        curves={one: (steps, [shift + 1 / step for step in steps]) for one in names},
        similarities={
            one: Similarities(rng.normal(0.7, 0.1, 50), rng.normal(0.2, 0.1, 500)) for one in ("before", "after")
        },
        corpus_map=CorpusMap(
            doc_ids=[f"d{number}" for number in range(30)],
            texts=texts,
            field="topic",
            values=[HOSTILE if number % 3 == 0 else None if number % 3 == 1 else "plain" for number in range(30)],
            points={one: rng.normal(size=(30, 2)) for one in ("before", "after")},
            explained={one: (0.3, 0.2) for one in ("before", "after")},
            drawn=25,
            corpus=100,
        ),
        slices=[Slice("query length", HOSTILE, 20, systems, difference(0.1))],
        worst=[WorstQuery("q1", HOSTILE, 0.0, 0.5, documents, documents[1:])],
        worst_by="ndcg@10",
        indexes=[
            IndexFacts(
                "answers.index",
                [CurvePoint(f"nprobe={n}", 1 - 0.2 / n, 0.1 * n, 0.2 * n, 900 / n) for n in (1, 2, 8)],
                {"ndcg@10": {"exact": 0.65, "decoded": 0.64, "index": 0.62}},
            )
        ],
        recipe=f"seed: 0\n# {HOSTILE}\n",
        settings={"seed": str(shift), "method.name": "pairs"},
        facts={"data fingerprint": "abc", "versions.torch": "2"},
        files={"model/model.safetensors": "0" * 64},
        missing=[f"nothing: {HOSTILE}"],
    )
