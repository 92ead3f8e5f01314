"""What a DICOM unique identifier looks like: the only form in which one reaches the disk or the PACS."""

from __future__ import annotations

import re

from lib.errors import UnknownError

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_LENGTH = 64


def is_uid(text: str) -> bool:
    """Whether a text is digits and single dots, at most 64 (PS3.5, 9.1); ASCII digits only."""
    return len(text) <= _LENGTH and text.isascii() and _UID.fullmatch(text) is not None


def required_uid(text: str) -> str:
    """The text.

    Raises:
        UnknownError: it is no UID, so nothing has it.
    """
    if not is_uid(text):
        msg = "no such study: its identifier is a StudyInstanceUID, or the SeriesInstanceUID of a phase"
        raise UnknownError(msg)
    return text
