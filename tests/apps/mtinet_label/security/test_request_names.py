"""The names that a request may bring."""

from __future__ import annotations

import pytest

from lib.errors import BadRequestError
from lib.security import names

PATHS = (".", "..", "a..b", "a/b", "a\\b", "a\0", "%2e", "~root", "\uff0e\uff0e\uff0f", "a\uff0fb", "\u2025")
EXPRESSIONS = ("$a", "@a", "%a", "#a", "`id`", "a|b", "a&b", "{x}", "[x]", "<b>", "a=b", "*", '"a"', "\uff04a", "~a")


@pytest.mark.parametrize(
    "text", [*PATHS, *EXPRESSIONS, "", ".a", "-a", "a\n", "a b", "a:b", "é", "a" * 129, None, 5, ["a"]]
)
def test_no_identifier(text: object) -> None:
    with pytest.raises(BadRequestError, match="image: not an identifier"):
        names.image_id(text)


@pytest.mark.parametrize("text", ["liver-01", "case_0001", "1.2.840.113619.2.55.3.604688119.971", "a.nii", "A" * 128])
def test_identifier(text: str) -> None:
    assert names.image_id(text) == text


@pytest.mark.parametrize("text", ["", "1a", "a.b", "../x", "a b", "a" * 65, None])
def test_no_task_name(text: object) -> None:
    with pytest.raises(BadRequestError, match="model: not a name"):
        names.task_name(text)


@pytest.mark.parametrize("text", ["", "Final", "final ", "final/../x", "version_1", None])
def test_no_tag(text: object) -> None:
    with pytest.raises(BadRequestError, match="tag: must be one of final, original"):
        names.tag(text)


@pytest.mark.parametrize(
    "text", [*PATHS[1:], *EXPRESSIONS, "a\nb", "a\tb", "a\u202eb", "_target_", "_Target_", "x__y", "-a", "."]
)
def test_no_plain_text(text: str) -> None:
    with pytest.raises(BadRequestError, match="note: may hold words"):
        names.plain_text(text, what="note")


@pytest.mark.parametrize(
    "text", ["", "Dr. Müller-Lüdenscheidt", "李医生", "rim (arterial) + washout?", "jane@example.org"]
)
def test_plain_text(text: str) -> None:
    assert names.plain_text(text, what="note") == text


def test_long_text() -> None:
    with pytest.raises(BadRequestError, match="longer than 8"):
        names.plain_text("a" * 9, what="note", longest=8)


def test_messages_do_not_repeat_what_came() -> None:
    with pytest.raises(BadRequestError) as refused:
        names.image_id("/srv/Doe^Jane")
    assert "Doe" not in str(refused.value)
