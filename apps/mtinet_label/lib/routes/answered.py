"""Turns what goes wrong in a route into a JSON answer with the right status, in words and without paths."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from monailabel.interfaces.exception import MONAILabelException

from lib.errors import AppError, BusyError
from lib.security.refusals import RETRY_AFTER_S, without_paths
from scripts.domain.errors import ConfigurationError, MTINetError, StudyError
from scripts.studies.nifti import FileError

logger = logging.getLogger(__name__)


class AnsweredRoute(APIRoute):
    """A route whose errors of this project become answers; for ``APIRouter(route_class=AnsweredRoute)``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI calls."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except (MTINetError, MONAILabelException, json.JSONDecodeError) as error:
                return error_answer(error)

        return answered


def error_answer(error: Exception) -> JSONResponse:
    """``{"detail": words}`` with the error's status."""
    status = status_of(error)
    if status >= 500 and not isinstance(error, BusyError):
        logger.error("%s: %s", type(error).__name__, words(error))
    headers = {"Retry-After": str(RETRY_AFTER_S)} if isinstance(error, BusyError) else None
    return JSONResponse({"detail": words(error)}, status_code=status, headers=headers)


def status_of(error: Exception) -> int:
    """The HTTP status of an error: the app's own by their class, a study that cannot be used 422."""
    if isinstance(error, AppError):
        return error.status
    if isinstance(error, StudyError):
        return 422
    if isinstance(error, (ConfigurationError, MONAILabelException, json.JSONDecodeError)):
        return 400
    return 500


def words(error: Exception) -> str:
    """What the user is told: the error's text without paths."""
    if isinstance(error, FileError):
        return f"a file of the study is no use: {error.problem}. {without_paths(error.fix)}."
    if isinstance(error, json.JSONDecodeError):
        return "params or info is no JSON"
    if isinstance(error, MONAILabelException):
        # Their texts quote the request.
        return "the request cannot be answered: check the names of model, strategy and study"
    return without_paths(str(error))
