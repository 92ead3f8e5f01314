"""What a failed request is told."""

from __future__ import annotations

import json

import pytest

from lib.security.refusals import INTERNAL, cleaned, without_paths


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot read /srv/studies/doe/1.dcm.", "cannot read …"),
        ("cannot read '/srv/studies/1.dcm', try again", "cannot read '…', try again"),
        ("file:///srv/x/y", "…"),
        (r"in C:\Users\doe\x.nii now", "in … now"),
        ("~/studies/x", "…"),
        ("/studies is empty", "… is empty"),
        (r"in \\server\liver\x.nii now", "in … now"),
        ("ask http://127.0.0.1:8042/dicom-web/studies", "ask http://127.0.0.1:8042/dicom-web/studies"),
        ("8 of 10 mm/s, and/or 3/4", "8 of 10 mm/s, and/or 3/4"),
    ],
)
def test_paths_are_left_out(text: str, told: str) -> None:
    assert without_paths(text) == told


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"Internal Server Error", "Internal Server Error"),
        (b'{"detail": "not in /srv/studies/x"}', "not in …"),
        (b'{"message": "odd"}', {"message": "odd"}),
        (b'Traceback (most recent call last):\n  File "/x/y.py", line 3, in z', INTERNAL),
        (b'{"detail": "File \\"/x/y.py\\", line 3, in z"}', INTERNAL),
        (
            b'{"detail": [{"loc": ["query", "limit"], "msg": "too large", "input": "/etc/passwd"}]}',
            "query.limit: too large",
        ),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_error_bodies_are_cleaned(body: bytes, detail: object) -> None:
    assert json.loads(cleaned(body)) == {"detail": detail}
