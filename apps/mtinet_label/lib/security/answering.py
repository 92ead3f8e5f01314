"""Sends refusals, and passes answers on with what every answer of this server carries."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Scope, Send

from lib.security.refusals import INTERNAL, RefusedError, as_json, cleaned

# A file that claims to be something else is not guessed at; no other page frames or embeds what is shown here.
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}
_LONGEST_ERROR = 1 << 16


async def refuse(error: RefusedError, scope: Scope, send: Send) -> None:
    """Answer with the refusal."""
    await send_error(error.status, str(error), error.headers, scope, send)


async def send_error(status: int, detail: object, headers: Mapping[str, str], scope: Scope, send: Send) -> None:
    """Answer with a status and a sentence."""
    body = as_json(detail)
    start: Message = {"type": "http.response.start", "status": status, "headers": []}
    told = MutableHeaders(scope=start)
    told.update({**_ALWAYS, **headers, "Cache-Control": "no-store"})
    told["Content-Type"] = "application/json"
    told["Content-Length"] = str(len(body))
    await send(start)
    await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})


class Answer:
    """The way of one answer: error bodies are cleaned, and no route decides by itself who may read across origins.

    Args:
        send: ASGI's.
        keep: whether browsers may keep the answer.
    """

    def __init__(self, send: Send, *, keep: bool) -> None:
        self._send = send
        self._keep = keep
        self._held: Message | None = None
        self._body = b""
        self.status: int | None = None

    @property
    def started(self) -> bool:
        """Whether something has been sent, so that nothing else can be answered."""
        return self.status is not None and self._held is None

    async def __call__(self, message: Message) -> None:
        """Pass one message on, or hold it until an error's body is whole."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif message["type"] == "http.response.body" and self._held is not None:
            self._body += message.get("body", b"")[: _LONGEST_ERROR + 1 - len(self._body)]
            if not message.get("more_body", False):
                await self._finish()
        else:
            await self._send(message)

    async def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = MutableHeaders(scope=message)
        # A proxied PACS may allow every origin; only the configured ones count here.
        for name in [name for name in headers if name.startswith("access-control-")]:
            del headers[name]
        for name, value in _ALWAYS.items():
            headers.setdefault(name, value)
        if not self._keep:
            headers.setdefault("Cache-Control", "no-store")
        kind = headers.get("content-type", "")
        if self.status >= 400 and (kind.startswith(("application/json", "text/plain")) or not kind):
            self._held = message
        else:
            await self._send(message)

    async def _finish(self) -> None:
        held, self._held = self._held, None
        body = cleaned(self._body) if len(self._body) <= _LONGEST_ERROR else as_json(INTERNAL)
        headers = MutableHeaders(scope=held)
        headers["Content-Type"] = "application/json"
        if "content-encoding" in headers:
            del headers["content-encoding"]
            body = as_json(INTERNAL)
        headers["Content-Length"] = str(len(body))
        await self._send(held)
        await self._send({"type": "http.response.body", "body": body})
