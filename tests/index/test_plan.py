from __future__ import annotations

import pytest

from textcl.errors import ConfigError
from textcl.index.plan import FLAT_QUERIES, FLAT_ROWS, bytes_of, in_bytes, plan_index

GB = 10**9


def test_what_needs_no_structure_gets_none_and_is_told_why():
    for changed, reason in [
        ({"recall": None}, "without a recall target"),
        ({"recall": 1.0}, "without a recall target"),
        ({"rows": FLAT_ROWS - 1}, "exact search of 19,999 rows"),
        ({"queries": FLAT_QUERIES - 1}, "9,999 queries do not repay"),
    ]:
        made = plan_index(**{"rows": 10**6, "dimension": 384, "recall": 0.95, **changed})
        assert (made.family.factory, made.reasons[0].startswith(reason)) == ("Flat", True)
        assert made.family.memory_bytes(made.rows) == made.family.disk_bytes(made.rows) == 4 * 384 * made.rows


def test_less_memory_means_fewer_bytes_a_row_and_each_refusal_is_a_reason():
    sizes = []
    for limit in (None, 2 * GB, 450 * 10**6, 120 * 10**6):
        made = plan_index(10**6, 384, recall=0.95, max_memory=limit)
        assert limit is None or made.family.memory_bytes(10**6) <= limit
        assert made.reasons[-1].startswith(made.family.factory)
        assert all(reason.startswith("not ") for reason in made.reasons[:-1])
        sizes.append(made.family.memory_bytes(10**6))
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(ConfigError, match=r"max_memory: nothing fits: the smallest index of 1,000,000 rows"):
        plan_index(10**6, 384, recall=0.95, max_memory=10**7)


def test_a_flat_index_that_does_not_fit_gives_way_to_codes():
    made = plan_index(10_000, 384, recall=0.9, max_memory=5_000_000)
    assert made.family.factory != "Flat"
    assert made.family.memory_bytes(10_000) <= 5_000_000


def test_without_a_recall_that_may_be_missed_nothing_but_exact_search_is_planned():
    with pytest.raises(ConfigError, match=r"max_memory: exact search takes 1\.54 GB, 1 GB are allowed"):
        plan_index(10**6, 384, max_memory=10**9)


def test_a_prime_number_of_dimensions_is_not_cut_into_one_part():
    assert plan_index(10**6, 383, recall=0.95).family.factory == "HNSW32"
    assert "PQ192x4fs" in plan_index(10**6, 384, recall=0.95).family.factory


def test_what_must_be_mapped_or_merged_leaves_out_the_families_that_cannot():
    mapped = plan_index(10**6, 384, recall=0.95, needs=["mmap"])
    assert not mapped.family.is_packed
    merged = plan_index(10**6, 384, recall=0.95, needs=["merge", "mmap"])
    assert merged.family.cells
    assert not merged.family.links
    with pytest.raises(ConfigError, match="HNSW32: shards of graphs are not made one"):
        plan_index(10**6, 384, recall=0.95, needs=["merge"], factory="HNSW32")
    with pytest.raises(ConfigError, match="reads its packed codes into memory"):
        plan_index(10**6, 384, recall=0.95, needs=["mmap"], factory="IVF64,PQ192x4fs")


def test_a_factory_string_by_hand_is_taken_or_refused():
    made = plan_index(10**5, 64, recall=0.95, factory="IVF256,SQ8")
    assert (made.family.factory, made.reasons) == ("IVF256,SQ8", ("IVF256,SQ8 was asked for",))
    with pytest.raises(ConfigError, match=r"IVF256,Flat takes 26\.5 MB, 1 MB are allowed"):
        plan_index(10**5, 64, factory="IVF256,Flat", max_memory=10**6)
    with pytest.raises(ConfigError, match=r"cannot leave out deleted documents"):
        plan_index(10**5, 64, factory="PQ16")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": 0}, "rows: expected a whole number"),
        ({"dimension": 0}, "dimension: expected"),
        ({"max_memory": 0}, "max_memory: expected"),
        ({"recall": 0.0}, r"recall: expected a share in \(0, 1\]"),
        ({"recall": 95}, "recall: expected"),
        ({"needs": ["speed"]}, "needs: expected some of delete, merge, filter, mmap, got 'speed'"),
    ],
)
def test_numbers_out_of_range_are_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        plan_index(**{"rows": 10**6, "dimension": 384, **changed})


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("4GB", 4 * 10**9),
        ("500 MB", 5 * 10**8),
        ("2GiB", 2 * 2**30),
        ("1.5k", 1500),
        ("1000", 1000),
        ("3 tb", 3 * 10**12),
    ],
)
def test_bytes_in_words(words, count):
    assert bytes_of(words) == count


@pytest.mark.parametrize("words", ["", "much", "4 GBs", "-1", "4XB", "1ib"])
def test_what_is_no_number_of_bytes_is_refused(words):
    with pytest.raises(ConfigError, match="max_memory: expected bytes, such as 4GB"):
        bytes_of(words)


def test_bytes_are_said_in_the_unit_that_fits():
    assert [in_bytes(one) for one in (12, 4_100, 2 * 10**6, 4_100_000_000)] == ["12 bytes", "4.1 kB", "2 MB", "4.1 GB"]
