"""Rankings and judgements → measures, groups of queries and the worst queries of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textcl.assemble.reporting_files import RunFiles, measures_in
from textcl.corpus.collection import Collection
from textcl.errors import ArtifactError, DataError
from textcl.evaluation.compare import compare_runs
from textcl.evaluation.measures import score_run
from textcl.evaluation.ranking import Run
from textcl.evaluation.retrieval import evaluate_run
from textcl.evaluation.slices import by_length
from textcl.report.contents import BASE, BM25, TRAINED, Document, Measures, Slice, WorstQuery

WORST = 20
_FOUND, _WANTED, _LETTERS = 3, 3, 280


@dataclass(frozen=True)
class Rankings:
    """What a report shows of a run's rankings; its fields are those of RunFacts."""

    systems: dict[str, Measures]
    changes: dict[tuple[str, str], Measures]
    slices: list[Slice]
    worst: list[WorstQuery]
    worst_by: str | None
    notes: list[str]


def score_rankings(files: RunFiles, collection: Collection | None, measures: Sequence[str], seed: int) -> Rankings:
    """Score what a run ranked; what evaluation.json says already is taken from there.

    Args:
        files: Of the run.
        collection: What was ranked, or None where it cannot be reached; then only evaluation.json speaks.
        measures: Such as "ndcg@10"; the first one decides which queries are the worst.
        seed: Of the bootstraps.

    Raises:
        DataError: If the collection judges none of the queries that were ranked.
        ArtifactError: If evaluation.json has slices of an unknown form.
    """
    systems: dict[str, Measures] = dict(measures_in(files.evaluation))
    changes: dict[tuple[str, str], Measures] = {}
    if isinstance(files.evaluation.get("difference"), Mapping):
        changes[TRAINED, BASE] = files.evaluation["difference"]
    slices = _stored_slices(files)
    notes: list[str] = []
    if collection is None or not files.rankings:
        return Rankings(systems, changes, slices, [], None, notes)
    _check_same(files, collection)
    for name, run in files.rankings.items():
        if name not in systems:
            systems[name] = evaluate_run(run, collection.qrels, measures, seed=seed).to_json()
    changes |= _changes(files.rankings, collection, measures, seed, known=set(changes))
    if _has_changed(files, collection, measures):
        notes.append("the collection has changed since the run was evaluated: its queries and groups are of today")
    slices = slices or _by_length(files.rankings, collection, measures, seed)
    if not slices:
        notes.append("groups of queries: all have the same number of words")
    ordered = {name: systems[name] for name in (BASE, BM25, TRAINED) if name in systems}
    worst = _worst(files.rankings, collection, measures[0])
    return Rankings({**ordered, **systems}, changes, slices, worst, measures[0], notes)


def _check_same(files: RunFiles, collection: Collection) -> None:
    for name, run in files.rankings.items():
        if not run.keys() & collection.qrels.keys():
            problem = f"judges none of the queries in {files.folder / 'runs' / f'{name}.trec'}; give the collection"
            raise DataError(f"{problem} that the run was evaluated on: --collection", collection.name)


def _changes(
    rankings: Mapping[str, Run], collection: Collection, measures: Sequence[str], seed: int, known: set[tuple[str, str]]
) -> dict[tuple[str, str], Measures]:
    wanted = [(TRAINED, BASE), (TRAINED, BM25)]
    return {
        (one, other): compare_runs(rankings[other], rankings[one], collection.qrels, measures, seed=seed).to_json()
        for one, other in wanted
        if one in rankings and other in rankings and (one, other) not in known
    }


def _has_changed(files: RunFiles, collection: Collection, measures: Sequence[str]) -> bool:
    """Tell whether evaluation.json has other means than the rankings have on the collection as it is now."""
    stored = measures_in(files.evaluation)
    for name, run in files.rankings.items():
        if name in stored:
            now = score_run(run, collection.qrels, measures)
            means = {measure: float(np.mean(list(values.values()))) for measure, values in now.items()}
            if any(abs(means[measure] - stored[name][measure]["mean"]) > 1e-6 for measure in means):
                return True
    return False


def _stored_slices(files: RunFiles) -> list[Slice]:
    """Return evaluation.json's slices: objects of by, name, queries, measures by ranking, and difference."""
    stored = files.evaluation.get("slices")
    if stored is None:
        return []
    try:
        return [
            Slice(
                str(one["by"]), str(one["name"]), int(one["queries"]), measures_in(one), dict(one.get("difference", {}))
            )
            for one in stored
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        path = files.folder / "evaluation.json"
        raise ArtifactError(path, f"its slices are not of the form that this textcl reads ({error!r})") from error


def _by_length(rankings: Mapping[str, Run], collection: Collection, measures: Sequence[str], seed: int) -> list[Slice]:
    """Return three groups of queries with about as many each, by their number of words."""
    labels = by_length(dict(zip(collection.query_ids, collection.queries, strict=True)))
    found = []
    for label in dict.fromkeys(labels.values()):
        qrels = {query_id: collection.qrels[query_id] for query_id, own in labels.items() if own == label}
        systems = {name: evaluate_run(run, qrels, measures, seed=seed).to_json() for name, run in rankings.items()}
        change: Measures = {}
        if BASE in rankings and TRAINED in rankings:
            change = compare_runs(rankings[BASE], rankings[TRAINED], qrels, measures, seed=seed).to_json()
        found.append(Slice("query length", label, len(qrels), systems, change))
    return found if len(found) > 1 else []


def _worst(rankings: Mapping[str, Run], collection: Collection, measure: str) -> list[WorstQuery]:
    """Return the queries with the lowest value of the trained model; among equals, those that lost most come first."""
    if TRAINED not in rankings:
        return []
    after = score_run(rankings[TRAINED], collection.qrels, [measure])[measure]
    before = score_run(rankings[BASE], collection.qrels, [measure])[measure] if BASE in rankings else {}
    ordered = sorted(after, key=lambda query_id: (after[query_id], after[query_id] - before.get(query_id, 0), query_id))
    texts = dict(zip(collection.query_ids, collection.queries, strict=True))
    documents = dict(zip(collection.doc_ids, collection.documents, strict=True))
    return [
        WorstQuery(
            query_id,
            _short(texts.get(query_id)),
            after[query_id],
            before.get(query_id),
            *_documents(rankings[TRAINED].get(query_id, []), collection.qrels[query_id], documents),
        )
        for query_id in ordered[:WORST]
    ]


def _documents(
    ranking: Sequence[tuple[str, float]], judged: Mapping[str, int], documents: Mapping[str, str]
) -> tuple[list[Document], list[Document]]:
    """Return what was found first, and the relevant documents, the highest gain first."""
    ranks = {doc_id: rank for rank, (doc_id, _score) in enumerate(ranking, start=1)}
    relevant = sorted((doc_id for doc_id, gain in judged.items() if gain > 0), key=lambda one: (-judged[one], one))

    def document(doc_id: str) -> Document:
        return Document(doc_id, _short(documents.get(doc_id)), ranks.get(doc_id), judged.get(doc_id, 0) > 0)

    found = [document(doc_id) for doc_id, _score in ranking[:_FOUND]]
    return found, [document(doc_id) for doc_id in relevant[:_WANTED]]


def _short(text: str | None) -> str | None:
    if text is None or len(text) <= _LETTERS:
        return text
    return f"{text[: _LETTERS - 1]}…"
