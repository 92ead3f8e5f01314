"""Routes of the fine-tuning: start, look, stop, and go back to the weights before."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import tasks

from lib.errors import BadRequestError, BusyError
from lib.models import ModelShelf, ServedModel
from lib.routes.answered import AnsweredRoute
from lib.trainers.finetune import TRAINING_FOLDER, Wishes
from lib.trainers.record import Record, TrainingRecord

if TYPE_CHECKING:
    from main import MTINetLabel

_USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_ADMIN = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
_STOP_PATIENCE_S = 10.0


def router(app: MTINetLabel) -> APIRouter:
    """Routes under ``/mtinet/training``.

    Args:
        app: with ``settings`` and ``shelf``; its trainer is called ``mtinet``.
    """
    routes = APIRouter(prefix="/mtinet", tags=["MTI-Net"], route_class=AnsweredRoute)
    record = TrainingRecord(app.settings.state_dir / TRAINING_FOLDER)

    @routes.get("/training")
    def look(user: Annotated[User, _USER]) -> dict[str, Any]:
        """The latest training: how far it is, or how it ended; and which weights are served."""
        latest = with_its_process(record.read())
        share = latest.iteration / latest.iterations if latest.iterations else 0.0
        return {**latest.shown(), "running": latest.at_work, "progress": share, "model": served(app.shelf)}

    @routes.post("/training")
    def start(user: Annotated[User, _ADMIN], wishes: Annotated[dict[str, Any] | None, Body()] = None) -> dict[str, Any]:
        """Fine-tune the served weights on what readers corrected."""
        _require_known(wishes or {})
        asked = Wishes.of(wishes or {}, epochs=app.settings.epochs)
        if with_its_process(record.read()).at_work:
            msg = "a training is running already; wait for its end, or stop it"
            raise BusyError(msg)
        # MONAI Label reads the variable without asking whether there is one.
        os.environ.setdefault("PYTHONPATH", "")
        task, _ = AsyncTask.run("train", request={"model": "mtinet", **vars(asked)})
        if task is None:
            msg = "a training is starting already; wait a moment"
            raise BusyError(msg)
        return {"started": True}

    @routes.delete("/training")
    def stop(user: Annotated[User, _ADMIN]) -> dict[str, Any]:
        """End a training that runs; the weights stay as they are."""
        AsyncTask.stop("train")
        give_up = time.monotonic() + _STOP_PATIENCE_S
        while (latest := record.read()).at_work and time.monotonic() < give_up:
            time.sleep(0.1)
        return latest.shown()

    @routes.post("/training/rollback")
    def roll_back(user: Annotated[User, _ADMIN]) -> dict[str, Any]:
        """Serve the weights before the current ones again."""
        app.shelf.rollback()
        return {"model": served(app.shelf)}

    return routes


def with_its_process(latest: Record) -> Record:
    """The record, or what is known of a training whose process has not written one yet.

    MONAI Label's process for a training takes seconds to start, and may fail before it can write anything.
    """
    task = next(reversed(tasks("train")), None)
    if latest.at_work or task is None:
        return latest
    asked_at = datetime.strptime(task["start_ts"], "%Y-%m-%d %H:%M:%S").astimezone(UTC)
    if latest.started_at and datetime.fromisoformat(latest.started_at) >= asked_at:
        return latest
    if task["status"] in ("SUBMITTED", "RUNNING"):
        return Record(state="preparing", message="the training's process starts", started_at=asked_at.isoformat())
    if task["status"] == "ERROR":
        message = "the training's process ended before it could begin; the server's log says more"
        return Record(state="failed", message=message, started_at=asked_at.isoformat())
    return latest


def served(shelf: ModelShelf) -> dict[str, Any]:
    """The served weights and those before them, without their files' places."""
    return {"current": _shown(shelf.current()), "history": [_shown(model) for model in shelf.history()]}


def _shown(model: ServedModel) -> Mapping[str, Any]:
    return {
        "version": model.version,
        "sha256": model.sha256,
        "promoted_at": model.promoted_at,
        "metrics": dict(model.metrics),
    }


def _require_known(wishes: Mapping[str, Any]) -> None:
    # MONAI Label's clients send keys of their own to /train; here a misspelt wish must not train with the default.
    known = {field.name for field in fields(Wishes)}
    if unknown := sorted(set(wishes) - known):
        msg = f"a training has no setting {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
        raise BadRequestError(msg)
