"""Errors at the edge of the command line."""

import errno
import os
import sys

import pytest

from scripts.domain.entry import entry_point, show_config_errors_in_one_line
from scripts.domain.errors import ConfigurationError


def test_own_error_becomes_one_line():
    @entry_point
    def fails() -> None:
        raise ConfigurationError("seed is -1")

    with pytest.raises(SystemExit, match=r"^error: seed is -1$"):
        fails()


@pytest.mark.parametrize(
    ("number", "file", "message"),
    [
        (errno.ENOSPC, None, r"^error: a file that was being written: No space left on device\. Make room"),
        (errno.EACCES, "/out/model.pt", r"^error: /out/model\.pt: Permission denied\. "),
    ],
)
def test_a_disk_that_does_not_take_a_file_is_one_line(number, file, message):
    @entry_point
    def fails() -> None:
        raise OSError(number, os.strerror(number), file)

    with pytest.raises(SystemExit, match=message):
        fails()


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError(errno.EIO, "Input/output error"), OSError("no number")])
def test_other_errors_are_left_alone(error):
    @entry_point
    def fails() -> None:
        raise error

    with pytest.raises(type(error)):
        fails()


def test_result_and_name_are_kept():
    @entry_point
    def add(a: int, *, b: int) -> int:
        return a + b

    assert add(1, b=2) == 3
    assert add.__name__ == "add"


@pytest.fixture
def hook(monkeypatch):
    """The hook for what ends a program, and what it leaves to the one before it."""
    left = []
    monkeypatch.setattr(sys, "excepthook", lambda _kind, error, _traceback: left.append(error))
    show_config_errors_in_one_line()
    return sys.excepthook, left


def test_own_error_below_those_of_a_config_is_one_line(hook, capsys):
    show, left = hook
    own, wrapped = ConfigurationError("loss 'x' is unknown"), RuntimeError("Failed to instantiate")
    wrapped.__cause__ = RuntimeError("Failed to evaluate")
    wrapped.__cause__.__cause__ = own
    show(RuntimeError, wrapped, None)
    assert capsys.readouterr().err == "error: loss 'x' is unknown\n"
    assert not left


def test_an_error_that_is_no_cause_of_the_end_keeps_its_traceback(hook, capsys):
    show, left = hook
    error = ZeroDivisionError()
    error.__context__ = ConfigurationError("dealt with")
    show(ZeroDivisionError, error, None)
    assert capsys.readouterr().err == ""
    assert left == [error]
