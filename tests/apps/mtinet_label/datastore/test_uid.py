"""Only what is a UID may reach the disk or the PACS."""

import pytest

from lib.errors import UnknownError
from lib.studies.uid import is_uid, required_uid

BAD = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "1.2.3/../4",
    "1.2.3\x00",
    "1.2.3\n",
    "1..2",
    ".1.2",
    "1.2.",
    "12345",
    "1.2.840.%2e%2e",
    "1.2.٣",
    "1.2.x",
    "1." + "2" * 63,
]


@pytest.mark.parametrize("text", BAD)
def test_refused(text):
    assert not is_uid(text)
    with pytest.raises(UnknownError) as refused:
        required_uid(text)
    assert not text or text not in str(refused.value) or text in "."


def test_accepted():
    assert required_uid("1.2.840.10008.1.2") == "1.2.840.10008.1.2"
    assert is_uid("1." + "2" * 62)
