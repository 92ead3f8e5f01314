import inspect
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from monailabel.endpoints import login, proxy
from monailabel.endpoints.user.auth import Token

from lib.errors import BadRequestError
from lib.routes import monailabel
from lib.routes.monailabel import in_thread
from lib.routes.serving import put_first


class RecordingApp:
    """Stands for the app: remembers what it was asked."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.requests: list[dict[str, Any]] = []
        self.saved: list[tuple[Any, ...]] = []
        self.mask: Path | None = None
        self.error: Exception | None = None
        self.uploaded: bytes | None = None

    def infer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.requests.append(dict(request))
        if "label" in request:
            self.uploaded = Path(request["label"]).read_bytes()
        if self.error is not None:
            raise self.error
        return {"file": None if self.mask is None else str(self.mask), "params": {"class": "hcc"}}

    def datastore(self) -> "RecordingApp":
        return self

    def save_label(self, image: str, file: str, tag: str, info: Mapping[str, Any]) -> str:
        self.saved.append((image, Path(file).read_bytes(), Path(file).name, tag, dict(info)))
        return image

    def on_save_label(self, image: str, label: str) -> None:
        """As upstream."""


@pytest.fixture
def recorder(tmp_path: Path) -> RecordingApp:
    return RecordingApp(tmp_path)


@pytest.fixture
def client(recorder: RecordingApp) -> TestClient:
    server = FastAPI()
    server.include_router(monailabel.router(recorder))
    return TestClient(server)


@pytest.mark.parametrize(
    ("query", "form", "files"),
    [
        ("", {}, {}),
        ("?session_id=1", {}, {}),
        ("?image=a", {}, {"file": ("a.nii.gz", b"volume")}),
        ("?image=a&output=dicom_seg", {}, {}),
        ("?image=a", {"params": '{"image": "/etc/passwd"}'}, {}),
        ("?image=a", {"params": '{"model": "b"}'}, {}),
        ("?image=a", {"params": "[1]"}, {}),
        ("?image=a", {"params": "{"}, {}),
    ],
)
def test_what_is_no_request_is_refused_before_the_model_sees_it(
    client: TestClient, recorder: RecordingApp, query: str, form: dict[str, str], files: dict[str, tuple]
) -> None:
    answer = client.post(f"/infer/mtinet{query}", data=form, files=files)
    assert answer.status_code == 400
    assert not recorder.requests


def test_a_mask_s_file_comes_from_the_upload_only(client: TestClient, recorder: RecordingApp) -> None:
    client.post("/infer/mtinet?image=a", data={"params": '{"label": "/etc/passwd", "result_extension": ".nrrd"}'})
    assert recorder.requests == [{"result_extension": ".nrrd", "model": "mtinet", "image": "a"}]
    client.post("/infer/mtinet?image=a", files={"label": ("../../x.sh", b"voxels")})
    file = Path(recorder.requests[1]["label"])
    assert recorder.uploaded == b"voxels"
    assert file.suffix == ".bin"
    assert not file.exists()


def test_the_upload_is_removed_after_a_failure_too(client: TestClient, recorder: RecordingApp) -> None:
    recorder.error = BadRequestError("no")
    answer = client.post("/infer/mtinet?image=a", files={"label": ("x.nii.gz", b"voxels")})
    assert answer.status_code == 400
    assert not Path(recorder.requests[0]["label"]).exists()


@pytest.mark.parametrize("output", [None, "all", "image", "json"])
def test_answers_as_clients_expect_them(
    client: TestClient, recorder: RecordingApp, tmp_path: Path, output: str | None
) -> None:
    recorder.mask = tmp_path / "mask.nrrd"
    recorder.mask.write_bytes(b"NRRD0005 voxels")
    answer = client.post("/infer/mtinet", params={"image": "a"} | ({"output": output} if output else {}))
    assert answer.status_code == 200
    if output == "json":
        assert answer.json() == {"class": "hcc"}
    elif output == "image":
        assert answer.content == b"NRRD0005 voxels"
    else:
        assert answer.headers["content-type"].startswith("multipart/form-data")
        assert b"NRRD0005 voxels" in answer.content
        assert json.dumps({"class": "hcc"}).encode() in answer.content
    # A client on this machine keeps it under the name that it came with, and the server then removes its own.
    assert recorder.mask.name.encode() not in answer.content
    assert recorder.mask.name not in answer.headers.get("content-disposition", "")
    assert not recorder.mask.exists()


def test_facts_without_a_mask(client: TestClient) -> None:
    assert client.post("/infer/region_curve?image=a&output=image").json() == {"class": "hcc"}


def test_the_reader_is_whom_the_client_names_without_logins(client: TestClient, recorder: RecordingApp) -> None:
    params = json.dumps({"reader": "anna", "diagnosis": "hcc"})
    answer = client.put("/datastore/label?image=a", data={"params": params}, files={"label": ("m.nii.gz", b"v")})
    assert answer.json() == {"image": "a", "label": "a"}
    ((image, content, name, tag, info),) = recorder.saved
    assert (image, content, tag, info) == ("a", b"v", "final", {"reader": "anna", "diagnosis": "hcc"})
    assert name.endswith(".nii.gz")


def test_the_reader_is_who_logged_in(
    client: TestClient, recorder: RecordingApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monailabel.settings, "MONAI_LABEL_AUTH_ENABLE", True)
    user = monailabel.User(username="dr.b", roles=[monailabel.settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR])
    client.app.dependency_overrides[monailabel._ANNOTATOR.dependency] = lambda: user
    client.put("/datastore/label?image=a", data={"params": '{"reader": "anna"}'}, files={"label": ("m", b"v")})
    assert recorder.saved[0][-1] == {"reader": "dr.b"}


@pytest.mark.parametrize(("logins", "who"), [(False, ""), (True, "dr.b")])
def test_nobody_is_called_admin_without_logins(logins: bool, who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def upstream(user: monailabel.User) -> str:
        return user.username

    monkeypatch.setattr(monailabel.settings, "MONAI_LABEL_AUTH_ENABLE", logins)
    assert anyio.run(lambda: in_thread(upstream)(user=monailabel.User(username="dr.b"))) == who


def test_upstream_routes_keep_their_signatures(recorder: RecordingApp) -> None:
    from monailabel.endpoints import activelearning, datastore, info, train

    own = {(route.path, method) for route in monailabel.router(recorder).routes for method in route.methods}
    for module in (activelearning, datastore, info, train):
        assert {(route.path, method) for route in module.router.routes for method in route.methods} <= own


def test_blocking_work_leaves_the_event_loop() -> None:
    async def upstream(number: int = 3) -> tuple[int, int]:
        return number, threading.get_ident()

    server = FastAPI()
    loop_threads: list[int] = []

    @server.get("/loop")
    async def loop() -> None:
        loop_threads.append(threading.get_ident())

    server.get("/threaded")(in_thread(upstream))
    with TestClient(server) as client:
        client.get("/loop")
        number, thread = client.get("/threaded?number=5").json()
    assert number == 5
    assert thread not in loop_threads
    assert inspect.signature(in_thread(upstream)).parameters.keys() == {"number"}


def test_a_slow_pacs_keeps_nobody_else_waiting(recorder: RecordingApp, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answers = threading.Event(), threading.Event()

    class Pacs(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            answers.wait(10)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    pacs = ThreadingHTTPServer(("127.0.0.1", 0), Pacs)
    threading.Thread(target=pacs.serve_forever, daemon=True).start()
    monkeypatch.setattr(monailabel.settings, "MONAI_LABEL_STUDIES", f"http://127.0.0.1:{pacs.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = FastAPI()
    # As on the real server: ours first, then upstream's.
    server.include_router(monailabel.router(recorder))
    server.include_router(proxy.router)
    server.get("/quick")(_says("here"))
    with TestClient(server) as client, ThreadPoolExecutor() as callers:
        slow = callers.submit(client.get, "/proxy/dicom/wado/studies/1.2.3/metadata")
        assert asked.wait(10)
        quick = client.get("/quick").json()
        waited = not slow.done()
        answers.set()
        assert slow.result().json() == []
    pacs.shutdown()
    pacs.server_close()
    assert (quick, waited) == ("here", True)


def test_logins_are_asked_for_in_threads_where_they_are_on(
    recorder: RecordingApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def routes() -> dict[str, APIRoute]:
        return {route.path: route for route in monailabel.router(recorder).routes if isinstance(route, APIRoute)}

    assert "/auth/token" not in routes()
    monkeypatch.setattr(monailabel.settings, "MONAI_LABEL_AUTH_ENABLE", True)
    route = routes()["/auth/token"]
    # The realm answers more than a client is to see.
    assert route.response_model is Token
    assert route.endpoint is not login.access_token


def test_an_endpoint_that_awaits_cannot_be_threaded() -> None:
    import asyncio

    async def upstream() -> None:
        await asyncio.sleep(0)

    server = FastAPI()
    server.get("/")(in_thread(upstream))
    with pytest.raises(RuntimeError, match="awaits"):
        TestClient(server).get("/")


def test_routes_come_first_and_replace_earlier_ones() -> None:
    from fastapi import APIRouter

    server = FastAPI()
    server.get("/a")(_says("upstream a"))
    server.get("/b")(_says("upstream b"))
    for generation in ("first", "second"):
        routes = APIRouter()
        routes.get("/a")(_says(generation))
        put_first(server, [routes])
    client = TestClient(server)
    assert [client.get(path).json() for path in ("/a", "/b")] == ["second", "upstream b"]
    assert len([route for route in server.router.routes if route in server.state.mtinet_routes]) == 1


def _says(text: str) -> Callable[[], str]:
    def endpoint() -> str:
        return text

    return endpoint
