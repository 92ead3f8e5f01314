"""Reads a request's body within its limit, checks it, and writes it anew: what goes on is what was checked."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from tempfile import SpooledTemporaryFile
from typing import IO
from urllib.parse import urlencode

from anyio.to_thread import run_sync
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.types import Message, Receive

from lib.errors import BadRequestError
from lib.security import parameters, uploads
from lib.security.addresses import Body
from lib.security.refusals import RefusedError

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

_MOST_TEXT_BYTES = 1 << 20
_MOST_LOGIN_BYTES = 1 << 14
_MOST_FILES = 4
_MOST_FIELDS = 32
_IN_MEMORY = 1 << 20
_CHUNK = 1 << 18
# Between two pieces of a body; a sender that stops is not waited for.
_IDLE_S = 60.0


class CheckedBody:
    """A body that may go on, and the two headers that describe it.

    Args:
        content_type: the header's value; ``""`` where there is no body.
        file: the body; closed by ``close``.
        length: of it, bytes.
    """

    def __init__(self, content_type: str = "", file: IO[bytes] | None = None, length: int = 0) -> None:
        self.content_type = content_type
        self.length = length
        self._file = file

    def receive_by(self, receive: Receive) -> Callable[[], Awaitable[Message]]:
        """ASGI's receive that gives this body first, then whatever else comes (a disconnect)."""
        left = self.length

        async def next_message() -> Message:
            nonlocal left
            if left < 0:
                return await receive()
            chunk = self._file.read(_CHUNK) if self._file is not None else b""
            left = left - len(chunk) if chunk and left > len(chunk) else -1
            return {"type": "http.request", "body": chunk, "more_body": left >= 0}

        return next_message

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._file is not None:
            self._file.close()


async def read_body(
    headers: Headers, receive: Receive, body: Body, *, most_bytes: int, reader: str | None
) -> CheckedBody:
    """Read and check a request's body.

    Args:
        headers: of the request.
        receive: ASGI's.
        body: what its address takes.
        most_bytes: of the whole body, and of each file unpacked.
        reader: replaces what the body says the reader is; None leaves it.

    Raises:
        BadRequestError: what it says is not allowed.
        RefusedError: 408 too slow, 413 too large, 415 of a kind that the address does not take.
    """
    kind = parse_options_header(headers.get("content-type"))[0].decode("latin-1").lower()
    most = most_bytes if kind == MULTIPART else _MOST_LOGIN_BYTES if body.as_it_is else _MOST_TEXT_BYTES
    stream = _limited(headers, receive, most)
    if body.as_it_is and kind == FORM:
        return _written(headers["content-type"], [b"".join([chunk async for chunk in stream])])
    if kind == JSON and body.json is not None:
        return _json_body(b"".join([chunk async for chunk in stream]), body, reader)
    if kind in (FORM, MULTIPART) and body.fields is not None:
        return await _form_body(kind, headers, stream, body, most_bytes, reader)
    if not kind and not b"".join([chunk async for chunk in stream]):
        return CheckedBody()
    raise RefusedError(415, "the request's body must be " + " or ".join(_kinds(body)))


async def _limited(headers: Headers, receive: Receive, most: int) -> AsyncGenerator[bytes, None]:
    too_large = RefusedError(413, f"the request is larger than {most >> 10} kB")
    declared = headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared) > most:
        raise too_large
    seen = 0
    while True:
        try:
            message = await asyncio.wait_for(receive(), _IDLE_S)
        except TimeoutError as error:
            raise RefusedError(408, "the request's body stopped coming") from error
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "the request ended before its body was whole")
        chunk = message.get("body", b"")
        seen += len(chunk)
        if seen > most:
            raise too_large
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


def _json_body(raw: bytes, body: Body, reader: str | None) -> CheckedBody:
    if not raw:
        return CheckedBody()
    value = body.json("body", parameters.parsed("body", raw))
    if reader is not None and isinstance(value, dict):
        value["reader"] = reader
    return _written(JSON, [json.dumps(value).encode()])


async def _form_body(
    kind: str, headers: Headers, stream: AsyncGenerator[bytes, None], body: Body, most_bytes: int, reader: str | None
) -> CheckedBody:
    try:
        if kind == MULTIPART:
            # The endpoint's own parser, so that both understand the same.
            form = await MultiPartParser(headers, stream, max_files=_MOST_FILES, max_fields=_MOST_FIELDS).parse()
        else:
            form = await FormParser(headers, stream, max_fields=_MOST_FIELDS).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        msg = "the request's form cannot be read"
        raise BadRequestError(msg) from error
    try:
        fields, files = _sorted_out(form, body)
        if reader is not None:
            _sign(fields, body, reader)
        if kind == FORM:
            return _written(FORM, [urlencode(fields).encode()])
        endings = {}
        for name, file in files.items():
            endings[name] = uploads.ending_of(file.filename or "")
            await run_sync(
                lambda file=file, name=name: uploads.check_upload(file.file, endings[name], most_bytes=most_bytes)
            )
        return await run_sync(_multipart, fields, files, endings)
    finally:
        await form.close()


def _sorted_out(form: FormData, body: Body) -> tuple[dict[str, str], dict[str, UploadFile]]:
    """The form's fields and files, each once and each allowed."""
    items = form.multi_items()
    if len({name for name, _ in items}) != len(items):
        msg = "the request's form names a field twice"
        raise BadRequestError(msg)
    fields: dict[str, str] = {}
    files: dict[str, UploadFile] = {}
    for name, value in items:
        if isinstance(value, UploadFile):
            if not (parameters.is_key(name) if body.files is None else name in body.files):
                msg = "the request's form brings a file that this address does not take"
                raise BadRequestError(msg)
            files[name] = value
        elif name in body.fields:
            fields[name] = str(body.fields[name](name, value))
        elif body.any_field is not None:
            fields[name] = str(body.any_field(name, value))
        else:
            msg = "the request's form brings a field that this address does not take"
            raise BadRequestError(msg)
    return fields, files


def _sign(fields: dict[str, str], body: Body, reader: str) -> None:
    """Put the login's name where the body says who reads: MONAI Label's parameters, or a field of our own routes."""
    if body.any_field is not None:
        fields["reader"] = reader
    for name in body.fields:
        fields[name] = json.dumps({**json.loads(fields.get(name) or "{}"), "reader": reader})


def _multipart(fields: dict[str, str], files: dict[str, UploadFile], endings: dict[str, str]) -> CheckedBody:
    """The form as multipart, its files under names of ours: a sender's name says too much about its disk."""
    boundary = secrets.token_hex(24)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="%s"'
    pieces: list[bytes | IO[bytes]] = []
    for name, value in fields.items():
        pieces += [f"{head % name}\r\n\r\n{value}\r\n".encode()]
    for name, file in files.items():
        described = f'{head % name}; filename="{name}{endings[name]}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        pieces += [described.encode(), file.file, b"\r\n"]
    return _written(f"{MULTIPART}; boundary={boundary}", [*pieces, f"--{boundary}--\r\n".encode()])


def _written(content_type: str, pieces: list[bytes | IO[bytes]]) -> CheckedBody:
    file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by CheckedBody
    for piece in pieces:
        if isinstance(piece, bytes):
            file.write(piece)
        else:
            piece.seek(0)
            while chunk := piece.read(_CHUNK):
                file.write(chunk)
    length = file.tell()
    file.seek(0)
    return CheckedBody(content_type, file, length)


def _kinds(body: Body) -> list[str]:
    kinds = [JSON] if body.json is not None else []
    return kinds + ([MULTIPART] if body.fields is not None else []) + ([FORM] if body.as_it_is else [])
