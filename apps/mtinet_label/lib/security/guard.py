"""What may be asked: each request is held against the table of addresses before MONAI Label or a route of ours runs."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

import jwt
import requests
from anyio.to_thread import run_sync
from monailabel.endpoints.user.auth import User
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.errors import AppError, UnknownError
from lib.security.addresses import Address, Role
from lib.security.answering import Answer, send_error
from lib.security.bodies import CheckedBody, read_body
from lib.security.refusals import INTERNAL, RefusedError, refusal_of
from lib.security.tokens import Tokens
from lib.studies.study import StudySource

logger = logging.getLogger(__name__)

_MOST_QUERY_BYTES = 8192
# Files of pages may be kept by browsers, as their routes say; what is about a study may not.
_KEPT = ("/static/", "/viewer", "/ohif/", "/favicon.ico")


@dataclass(frozen=True)
class Policy:
    """What the guard goes by.

    Args:
        addresses: the table.
        source: says which images there are.
        most_bytes: of a request.
        tokens: None where authentication is off.
        roles: MONAI Label's name of each role.
    """

    addresses: tuple[Address, ...]
    source: StudySource
    most_bytes: int
    tokens: Tokens | None
    roles: Mapping[Role, str]


class Guard:
    """ASGI middleware, the innermost: checks path, caller's role, query and body, and cleans error answers.

    Args:
        app: MONAI Label's server.
        policy: what to go by.
    """

    def __init__(self, app: ASGIApp, *, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = _path(scope)
        answer = Answer(send, keep=path.startswith(_KEPT))
        started_s = time.monotonic()
        address, body = None, None
        try:
            address, places = self._address(scope["method"], path)
            user = await self._user(address, scope)
            if address.closed or (address.login_only and self._policy.tokens is None):
                raise RefusedError(403, address.closed or "this needs a login, and logins are off on this server")
            self._check_tasks(address, places)
            await self._check_query(address, scope["query_string"])
            body = await self._body(address, scope, receive, user)
            await self._app(_with(scope, body, user), body.receive_by(receive), answer)
        except Exception as error:
            await self._fail(_login_refused(error) if path == "/auth/token" else error, scope, send, answer)
        finally:
            if body is not None:
                body.close()
        # The address as the table has it: an identifier of a study does not belong in a log.
        shown = address.template if address is not None else "an address that is not there"
        # A viewer reads hundreds of images; what is worth a line is what failed and what changed something.
        quiet = scope["method"] in ("GET", "HEAD") and answer.status is not None and answer.status < 400
        spent_ms = 1000 * (time.monotonic() - started_s)
        level = logging.DEBUG if quiet else logging.INFO
        logger.log(level, "%s %s %s %.0f ms", scope["method"], shown, answer.status, spent_ms)

    def _address(self, method: str, path: str) -> tuple[Address, Mapping[str, str]]:
        methods: set[str] = set()
        for address in self._policy.addresses:
            places = address.match(path)
            if places is not None and method in address.methods:
                return address, places
            methods.update(address.methods if places is not None else ())
        if methods:
            raise RefusedError(405, "this address does not take this method", {"Allow": ", ".join(sorted(methods))})
        raise RefusedError(404, "there is no such address")

    async def _user(self, address: Address, scope: Scope) -> User | None:
        tokens = self._policy.tokens
        if tokens is None or address.role is Role.ANYONE or address.closed:
            return None
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        challenge = {"WWW-Authenticate": "Bearer"}
        if scheme.lower() != "bearer" or not token:
            raise RefusedError(401, "this needs a login", challenge)
        try:
            user = await run_sync(tokens.user, token.strip())
        except jwt.InvalidTokenError as error:
            raise RefusedError(401, "the login is not valid, or not any more", challenge) from error
        needed = self._policy.roles[address.role]
        if needed not in user.roles:
            raise RefusedError(403, f"this needs the role {needed}")
        return user

    def _check_tasks(self, address: Address, places: Mapping[str, str]) -> None:
        for place, known in address.tasks.items():
            if places[place] not in known():
                msg = f"there is no {_what(address)} of this name"
                raise UnknownError(msg)

    async def _check_query(self, address: Address, raw: bytes) -> None:
        if len(raw) > _MOST_QUERY_BYTES:
            raise RefusedError(414, "the request's query is too long")
        items = QueryParams(raw).multi_items()
        if not address.repeated_query and len({name for name, _ in items}) != len(items):
            raise RefusedError(400, "the request's query names a parameter twice")
        for name, value in items:
            check = address.query.get(name, address.any_query)
            if check is None:
                raise RefusedError(400, "the request's query brings a parameter that this address does not take")
            check(name, value)
        given = dict(items)
        for name in address.images:
            if given.get(name):
                await run_sync(self._policy.source.resolve, given[name])

    async def _body(self, address: Address, scope: Scope, receive: Receive, user: User | None) -> CheckedBody:
        if address.body is None:
            return CheckedBody()
        reader = user.username if user is not None and address.signed else None
        return await read_body(
            Headers(scope=scope), receive, address.body, most_bytes=self._policy.most_bytes, reader=reader
        )

    async def _fail(self, error: Exception, scope: Scope, send: Send, answer: Answer) -> None:
        refusal = refusal_of(error)
        if refusal is None:
            # Where it failed, not what with: an error's own text may hold anything.
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("%s while answering\n%s", type(error).__name__, frames)
        elif not isinstance(error, AppError):
            logger.warning("%s while answering", type(error).__name__)
        if answer.started:
            return
        status, detail, headers = refusal or (500, INTERNAL, {})
        answer.status = status
        await send_error(status, detail, headers, scope, send)


def _login_refused(error: Exception) -> Exception:
    """MONAI Label lets the realm's refusal of a password through as a fault of its own."""
    refused = isinstance(error, requests.HTTPError) and error.response is not None
    if refused and error.response.status_code in (400, 401, 403):
        return RefusedError(401, "the name or the password is wrong")
    return error


def _path(scope: Scope) -> str:
    root = scope.get("root_path", "").rstrip("/")
    path: str = scope["path"]
    return path[len(root) :] if root and path.startswith(root + "/") else path


def _with(scope: Scope, body: CheckedBody, user: User | None) -> Scope:
    """The request as it was checked: its body's headers, and who asks as ``request.state.user``."""
    checked = {**scope, "headers": list(scope["headers"]), "state": {**scope.get("state", {}), "user": user}}
    headers = MutableHeaders(scope=checked)
    for name in ("content-type", "content-length", "transfer-encoding", "content-encoding"):
        del headers[name]
    if body.content_type:
        headers["content-type"] = body.content_type
        headers["content-length"] = str(body.length)
    return checked


def _what(address: Address) -> str:
    return {"/activelearning/{task}": "strategy", "/train/{task}": "trainer"}.get(address.template, "model")
