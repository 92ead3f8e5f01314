"""Who may call at all: this machine, under its own name, and pages of the configured origins."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.security.answering import refuse
from lib.security.refusals import RefusedError
from scripts.domain.errors import ConfigurationError

_READS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?", re.ASCII)


class Door:
    """ASGI middleware, the outermost: refuses a caller before anything of the request is read.

    A page in the reader's own browser is a caller too: one that reaches this server by a name of its own (DNS
    rebinding) is refused by ``Host``, one that posts blindly (CSRF) by ``Origin`` and ``Sec-Fetch-Site``.

    Args:
        app: what is behind the door.
        origins: of pages that may talk to the server, besides its own.
        allow_remote: whether other machines may call.
    """

    def __init__(self, app: ASGIApp, *, origins: Iterable[str], allow_remote: bool) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._allow_remote = allow_remote
        self._hosts = {"localhost"} | {urlsplit(origin).hostname or "" for origin in self._origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            try:
                self._check(scope)
            except RefusedError as error:
                await refuse(error, scope, send)
            else:
                await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if not self._allow_remote and not _is_loopback((scope.get("client") or ("",))[0]):
            raise RefusedError(403, "this server answers its own machine only; see allow_remote in its documentation")
        hosts = headers.getlist("host")
        host = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if host is None or not self._is_ours(host[1]):
            raise RefusedError(421, "the request's Host is no name of this server")
        origin = headers.get("origin")
        own = {f"{scheme}://{hosts[0]}" for scheme in ("http", "https")}
        if origin is not None and origin not in own | self._origins:
            raise RefusedError(403, "pages of this origin may not talk to this server")
        from_elsewhere = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and origin is None
        opens_page = scope["method"] in _READS and headers.get("sec-fetch-mode") == "navigate"
        if from_elsewhere and not opens_page:
            raise RefusedError(403, "pages of other origins may not talk to this server")

    def _is_ours(self, host: str) -> bool:
        """An address cannot be rebound, only a name can."""
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return host.lower() in self._hosts
        return self._allow_remote or address.is_loopback


def origins_of(text: str) -> tuple[str, ...]:
    """The origins of a setting, separated by commas.

    Raises:
        ConfigurationError: one is no origin (scheme, host and port), or is ``*``.
    """
    origins = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not _HOST.fullmatch(parts.netloc) or parts.path or parts.query:
            msg = f"--conf origins: {origin!r} is no origin such as https://viewer.hospital.example:8443"
            raise ConfigurationError(msg)
    return origins


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
