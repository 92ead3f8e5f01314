"""An OHIF package of a few lines, a PACS that remembers what it was asked, and a server in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import uvicorn
from fastapi import APIRouter, FastAPI

PAGE = (
    '<link href="/app.bundle.css" rel="stylesheet"><script>window.PUBLIC_URL="/"</script>'
    '<script src="/app-config.js"></script><script src="/app.bundle.0f.js"></script><a href="//other.example/">x</a>'
)
BUNDLE = 'x;__webpack_require__.p = "/";y'


@pytest.fixture
def ohif_dist(tmp_path: Path) -> Path:
    """An unpacked package as npm has it, in small."""
    folder = tmp_path / "ohif"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "app.bundle.0f.js").write_text(BUNDLE)
    (folder / "12.bundle.ab.js").write_text("no base here")
    (folder / "worker.bundle.cd.js").write_text(BUNDLE)
    (folder / "app.bundle.css").write_text("a{background:url(/f.woff2)} b{background:url(data:x)}")
    (folder / "f.woff2").write_bytes(b"font")
    (folder / "codec.wasm").write_bytes(b"\0asm")
    (folder / "app-config.js").write_text("the package's own")
    (folder / "assets" / "favicon.ico").write_bytes(b"icon")
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serve routers on loopback, until the test ends: their address."""
    servers = []

    def start(*routers: APIRouter) -> str:
        app = FastAPI()
        for router in routers:
            app.include_router(router)
        # Without uvicorn's own logging, which would stay set for the tests that follow in this process.
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        give_up = time.monotonic() + 30
        while not server.started and time.monotonic() < give_up:
            time.sleep(0.02)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.fixture
def get() -> Callable[..., requests.Response]:
    """GET by a path exactly as it is written, on loopback."""
    session = requests.Session()
    session.trust_env = False

    def ask(address: str, **options: object) -> requests.Response:
        request = requests.Request("GET", address, **options).prepare()
        if "params" not in options:
            request.url = address
        return session.send(request, timeout=30, allow_redirects=False)

    return ask


@dataclass
class FakePacs:
    """What it was asked, and what it answers."""

    address: str = ""
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    body: bytes = b'{"a": 1}'
    answer_headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/dicom+json"})
    hang_up: int = 0


@pytest.fixture
def fake_pacs() -> Iterator[FakePacs]:
    """A PACS under ``/dicom-web``."""
    pacs = FakePacs()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            pacs.asked.append(self.path)
            pacs.headers.append({name.lower(): value for name, value in self.headers.items()})
            if pacs.hang_up > 0:
                pacs.hang_up -= 1
                self.close_connection = True
                return
            self.send_response(pacs.status)
            for name, value in pacs.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(pacs.body)))
            self.end_headers()
            self.wfile.write(pacs.body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    pacs.address = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    yield pacs
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)
