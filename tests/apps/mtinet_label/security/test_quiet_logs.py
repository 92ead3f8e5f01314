"""What stays out of the log."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from lib.security.quiet_logs import quiet_logs

UID = "1.2.840.113619.2.55.3.604688119"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a handler writes that was there before ``quiet_logs``."""
    written, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(written), root.level
    loggers = {name: one.level for name, one in logging.root.manager.loggerDict.items() if hasattr(one, "level")}
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    quiet_logs()
    yield written
    root.removeHandler(handler)
    root.setLevel(level)
    for name, old in loggers.items():
        logging.getLogger(name).setLevel(old)


def test_monai_labels_requests_are_not_written(log: io.StringIO) -> None:
    logging.getLogger("monailabel.endpoints.infer").info("Infer Request: {'image': 'x', 'reader': 'Jane'}")
    logging.getLogger("monailabel.interfaces.app").info("New label saved for: x")
    assert log.getvalue() == ""


def test_warnings_are_written_without_values(log: io.StringIO) -> None:
    text = f"Failed for {{'PatientName': 'Doe'}} of {UID} in /srv/studies/doe/1.dcm"
    logging.getLogger("monailabel.datastore.dicom").warning(text)
    assert log.getvalue() == "Failed for {…} of <uid> in …\n"


def test_trace_is_written_without_its_message(log: io.StringIO) -> None:
    patient = "Doe^Jane"
    try:
        raise ValueError(patient)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    assert "Exception in ASGI application (ValueError)" in log.getvalue()
    assert "test_quiet_logs.py" in log.getvalue()
    assert "Doe" not in log.getvalue()


def test_access_log_has_no_query_and_no_study(log: io.StringIO) -> None:
    line = '%s - "%s %s HTTP/%s" %d'
    told = ("127.0.0.1:5", "GET", f"/mtinet/studies/{UID}/result?reader=Jane", "1.1", 200)
    logging.getLogger("uvicorn.access").warning(line, *told)
    assert log.getvalue() == '127.0.0.1:5 - "GET /mtinet/studies/<uid>/result HTTP/1.1" 200\n'


def test_our_own_lines_stay(log: io.StringIO) -> None:
    logging.getLogger("lib.trainers.finetune").info("epoch %d of %d", 1, 2)
    assert log.getvalue() == "epoch 1 of 2\n"
