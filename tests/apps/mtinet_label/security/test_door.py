"""The origins that a setting names."""

from __future__ import annotations

import pytest

from lib.security.door import origins_of
from scripts.domain.errors import ConfigurationError

NO_WEB = ("*", "null", "viewer.example", "ftp://a.example", "https://")
NO_HOST = (
    "https://a b",
    "https://*.example",
    "https://user@a.example",
    "https://a.example/path",
    "https://a.example?x=1",
)


@pytest.mark.parametrize("text", [*NO_WEB, *NO_HOST])
def test_no_origin(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no origin such as"):
        origins_of(f"https://viewer.example,{text}")


def test_origins() -> None:
    assert origins_of(" https://a.example:8443/ ,http://192.0.2.1,") == ("https://a.example:8443", "http://192.0.2.1")
    assert origins_of("") == ()
