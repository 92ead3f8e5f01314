from pathlib import Path

import pytest
from bench import MEMORY_LIMIT_MB, Load, bundle_answers, main, measurements

from scripts.engines.inferer import StudyInferer


def test_options_that_are_none() -> None:
    with pytest.raises(SystemExit):
        main(["--clients", "many"])


def test_the_bundle_s_time_is_that_of_one_study_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    analysed = []
    answer = StudyInferer.__call__

    def count(inferer: StudyInferer, study, network):
        analysed.append(study.case)
        return answer(inferer, study, network)

    monkeypatch.setattr(StudyInferer, "__call__", count)
    lesions, seconds = bundle_answers(Load(tmp_path, studies=1, clients=1, shape=(64, 64, 16)))
    assert analysed == sorted(lesions) == sorted(seconds)
    assert len(analysed) == 3


@pytest.mark.slow
def test_many_clients_get_the_bundle_s_own_answers(tmp_path: Path) -> None:
    load = Load(tmp_path, studies=1, clients=3, shape=(64, 64, 16))
    found = {measurement["name"]: measurement["value"] for measurement in measurements(load)}
    assert found["clients_wrong_answers"] == 0
    assert found["clients_at_once"] == 3
    assert 100 < found["server_peak_rss_mb"] < MEMORY_LIMIT_MB
