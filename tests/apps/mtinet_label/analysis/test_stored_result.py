import json

import pytest

from lib.analysis import Analyser
from lib.stored_result import result_of
from lib.studies.study import OpenStudy


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(KeyError):
        result_of({"subject": "a"})


def test_a_result_comes_back_as_it_was(analyser: Analyser, opened_study: OpenStudy) -> None:
    result = analyser.analyse(opened_study).result
    assert result.lesions
    assert result_of(json.loads(json.dumps(result.to_dict()))) == result
