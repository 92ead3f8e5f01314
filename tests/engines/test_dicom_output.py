"""A study that cannot be answered in DICOM costs neither the others nor its own other results."""

from types import SimpleNamespace

import numpy as np
import pytest

from scripts.domain.errors import StudyError
from scripts.engines import dicom_output
from scripts.engines.dicom_output import DicomWriter
from scripts.engines.study_evaluator import Analysis


@pytest.mark.parametrize(
    ("error", "said"),
    [(StudyError("no frame of reference"), "no frame of reference"), (KeyError("PLANTED^NAME"), "KeyError in")],
)
def test_a_failure_is_counted_and_quotes_nothing(monkeypatch, tmp_path, error, said):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(dicom_output, "source_of", fails)
    analysis = Analysis(case=SimpleNamespace(case="c1"), study=None, prediction=None, result=None, mask=np.zeros(1))
    engine = SimpleNamespace(state=SimpleNamespace(output=analysis), failures={})
    DicomWriter(tmp_path, {"c1": None})._write(engine)
    assert list(engine.failures) == ["c1"]
    assert str(engine.failures["c1"]).startswith("c1: mask and numbers are written, DICOM objects are not: ")
    assert said in str(engine.failures["c1"])
    assert "PLANTED" not in str(engine.failures["c1"])


def test_a_study_from_nifti_is_left_alone(tmp_path):
    analysis = Analysis(case=SimpleNamespace(case="c2"), study=None, prediction=None, result=None, mask=np.zeros(1))
    engine = SimpleNamespace(state=SimpleNamespace(output=analysis), failures={})
    DicomWriter(tmp_path, {"c1": None})._write(engine)
    assert engine.failures == {}
    assert list(tmp_path.iterdir()) == []
