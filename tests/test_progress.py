from __future__ import annotations

import pytest

from textcl.progress import bar, quiet


def test_quiet_says_nothing(capfd):
    with quiet("work", 3) as advance:
        advance(3)
    assert capfd.readouterr() == ("", "")


def test_a_bar_shows_description_and_counts_on_standard_error_alone(capfd):
    with bar("tokenise", 10) as advance:
        advance(4)
        advance(6)
    out, err = capfd.readouterr()
    assert out == ""
    assert "tokenise" in err
    assert "10/10" in err


def test_a_bar_of_unknown_length_shows_its_count(capfd):
    with bar("read", None) as advance:
        advance(7)
    assert "7it" in capfd.readouterr().err


def test_a_bar_keeps_its_last_state_when_the_work_fails(capfd):
    def work():
        with bar("work", 10) as advance:
            advance(4)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert "4/10" in capfd.readouterr().err
