"""MONAI Label's own routes in threads: upstream they are coroutines around work that blocks, and one stops them all."""

from __future__ import annotations

import functools
import inspect
import json
import secrets
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, File, Form, HTTPException, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import activelearning, datastore, info, login, proxy, train
from monailabel.endpoints.infer import ResultType
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import DefaultLabelTag
from requests_toolbelt import MultipartEncoder

from lib.errors import BadRequestError
from lib.routes.answered import AnsweredRoute

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))

_NOT_PARAMETERS = frozenset({"model", "image", "file", "session", "session_id", "description"})
"""What the request itself says; among its parameters they could name a file on this machine."""

_MEDIA_TYPES = {".nrrd": "application/octet-stream", ".nii": "application/octet-stream", ".gz": "application/gzip"}


def router(app: MONAILabelApp) -> APIRouter:
    """Routes of the same paths and signatures as MONAI Label's, to be found before them.

    Args:
        app: answers them.
    """
    routes = APIRouter(route_class=AnsweredRoute)
    routes.add_api_route("/infer/{model}", _infer(app), methods=["POST"], tags=["Infer"])
    routes.add_api_route("/datastore/label", _save_label(app), methods=["PUT"], tags=["Datastore"])
    # Upstream has addresses for a login only where logins are on.
    logins = [login] if settings.MONAI_LABEL_AUTH_ENABLE else []
    for module in (info, activelearning, datastore, train, proxy, *logins):
        for route in module.router.routes:
            if isinstance(route, APIRoute) and not _is_ours(route):
                routes.add_api_route(
                    route.path,
                    in_thread(route.endpoint),
                    methods=list(route.methods),
                    response_model=route.response_model,
                    summary=route.summary,
                    tags=route.tags,
                    include_in_schema=route.include_in_schema,
                )
    return routes


def reader_of(user: User, said: str) -> str:
    """Who reads: the authenticated user where authentication is on, else whom the client names."""
    return user.username if settings.MONAI_LABEL_AUTH_ENABLE else said


def in_thread(endpoint: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """An endpoint that never awaits, run in a worker thread; its signature stays.

    Where logins are off, upstream takes everybody for its ``admin`` and would write that down as who said something.
    """

    @functools.wraps(endpoint)
    async def threaded(*args: Any, **kwargs: Any) -> Any:
        if "user" in kwargs and not settings.MONAI_LABEL_AUTH_ENABLE:
            kwargs["user"] = User(username="")
        return await to_thread.run_sync(lambda: _finished(endpoint(*args, **kwargs)))

    # FastAPI would look for the annotations' names in this module.
    threaded.__signature__ = inspect.signature(endpoint, eval_str=True)
    return threaded


def _finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    msg = "the endpoint awaits something and cannot run in a thread"
    raise RuntimeError(msg)


def _is_ours(route: APIRoute) -> bool:
    """Saving a label is answered here otherwise; writes to the PACS are closed, and they await their body."""
    return (route.path, route.methods) == ("/datastore/label", {"PUT"}) or (
        route.path.startswith("/proxy/") and "POST" in route.methods
    )


def _infer(app: MONAILabelApp) -> Callable[..., Any]:
    def infer(
        background_tasks: BackgroundTasks,
        model: str,
        user: Annotated[User, _USER],
        image: str = "",
        session_id: str = "",
        params: Annotated[str, Form()] = "{}",
        file: Annotated[UploadFile | None, File()] = None,
        label: Annotated[UploadFile | None, File()] = None,
        output: ResultType | None = None,
    ) -> Any:
        """Run a model on a study."""
        if file is not None or session_id or not image:
            msg = "give the study as image=<its identifier>; uploaded images and sessions are not taken"
            raise BadRequestError(msg)
        if output == ResultType.dicom_seg:
            msg = "output=dicom_seg is not answered: a label becomes a DICOM SEG when it is saved"
            raise BadRequestError(msg)
        request = {**_parameters(params), "model": model, "image": image}
        with nullcontext() if label is None else _kept(label) as uploaded:
            answer = app.infer(request if uploaded is None else {**request, "label": uploaded})
        return _answer(answer.get("file"), answer.get("params") or {}, output, background_tasks)

    return infer


def _save_label(app: MONAILabelApp) -> Callable[..., Any]:
    def save_label(
        image: str,
        user: Annotated[User, _ANNOTATOR],
        label: Annotated[UploadFile, File()],
        params: Annotated[str, Form()] = "{}",
        tag: str = DefaultLabelTag.FINAL.value,
    ) -> dict[str, Any]:
        """Save a reader's mask."""
        said = _object(params)
        # Upstream the name of an authenticated reader is lost here.
        said["reader"] = reader_of(user, str(said.get("reader") or ""))
        with _kept(label) as file:
            saved = app.datastore().save_label(image, file, tag or DefaultLabelTag.FINAL.value, said)
        app.on_save_label(image, saved)
        return {"image": image, "label": saved}

    return save_label


def _object(text: str) -> dict[str, Any]:
    said = json.loads(text) if text else {}
    if not isinstance(said, dict):
        msg = "params is no JSON object"
        raise BadRequestError(msg)
    return said


def _parameters(text: str) -> dict[str, Any]:
    said = _object(text)
    # 3D Slicer names the segment at work so; here it would be a mask's file.
    said.pop("label", None)
    forbidden = sorted(_NOT_PARAMETERS & said.keys())
    if forbidden:
        msg = f"{forbidden[0]} is no parameter"
        raise BadRequestError(msg)
    return said


@contextmanager
def _kept(upload: UploadFile) -> Iterator[str]:
    """The upload as a temporary file whose name has nothing of the client's but a known ending."""
    name = (upload.filename or "").lower()
    ending = next((e for e in (".nii.gz", ".seg.nrrd", ".nrrd", ".nii") if name.endswith(e)), ".bin")
    with tempfile.NamedTemporaryFile(prefix="mtinet-upload-", suffix=ending) as kept:
        shutil.copyfileobj(upload.file, kept)
        kept.flush()
        yield kept.name


def _answer(
    mask: str | None, params: Mapping[str, Any], output: ResultType | None, background_tasks: BackgroundTasks
) -> Response:
    """The mask's file, its facts, or both, as MONAI Label's clients expect them."""
    if mask is None:
        return JSONResponse(params)
    file = Path(mask)
    background_tasks.add_task(file.unlink, missing_ok=True)
    if output == ResultType.json:
        return JSONResponse(params)
    media_type = _MEDIA_TYPES[file.suffix]
    # A client on this machine saves it under this name in the same folder for temporary files: it must be another.
    name = f"mtinet-{secrets.token_hex(8)}{''.join(file.suffixes)}"
    if output == ResultType.image:
        return FileResponse(file, media_type=media_type, filename=name)
    try:
        parts = MultipartEncoder(
            {
                "params": (None, json.dumps(params, allow_nan=False), "application/json"),
                "image": (name, file.read_bytes(), media_type),
            }
        )
    except ValueError as error:
        raise HTTPException(status_code=500, detail="the result holds a value that JSON cannot say") from error
    return Response(parts.to_string(), media_type=parts.content_type)
