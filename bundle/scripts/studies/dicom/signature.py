"""Tells a DICOM file by its first bytes, without any DICOM library."""

from __future__ import annotations

START_BYTES = 132
"""What has to be read of a file."""

_WITHOUT_PREAMBLE = (b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x02\x00\x00\x00")
"""Old archives left the preamble out: such a file begins with an element of group 0002 or 0008."""


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file may be DICOM.

    Args:
        start: its first ``START_BYTES`` bytes, or fewer where it is shorter.
    """
    return start[128:132] == b"DICM" or start[:4] in _WITHOUT_PREAMBLE
