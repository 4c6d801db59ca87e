"""Progress bars: one at a time, and none that outlives an error."""

import pytest

from mho.deploy import one_bar, progress


@pytest.fixture
def terminal(monkeypatch):
    """Let rich take stderr for a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")


def test_a_bar_is_shown_on_a_terminal_and_leaves_the_items_alone(terminal, capfd):
    assert list(progress(range(3), "counting", 3)) == [0, 1, 2]
    assert "counting" in capfd.readouterr().err


def test_bars_inside_of_another_one_are_hidden(terminal, capfd):
    total = 0
    for i in progress(range(3), "outer", 3):
        with one_bar():
            total += sum(progress(range(i), "inner", i))
    assert total == 1
    shown = capfd.readouterr().err
    assert "outer" in shown
    assert "inner" not in shown


def test_a_bar_hides_those_of_its_items_until_it_ends(terminal, capfd):
    """Such as the rounds of a matrix that is written while chips are evaluated."""
    for i in progress(range(3), "chips", 3):
        assert sum(progress(range(i + 1), "rounds", i + 1)) == i * (i + 1) // 2
        if i == 1:
            break
    assert "rounds" not in capfd.readouterr().err
    list(progress(range(2), "later", 2))
    assert "later" in capfd.readouterr().err


def test_after_an_error_bars_are_shown_again(terminal, capfd):
    with pytest.raises(KeyError), one_bar():
        raise KeyError
    list(progress(range(2), "later", 2))
    assert "later" in capfd.readouterr().err


def test_nothing_is_shown_elsewhere(capfd):
    assert list(progress("ab", "silent")) == ["a", "b"]
    assert not capfd.readouterr().err
