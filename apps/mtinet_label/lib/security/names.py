"""The names that a request may bring: each an allow-list of characters, never a list of bad ones."""

from __future__ import annotations

import re
import unicodedata

from lib.errors import BadRequestError

TAGS = ("final", "original")

_IDENTIFIER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,127}", re.ASCII)
_TASK = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_WORDS = re.compile(r"[\w(+][\w .,;:!?()+'@-]*")
_LONGEST_TEXT = 500
# A configuration reads these as references, expressions or Python targets.
_PROGRAM_WORDS = ("_target_", "_requires_", "_disabled_", "__")


def image_id(text: object, *, what: str = "image") -> str:
    """A study's or series' identifier: letters, digits, ``_ -`` and single dots.

    Raises:
        BadRequestError: it is none.
    """
    if not isinstance(text, str) or not _IDENTIFIER.fullmatch(text):
        msg = f"{what}: not an identifier; it may hold letters, digits, '_', '-' and single dots"
        raise BadRequestError(msg)
    return text


def task_name(text: object, *, what: str = "model") -> str:
    """The name of a model, trainer or strategy: letters, digits, ``_ -``.

    Raises:
        BadRequestError: it is none.
    """
    if not isinstance(text, str) or not _TASK.fullmatch(text):
        msg = f"{what}: not a name; it may hold letters, digits, '_' and '-'"
        raise BadRequestError(msg)
    return text


def tag(text: object, *, what: str = "tag") -> str:
    """One of ``TAGS``.

    Raises:
        BadRequestError: it is none.
    """
    if text not in TAGS:
        msg = f"{what}: must be one of {', '.join(TAGS)}"
        raise BadRequestError(msg)
    return str(text)


def plain_text(text: object, *, what: str, longest: int = _LONGEST_TEXT) -> str:
    """What a person may write: words of any script and ``. , ; : ! ? ( ) + ' @ -``; no path and no expression.

    Args:
        text: is compared in its compatibility form, so that a full-width slash is a slash.
        what: the parameter, for the message.
        longest: characters.

    Raises:
        BadRequestError: it holds something else.
    """
    if not isinstance(text, str):
        msg = f"{what}: must be text"
        raise BadRequestError(msg)
    if len(text) > longest:
        msg = f"{what}: is longer than {longest} characters"
        raise BadRequestError(msg)
    folded = unicodedata.normalize("NFKC", text)
    if text and (
        not _WORDS.fullmatch(text)
        or not _WORDS.fullmatch(folded)
        or ".." in folded
        or any(word in folded.lower() for word in _PROGRAM_WORDS)
    ):
        msg = f"{what}: may hold words and . , ; : ! ? ( ) + ' @ -, and no path or expression"
        raise BadRequestError(msg)
    return text
