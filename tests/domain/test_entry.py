"""Errors at the edge of the command line."""

import pytest

from scripts.domain.entry import entry_point
from scripts.domain.errors import ConfigurationError


def test_own_error_becomes_one_line():
    @entry_point
    def fails() -> None:
        raise ConfigurationError("seed is -1")

    with pytest.raises(SystemExit, match=r"^error: seed is -1$"):
        fails()


def test_other_errors_are_left_alone():
    @entry_point
    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_result_and_name_are_kept():
    @entry_point
    def add(a: int, *, b: int) -> int:
        return a + b

    assert add(1, b=2) == 3
    assert add.__name__ == "add"
