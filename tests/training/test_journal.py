from __future__ import annotations

import json

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from textcl.training.journal import Journal, read_journal


def written(folder, *steps, after_step=None):
    journal = Journal(folder, after_step)
    for step in steps:
        journal.write(step, {"loss": 1 / step, "ndcg@10": 0.5})
    journal.close()
    return folder / "journal.jsonl"


def test_each_value_is_one_line_with_step_and_name(tmp_path):
    lines = written(tmp_path, 1, 4).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "name": "loss", "value": 1.0},
        {"step": 1, "name": "ndcg@10", "value": 0.5},
        {"step": 4, "name": "loss", "value": 0.25},
        {"step": 4, "name": "ndcg@10", "value": 0.5},
    ]


def test_reading_gives_what_was_written(tmp_path):
    path = written(tmp_path, 3)
    third = {"step": 3, "name": "loss", "value": 1 / 3}
    assert read_journal(path) == [third, {"step": 3, "name": "ndcg@10", "value": 0.5}]


def test_lines_are_on_disk_before_the_journal_is_closed(tmp_path):
    journal = Journal(tmp_path)
    journal.write(1, {"loss": 2.0})
    assert read_journal(journal.path) == [{"step": 1, "name": "loss", "value": 2.0}]
    journal.close()


def test_a_resume_cuts_the_steps_that_it_repeats(tmp_path):
    written(tmp_path, 1, 2, 3, 4)
    path = written(tmp_path, 3, 4, 5, after_step=2)
    assert [line["step"] for line in read_journal(path) if line["name"] == "loss"] == [1, 2, 3, 4, 5]


def test_a_resume_from_the_start_cuts_everything(tmp_path):
    written(tmp_path, 1, 2)
    path = written(tmp_path, after_step=0)
    assert path.read_text() == ""


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = written(tmp_path, 1, 2)
    with path.open("a") as file:
        file.write('{"step": 3, "name": "lo')
    assert [line["step"] for line in read_journal(path)] == [1, 1, 2, 2]
    written(tmp_path, 3, after_step=2)
    assert [line["step"] for line in read_journal(path)] == [1, 1, 2, 2, 3, 3]


def test_tensorboard_shows_the_same_curves(tmp_path):
    written(tmp_path, 1, 2, 4)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(curves.Tags()["scalars"]) == ["loss", "ndcg@10"]
    assert [(point.step, point.value) for point in curves.Scalars("loss")] == [(1, 1.0), (2, 0.5), (4, 0.25)]


def test_tensorboard_forgets_the_steps_that_a_resume_repeats(tmp_path):
    written(tmp_path, 1, 2, 3)
    written(tmp_path, 3, after_step=2)
    curves = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [point.step for point in curves.Scalars("loss")] == [1, 2, 3]
