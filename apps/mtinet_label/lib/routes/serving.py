"""Puts the app's routes before MONAI Label's, which answer what is left."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from monailabel.config import settings as label_settings

from lib.routes import dicom_web, monailabel, study, training, viewer
from lib.security.tokens import Realm
from lib.studies.sources import is_address, pacs_auth

if TYPE_CHECKING:
    from main import MTINetLabel


def include_routes(app: MTINetLabel) -> None:
    """Every route of the app, on MONAI Label's server; called again, e.g. after a reload, the newest app answers.

    Args:
        app: answers them.
    """
    # Here, not above: this module is MONAI Label's server itself, which reads its settings when it is imported.
    from monailabel.app import app as server

    pacs = app.studies if is_address(app.studies) else None
    realm = Realm.of(label_settings) if label_settings.MONAI_LABEL_AUTH_ENABLE else None
    put_first(
        server,
        [
            study.router(app),
            training.router(app),
            monailabel.router(app),
            dicom_web.router(pacs, auth=pacs_auth()),
            viewer.router(app.settings, has_dicomweb=pacs is not None, realm=realm),
        ],
    )


def put_first(server: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Include routers before the server's own routes, in place of those that an earlier call included."""
    earlier = getattr(server.state, "mtinet_routes", [])
    upstream = [route for route in server.router.routes if not any(route is one for one in earlier)]
    server.router.routes[:] = upstream
    for router in routers:
        server.include_router(router)
    ours = server.router.routes[len(upstream) :]
    server.router.routes[:] = [*ours, *upstream]
    server.state.mtinet_routes = ours
    # The document at /docs is made once, of the routes that there were.
    server.openapi_schema = None
