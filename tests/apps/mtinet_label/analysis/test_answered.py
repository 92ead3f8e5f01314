import json
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from lib.errors import BadRequestError, BusyError, UnknownError
from lib.routes.answered import AnsweredRoute, words
from scripts.domain.errors import CheckpointError, StudyError
from scripts.studies.nifti import FileError

SECRET = "/srv/patients/mueller/scan.nii.gz"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BadRequestError("no such thing"), 400, "no such thing"),
        (UnknownError("no such study"), 404, "no such study"),
        (BusyError("busy"), 503, "busy"),
        (StudyError(f"{SECRET}: constant. Export it again"), 422, "…: constant. Export it again"),
        (
            FileError(Path(SECRET), "truncated", "Copy it again"),
            422,
            "a file of the study is no use: truncated. Copy it again.",
        ),
        (CheckpointError(f"'{SECRET}' is damaged"), 500, "'…' is damaged"),
        (CheckpointError(r"C:\data\mueller.pt is damaged"), 500, "… is damaged"),
        (json.JSONDecodeError("x", SECRET, 0), 400, "params or info is no JSON"),
        (
            MONAILabelException(MONAILabelError.INVALID_INPUT, SECRET),
            400,
            "the request cannot be answered: check the names of model, strategy and study",
        ),
    ],
)
def test_errors_become_answers_without_paths(error: Exception, status: int, said: str) -> None:
    routes = APIRouter(route_class=AnsweredRoute)

    @routes.get("/fails")
    def fails() -> None:
        raise error

    server = FastAPI()
    server.include_router(routes)
    answer = TestClient(server).get("/fails")
    assert (answer.status_code, answer.json()) == (status, {"detail": said})
    assert ("retry-after" in answer.headers) == (status == 503)


@pytest.mark.parametrize("text", ["phases 1/2 of 3", "3 mm and/or 5 mm", "the class is hcc. Look again", "0.5 / 0.7"])
def test_words_that_are_no_path_stay(text: str) -> None:
    assert words(StudyError(text)) == text
