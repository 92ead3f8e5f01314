"""A small app behind the guard, over MONAI Label's own, unguarded datastore; served in this process and by itself."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import http.server
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import jwt
import nibabel as nib
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

APP = Path(__file__).resolve().parents[4] / "apps" / "mtinet_label"
# Its imports alone take a quarter of a minute, and more beside other tests.
_STARTS_WITHIN_S = 300.0


@dataclass(frozen=True)
class Answered:
    """One answer of a server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> object:
        """The body, read."""
        return json.loads(self.body)


class LabelServer:
    """A server process and raw requests to it: nothing on the way here tidies up a path or a header."""

    def __init__(self, port: int, root: Path) -> None:
        self.port = port
        self.root = root
        self.log = root / "server.log"

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answered:
        """One request; a header of None is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Host": f"127.0.0.1:{self.port}", **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Length", str(len(body)))
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders()
            if body:
                # An attack may be refused before it was read.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.send(body)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, told, answer.read())
        finally:
            connection.close()


def write_studies(folder: Path) -> None:
    """Two images of a flat folder, as MONAI Label's local datastore likes them."""
    folder.mkdir(parents=True)
    for case in ("liver-01", "liver-02"):
        nib.save(nib.Nifti1Image(np.ones((6, 5, 4), np.int16), np.eye(4)), folder / f"{case}.nii.gz")


def write_app(folder: Path) -> Path:
    """The throw-away app."""
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "guarded_app" / "main.py", folder)
    return folder


def label_environment(root: Path, **more: str) -> dict[str, str]:
    """An environment in which MONAI Label downloads nothing and scores nothing."""
    return {
        **os.environ,
        "BUNDLE_DOWNLOAD_SRC": "local",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_SESSIONS": "true",
        "MONAI_LABEL_SESSION_PATH": str(root / "sessions"),
        "MTINET_APP": str(APP),
        "OMP_NUM_THREADS": "1",
        # The program is a shell script that asks for whatever python comes first.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **more,
    }


@pytest.fixture(scope="session")
def serve_guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LabelServer]]:
    """Starts ``monailabel start_server`` with the throw-away app, plainly; stops what it started."""
    running: list[subprocess.Popen[bytes]] = []

    def serve(*conf: str, app: Path | None = None, studies: Path | None = None, **environment: str) -> LabelServer:
        root = tmp_path_factory.mktemp("guarded")
        write_app(root / "app")
        if studies is None:
            write_studies(root / "studies")
        else:
            shutil.copytree(studies, root / "studies")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = LabelServer(port, root)
        command = [str(Path(sys.executable).parent / "monailabel"), "start_server", "--app", str(app or root / "app")]
        command += ["--studies", str(root / "studies"), "--host", "127.0.0.1", "--port", str(port), *conf]
        with server.log.open("wb") as log:
            running.append(
                subprocess.Popen(
                    command,
                    cwd=root,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=label_environment(root, **environment),
                    start_new_session=True,
                )
            )
        give_up = time.monotonic() + _STARTS_WITHIN_S
        # Its own word that it is up: another program may have taken the port meanwhile, and would answer, too.
        while time.monotonic() < give_up and running[-1].poll() is None:
            if f"Uvicorn running on http://127.0.0.1:{port}" in server.log.read_text(errors="replace"):
                return server
            time.sleep(0.2)
        pytest.fail(f"the server did not start:\n{server.log.read_text()[-3000:]}")

    yield serve
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


@pytest.fixture(scope="session")
def guarded_server(serve_guarded: Callable[..., LabelServer]) -> LabelServer:
    """With logins off, as it comes; uploads to 1 MB, one foreign origin."""
    return serve_guarded("--conf", "max_upload_mb", "1", "--conf", "origins", "https://viewer.example:8443")


@pytest.fixture(scope="session")
def serve_app(
    serve_guarded: Callable[..., LabelServer], _dataset_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., LabelServer]:
    """The app itself, on the tiny dataset."""

    def serve(**environment: str) -> LabelServer:
        state = ("--conf", "state", str(tmp_path_factory.mktemp("state")))
        limits = ("--conf", "max_upload_mb", "1", "--conf", "origins", "https://viewer.example:8443")
        return serve_guarded(*limits, *state, app=APP, studies=_dataset_template, **environment)

    return serve


def multipart(fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]] | None = None) -> tuple[bytes, str]:
    """A form's body and its content type, with names exactly as they are given."""
    boundary = "a-boundary-of-the-tests"
    body = b""
    for name, value in fields.items():
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for name, (filename, content) in (files or {}).items():
        described = f'form-data; name="{name}"; filename="{filename}"'
        body += f"--{boundary}\r\nContent-Disposition: {described}\r\n".encode()
        body += b"Content-Type: application/octet-stream\r\n\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


@pytest.fixture(scope="session")
def form() -> Callable[..., tuple[bytes, str]]:
    """``form(fields, files)`` → body and content type."""
    return multipart


@pytest.fixture(scope="session")
def nifti_bytes() -> bytes:
    """A small mask as ``.nii.gz``."""
    image = nib.Nifti1Image(np.arange(120, dtype=np.uint8).reshape(6, 5, 4) % 3, np.eye(4))
    return gzip.compress(image.to_bytes())


class Realm:
    """A realm on this machine that tells its public key, as Keycloak does, and signs tokens.

    Args:
        port: where it listens.
    """

    def __init__(self, port: int) -> None:
        self.uri = f"http://127.0.0.1:{port}/realms/liver"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.asked = 0

    @property
    def public_pem(self) -> str:
        """Of the key, with its frame."""
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return self.key.public_key().public_bytes(*form).decode()

    def told(self) -> dict[str, object]:
        """What the realm's address answers."""
        self.asked += 1
        return {"realm": "liver", "public_key": "".join(self.public_pem.splitlines()[1:-1])}

    def claims(self, *roles: str, **others: object) -> dict[str, object]:
        """Of a good token; a claim of None is left out."""
        now = int(time.time())
        claims = {
            "iss": self.uri,
            "aud": ["monailabel-app", "account"],
            "iat": now - 5,
            # Longer than the slowest run of all tests: tokens are made once for many of them.
            "exp": now + 6 * 3600,
            "typ": "Bearer",
        }
        claims |= {
            "preferred_username": "reader-1",
            "realm_access": {"roles": [f"monailabel-{role}" for role in roles]},
        }
        return {name: value for name, value in (claims | others).items() if value is not None}

    def token(self, *roles: str, **others: object) -> str:
        """A token of the realm."""
        return jwt.encode(self.claims(*roles, **others), self.key, algorithm="RS256")


@pytest.fixture(scope="session")
def realm() -> Iterator[Realm]:
    """A realm that answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked_how = self.path.endswith("/.well-known/openid-configuration")
            self.tell(200, {"token_endpoint": f"{known.uri}/token"} if asked_how else known.told())

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if "password=of-reader-1" in form:
                self.tell(200, {"access_token": known.token("user", "annotator"), "token_type": "bearer"})
            else:
                self.tell(401, {"error": "invalid_grant"})

        def tell(self, status: int, told: object) -> None:
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = Realm(listening.server_port)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield known
    listening.shutdown()
    listening.server_close()


@pytest.fixture(scope="session")
def login_server(serve_guarded: Callable[..., LabelServer], realm: Realm) -> LabelServer:
    """With logins on."""
    return serve_guarded(MONAI_LABEL_AUTH_ENABLE="true", MONAI_LABEL_AUTH_REALM_URI=realm.uri)


@pytest.fixture(scope="module")
def guarded_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., object]]:
    """``guarded_app(conf) -> FastAPI``: MONAI Label's own server in this process, for ``TestClient``.

    The app is loaded when the client enters, after the server was built, as it is in a process of its own.
    """
    from monailabel.app import app as server
    from monailabel.config import settings
    from monailabel.interfaces.app import MONAILabelApp
    from monailabel.interfaces.utils import app as apps

    root = tmp_path_factory.mktemp("guarded")
    write_studies(root / "studies")
    write_app(root / "app")
    loggers = logging.root.manager.loggerDict.items()
    levels = {name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger)}
    middleware, routes = list(server.user_middleware), list(server.router.routes)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in label_environment(root, MONAI_LABEL_RELOAD_APP_LIB="false").items():
            patch.setenv(name, value)
        patch.setattr(settings, "MONAI_LABEL_SESSIONS", False)
        patch.setattr(settings, "MONAI_LABEL_AUTO_UPDATE_SCORING", False)
        patch.setattr(settings, "MONAI_LABEL_APP_DIR", str(root / "app"))
        patch.setattr(settings, "MONAI_LABEL_STUDIES", str(root / "studies"))
        # It starts a thread that nothing ends.
        patch.setattr(MONAILabelApp, "on_init_complete", lambda app: None)

        def app(**conf: str) -> object:
            patch.setattr(settings, "MONAI_LABEL_APP_CONF", conf)
            apps.clear_cache()
            server.user_middleware, server.router.routes[:] = list(middleware), list(routes)
            server.middleware_stack = None
            return server

        yield app
        app()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
