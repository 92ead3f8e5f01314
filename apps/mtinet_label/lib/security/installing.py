"""Puts door, origins and guard before MONAI Label's server, from inside the app that the server loads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from monailabel.config import settings as label_settings
from monailabel.endpoints.user import auth
from monailabel.interfaces.app import MONAILabelApp
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from lib.security.addresses import Known, Role, addresses
from lib.security.door import Door, origins_of
from lib.security.guard import Guard, Policy
from lib.security.quiet_logs import quiet_logs
from lib.security.tokens import Realm, Tokens
from lib.settings import Settings
from lib.studies.study import StudySource

logger = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
_HEADERS = ("Authorization", "Content-Type", "Accept", "Range")
_ASKED_AGAIN_AFTER_S = 600


def install(app: MONAILabelApp, settings: Settings, source: StudySource) -> None:
    """``lib.security.protect``.

    MONAI Label refuses middleware once its server has started, and an app is loaded only then. But the server asks
    for its stack of middleware at every request, so that a stack that is built anew takes effect at the next.

    Raises:
        ConfigurationError: ``origins`` or MONAI Label's authentication settings are unusable.
    """
    # Here, not above: MONAI Label's server module is made for being imported last, and reads its settings then.
    from monailabel.app import app as server

    tokens = Tokens(Realm.of(label_settings)) if label_settings.MONAI_LABEL_AUTH_ENABLE else None
    port = label_settings.MONAI_LABEL_SERVER_PORT
    # Under one of its names, a page of this server may ask it under another: OHIF is told an address by hand.
    own = [f"http://{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    origins = origins_of(",".join([settings.origins, *map(str, label_settings.MONAI_LABEL_CORS_ORIGINS), *own]))
    policy = Policy(
        addresses=addresses(_known(app)),
        source=source,
        most_bytes=settings.max_upload_mb << 20,
        tokens=tokens,
        roles={
            Role.USER: label_settings.MONAI_LABEL_AUTH_ROLE_USER,
            Role.ANNOTATOR: label_settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR,
            Role.ADMIN: label_settings.MONAI_LABEL_AUTH_ROLE_ADMIN,
        },
    )
    ours = [
        Middleware(Door, origins=origins, allow_remote=settings.allow_remote),
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=list(_METHODS),
            allow_headers=list(_HEADERS),
            max_age=_ASKED_AGAIN_AFTER_S,
        ),
        Middleware(Guard, policy=policy),
    ]
    # By name: a reload brings classes of the same names that are not the same.
    replaced = {f"{one.__module__}.{one.__qualname__}" for one in (Door, CORSMiddleware, Guard)}
    others = [one for one in server.user_middleware if f"{one.cls.__module__}.{one.cls.__qualname__}" not in replaced]
    server.user_middleware = ours + others
    server.middleware_stack = server.build_middleware_stack()
    if tokens is not None:
        auth.from_token = tokens.user
    quiet_logs()
    if settings.allow_remote and tokens is None:
        logger.warning("Other machines may call (allow_remote) and logins are off: whoever reaches the port may read.")


def _known(app: MONAILabelApp) -> Known:
    def of(attribute: str) -> Callable[[], Mapping[str, Mapping[str, object]]]:
        def tasks() -> Mapping[str, Mapping[str, object]]:
            return {name: task.info().get("config") or {} for name, task in getattr(app, attribute, {}).items()}

        return tasks

    return Known(infers=of("_infers"), trainers=of("_trainers"), strategies=of("_strategies"))
