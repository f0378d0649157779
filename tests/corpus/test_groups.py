from __future__ import annotations

import pytest

from tests.small_data import write_jsonl
from textcl.corpus.groups import column_groups
from textcl.corpus.readers import read_records
from textcl.errors import DataError


def groups_of(folder, values, column="topic"):
    rows = [{"text": "t"} | ({} if value is ... else {"topic": value}) for value in values]
    write_jsonl(folder / "rows.jsonl", rows)
    return column_groups(read_records(folder / "rows.jsonl"), column)


def test_equal_values_are_one_group_and_blank_ones_none(tmp_path):
    assert groups_of(tmp_path, ["a", "b", "a", " ", "", None, ...]) == ["a", "b", "a", None, None, None, None]
    assert groups_of(tmp_path, [3, 4, 3, None]) == ["3", "4", "3", None]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a", None, 1], "rows.jsonl:3: column 'topic' holds a number here and a string before"),
        ([1, 2.5, "1"], "rows.jsonl:3: column 'topic' holds a string here and a number before"),
        ([True, "a"], "rows.jsonl:2: column 'topic' holds a string here and a boolean before"),
    ],
)
def test_values_of_several_types_are_refused_with_the_line(tmp_path, values, said):
    with pytest.raises(DataError) as caught:
        groups_of(tmp_path, values)
    assert str(caught.value).endswith(f"{said}; groups need values of one type")


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="no column 'tropic'; did you mean topic"):
        groups_of(tmp_path, ["a"], "tropic")
