import threading

import pytest

from textcl.ahead import ahead


def test_the_answers_come_in_order_and_the_next_is_made_meanwhile():
    made, second = [], threading.Event()

    def make(item):
        made.append(item)
        if item == 1:
            second.set()
        return item * 10, threading.current_thread() is threading.main_thread()

    answers = ahead(make, range(4), "work")
    assert next(answers) == (0, False)
    assert second.wait(10), "the second is not made while the caller holds the first"
    assert made[:2] == [0, 1]
    assert list(answers) == [(10, False), (20, False), (30, False)]


def test_a_single_item_starts_no_thread_and_none_gives_nothing():
    def where(_item):
        return threading.current_thread()

    assert list(ahead(where, [7], "work")) == [threading.main_thread()]
    assert list(ahead(where, [], "work")) == []


def test_an_error_comes_where_its_answer_would_have_come():
    def reciprocal(item):
        return 1 / item

    answers = ahead(reciprocal, [1, 0, 2], "work")
    assert next(answers) == 1
    with pytest.raises(ZeroDivisionError):
        next(answers)


def test_whoever_leaves_early_leaves_no_thread_behind():
    answers = ahead(str, range(9), "left-early")
    next(answers)
    answers.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("left-early")]
