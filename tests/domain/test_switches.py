"""Yes-or-no values from the command line."""

import pytest

from scripts.domain.errors import ConfigurationError
from scripts.domain.switches import is_on


def test_other_words_are_refused():
    with pytest.raises(ConfigurationError, match="'maybe' is neither true nor false"):
        is_on("maybe")


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), (False, False), ("true", True), ("False", False), ("no", False), (1, True)]
)
def test_words_and_bools(value, expected):
    assert is_on(value) is expected
