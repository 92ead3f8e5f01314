from __future__ import annotations

import pytest

from scripts.studies.dicom.signature import START_BYTES, looks_like_dicom


@pytest.mark.parametrize(
    "start", [b"", b"hello", bytes(START_BYTES), b"\0" * 128 + b"DIC", b"DICM" + bytes(128), b"\x08\0"]
)
def test_what_is_no_dicom(start: bytes) -> None:
    assert not looks_like_dicom(start)


@pytest.mark.parametrize(
    "start",
    [b"\0" * 128 + b"DICM", b"any preamble".ljust(128) + b"DICM", b"\x08\0\x05\0CS", b"\x08\0\x08\0", b"\x02\0\0\0UL"],
)
def test_what_may_be(start: bytes) -> None:
    assert looks_like_dicom(start)
