"""`textcl compare` and the gate of `textcl evaluate retrieval`, on small files."""

from __future__ import annotations

import json

import pytest

from tests.small_data import write_collection, write_jsonl, write_lines

QUERIES = 20


def write_ranks(path, ranks, queries="q"):
    """A run file in which query i has its one relevant document at the i-th of `ranks`."""
    lines = [
        f"{queries}{number} Q0 {'right' if place == rank else f'x{place}'} {place} {10 - place} tag"
        for number, rank in enumerate(ranks)
        for place in range(1, 5)
    ]
    return write_lines(path, lines)


@pytest.fixture
def files(work):
    """Two run files, b worse than a, and the judgements in both forms."""
    write_ranks(work / "a.trec", [1] * 15 + [2] * 5)
    write_ranks(work / "b.trec", [2] * 15 + [2] * 4 + [1])
    write_lines(work / "trec.qrels", [f"q{number} 0 right 1" for number in range(QUERIES)])
    judged = [f"q{number}\tright\t1" for number in range(QUERIES)]
    write_lines(work / "beir.tsv", ["query-id\tcorpus-id\tscore", *judged])
    return work


@pytest.mark.parametrize("qrels", ["trec.qrels", "beir.tsv"])
def test_a_run_that_is_worse_by_more_than_chance_says_no(textcl, files, qrels):
    answer = textcl("compare", "a.trec", "b.trec", "--qrels", qrels, "--measures", "mrr@10,recall@10", "--json")
    assert answer.code == 1
    found = json.loads(answer.out)
    assert found["worse"] == ["mrr@10"]
    row = found["measures"]["mrr@10"]
    assert (row["wins"], row["losses"], row["ties"], row["queries"]) == (1, 15, 4, 20)
    assert row["difference"] == pytest.approx((-15 * 0.5 + 0.5) / 20)
    assert row["low"] < row["difference"] < row["high"] < 0
    assert row["p"] < row["adjusted_p"] == pytest.approx(2 * row["p"])
    assert row["detectable"] > 0
    assert found["lost"]["mrr@10"][0] == {"query_id": "q0", "before": 1.0, "after": 0.5}
    assert [one["query_id"] for one in found["gained"]["mrr@10"]] == ["q19"]
    (fault,) = answer.faults
    assert fault.startswith("mrr@10 fell from 0.8750 to 0.5250, more than chance explains (p 0.00")


def test_a_better_run_and_the_same_run_say_yes(textcl, files):
    for before, after in (("b.trec", "a.trec"), ("a.trec", "a.trec")):
        answer = textcl("compare", before, after, "--qrels", "trec.qrels")
        assert (answer.code, answer.err) == (0, [])
    assert "mrr@10            87.5    87.5     +0.0   +0.0 to +0.0" in answer.out
    assert answer.out.endswith("gained most in ndcg@10: none\nlost most in ndcg@10: none\n")


def test_a_fall_within_chance_says_yes(textcl, files):
    write_ranks(files / "c.trec", [1] * 13 + [2] * 7)
    answer = textcl("compare", "a.trec", "c.trec", "--qrels", "trec.qrels", "--measures", "mrr", "--json")
    assert answer.code == 0
    assert json.loads(answer.out)["measures"]["mrr"]["difference"] < 0


def test_several_collections_are_corrected_together(textcl, files):
    words = ["compare", "a.trec", "b.trec", "a.trec", "a.trec", "--qrels", "trec.qrels", "--qrels", "beir.tsv"]
    answer = textcl(*words, "--measures", "mrr", "--json")
    found = json.loads(answer.out)["collections"]
    assert list(found) == ["trec.qrels", "beir.tsv"]
    row = found["trec.qrels"]["measures"]["mrr"]
    assert row["adjusted_p"] == pytest.approx(2 * row["p"])
    assert (answer.code, len(answer.faults)) == (1, 1)
    assert answer.faults[0].startswith("trec.qrels: mrr fell from ")
    assert "beir.tsv\nmeasure" in textcl(*words, "--measures", "mrr").out


def test_runs_of_several_seeds_show_their_noise(textcl, files):
    write_ranks(files / "a2.trec", [1] * 14 + [2] * 6)
    words = ["compare", "a.trec,a2.trec", "b.trec", "--qrels", "trec.qrels", "--measures", "mrr"]
    found = json.loads(textcl(*words, "--json").out)
    assert found["seeds"]["mrr"]["before"]["values"] == pytest.approx([0.875, 0.85])
    assert found["measures"]["mrr"]["before"] == pytest.approx(0.8625)
    assert "over seeds: 2 and 1 runs, deviation 1.77 and 0.00, change " in textcl(*words).out


def test_a_seed_can_change_the_drawn_signs(textcl, files):
    write_ranks(files / "c.trec", [1, 2, 3, 4, 1] * 4)
    words = ["compare", "a.trec", "c.trec", "--qrels", "trec.qrels", "--json"]
    outs = [textcl(*words, "--seed", seed).out for seed in ("0", "0", "1")]
    assert outs[0] == outs[1] != outs[2]


def test_judged_queries_that_a_run_leaves_out_are_said(textcl, files):
    write_ranks(files / "few.trec", [1] * 15)
    answer = textcl("compare", "a.trec", "few.trec", "--qrels", "trec.qrels", "--measures", "hit_rate@1")
    assert answer.err == ["few.trec: answers 15 of 20 judged queries of trec.qrels; the others count as 0"]
    assert answer.code == 0


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["a.trec", "none.trec"], "none.trec: no such run file; name an existing one"),
        (["a.trec"], "runs: expected two for each of the 1 qrels, a run before and one after, got 1"),
        (["a.trec", "b.trec", "--measures", "ndgc@10"], "measures: 'ndgc@10' is no measure; did you mean ndcg@10?"),
        (["a.trec", "b.trec", "--qrels", "none"], "runs: expected two for each of the 2 qrels"),
        (
            ["a.trec", "other.trec"],
            "other.trec: answers none of the 20 judged queries of trec.qrels (it has 'p0', they 'q0'); "
            "name a run over them",
        ),
        (["first.trec", "last.trec"], "last.trec: has no judged query in common with first.trec; compare runs over "),
        (["a.trec", "words.trec"], "words.trec:1: score: expected a number, got 'high'"),
        (["a.trec", "nan.trec"], "nan.trec:1: score: expected a number, got NaN"),
    ],
)
def test_wrong_input_is_named_in_a_line(refused, files, words, fault):
    write_ranks(files / "other.trec", [1] * 5, queries="p")
    write_ranks(files / "first.trec", [1] * 10)
    last = (files / "a.trec").read_text().splitlines()[40:]
    write_lines(files / "last.trec", last)
    write_lines(files / "words.trec", ["q0 Q0 right 1 high tag"])
    write_lines(files / "nan.trec", ["q0 Q0 right 1 nan tag"])
    (found,) = refused("compare", *words, "--qrels", "trec.qrels")
    assert found.startswith(fault)


def test_two_comparisons_need_two_sets_of_judgements(refused, files):
    words = ["a.trec", "b.trec", "a.trec", "b.trec", "--qrels", "trec.qrels", "--qrels", "trec.qrels"]
    (fault,) = refused("compare", *words)
    assert fault.startswith("qrels: expected a file of its own for each two runs, got ")


# --- evaluate retrieval ---------------------------------------------------------------------------------------------


@pytest.fixture
def judged(work, tiny_corpus):
    """A collection whose queries have fields."""
    folder = write_collection(work / "dev", tiny_corpus[:30], queries=12)
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    for place, row in enumerate(rows):
        row["kind"] = "even" if place % 2 == 0 else "odd"
        row["metadata"] = {"year": 1990 + place, "topic": "mill"}
    write_jsonl(folder / "queries.jsonl", rows)
    return folder


@pytest.fixture
def evaluated(textcl, judged, tiny_model_folder):
    def command(*words):
        return textcl("evaluate", "retrieval", tiny_model_folder, "dev", "--measures", "mrr@10,recall@5", *words)

    return command


def write_answers(path, rank):
    """A run that has the answer of each query of the collection at one rank."""
    lines = [
        f"q{number} Q0 {f'd{number}' if place == rank else f'd{29 - place}'} {place} {9 - place} x"
        for number in range(12)
        for place in range(1, 5)
    ]
    return write_lines(path, lines)


def test_the_gate_says_no_below_a_baseline_and_writes_the_run_all_the_same(evaluated, work):
    write_answers(work / "best.trec", 1)
    words = ["--baseline", "best.trec", "--fail-if-worse", "ndcg@1", "--run", "new.trec"]
    answer = evaluated(*words, "--json")
    found = json.loads(answer.out)
    assert answer.code == 1
    assert list(found["measures"]) == ["mrr@10", "recall@5", "ndcg@1"]
    assert list(found["comparison"]["measures"]) == found["comparison"]["worse"] == ["ndcg@1"]
    assert found["comparison"]["measures"]["ndcg@1"]["before"] == 1
    assert answer.faults[0].startswith("ndcg@1 fell from 1.0000 to ")
    assert (work / "new.trec").is_file()
    without = evaluated("--baseline", "best.trec")
    assert without.code == 0
    assert "mrr@10           100.0" in without.out


def test_the_gate_says_yes_against_itself_and_a_worse_baseline(evaluated, work):
    write_answers(work / "worst.trec", 9)
    assert evaluated("--run", "own.trec").code == 0
    for baseline in ("own.trec", "worst.trec"):
        assert evaluated("--baseline", baseline, "--fail-if-worse", "mrr@10,recall@5").code == 0


def test_slices_have_mean_interval_and_count(evaluated):
    answer = evaluated("--slices", "length,positives,kind,metadata.year", "--json")
    slices = json.loads(answer.out)["slices"]
    counts = {(one["by"], one["value"]): one["measures"]["mrr@10"]["queries"] for one in slices}
    assert counts["kind", "even"] == counts["kind", "odd"] == 6
    assert counts["positives", "1"] == 12
    assert counts["metadata.year", "1990 to 1993"] == 4
    assert sum(count for (by, _value), count in counts.items() if by == "length") == 12
    assert all(set(one["measures"]["recall@5"]) == {"mean", "low", "high", "queries"} for one in slices)
    table = evaluated("--slices", "kind").out
    assert "\nkind   queries" in table
    assert "\neven         6" in table


def test_the_table_of_queries_is_written(evaluated, work):
    assert evaluated("--per-query", "new/table.jsonl").code == 0
    rows = [json.loads(line) for line in (work / "new" / "table.jsonl").read_text().splitlines()]
    assert [row["query_id"] for row in rows] == [f"q{number}" for number in range(12)]
    assert set(rows[0]) == {"query_id", "positives", "ranked", "mrr@10", "recall@5"}


def test_what_a_mean_does_not_tell_is_printed_beside(evaluated):
    found = json.loads(evaluated("--json").out)
    assert (found["unanswered"], found["unjudged"], found["comparison"]) == (0, 0, None)
    assert set(found["judged_fraction"]) == {"5", "10"}
    assert "\njudged: " in evaluated().out


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--fail-if-worse", "mrr"], "fail_if_worse: worse than what? Add --baseline RUN"),
        (["--baseline", "none.trec"], "none.trec: no such run file; name an existing one"),
        (
            ["--baseline", "other.trec"],
            "other.trec: answers none of the 12 judged queries of the collection (it has 'p0'",
        ),
        (["--baseline", "own.trec", "--fail-if-worse", "mmr"], "measures: 'mmr' is no measure; did you mean mrr?"),
        (["--per-query", "table.xlsx"], "per_query: expected a file that ends in one of .jsonl, .csv, .parquet, got"),
        (["--per-query", "dev"], "per_query: dev is a folder; name a file"),
        (["--slices", "knd"], "dev/queries.jsonl: no column 'knd'; did you mean kind?"),
        (["--slices", "metadata.yaer"], "dev/queries.jsonl: no query has a value of 'metadata.yaer'"),
    ],
)
def test_wrong_options_are_named_before_anything_is_encoded(refused, judged, tiny_model_folder, work, words, fault):
    write_ranks(work / "other.trec", [1] * 5, queries="p")
    write_answers(work / "own.trec", 1)
    (found,) = refused("evaluate", "retrieval", tiny_model_folder, "dev", *words)
    assert found.startswith(fault)
