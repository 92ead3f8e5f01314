"""The guard in MONAI Label's own server, in this process: what gets through, and what failures tell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from monailabel.interfaces.utils import app as apps
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

SECRET = "Doe^Jane-19570302"
FOREIGN = "https://viewer.example:8443"


def called_from(server: Any, address: str, host: str = "127.0.0.1:8000") -> TestClient:
    """A caller at such an address."""
    return TestClient(server, base_url=f"http://{host}", client=(address, 50_000), raise_server_exceptions=True)


@pytest.fixture(scope="module")
def client(guarded_app: Callable[..., Any]) -> Iterator[TestClient]:
    with called_from(guarded_app(origins=FOREIGN, max_upload_mb="1"), "127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.1", "::ffff:192.0.2.7", "fe80::1", "testclient"])
def test_other_machine_is_refused(client: TestClient, address: str) -> None:
    answer = called_from(client.app, address).get("/info/")
    assert answer.status_code == 403
    assert "its own machine" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1", "localhost:8000"), ("::1", "[::1]:8000"), ("::ffff:127.0.0.1", "127.0.0.1")]
)
def test_own_machine_is_answered(client: TestClient, address: str, host: str) -> None:
    assert called_from(client.app, address, host).get("/info/").status_code == 200


def test_configured_origin_may_read_and_write(client: TestClient) -> None:
    asked = client.options("/infer/mtinet", headers={"Origin": FOREIGN, "Access-Control-Request-Method": "POST"})
    answer = client.get("/info/", headers={"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site"})

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == FOREIGN
    assert answer.headers["access-control-allow-origin"] == FOREIGN
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "http://localhost:8000"])
def test_own_origin_may_read_without_being_configured(client: TestClient, origin: str) -> None:
    answer = client.get("/info/", headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, origin)


def test_page_of_another_program_on_this_machine_may_not(client: TestClient) -> None:
    answer = client.get("/info/", headers={"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"})
    assert answer.status_code == 403


def test_link_from_another_page_opens(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.post("/activelearning/first", headers=headers).status_code == 403


def test_route_cannot_open_itself_to_every_origin(client: TestClient) -> None:
    answer = client.get("/mtinet/open")
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_answers_are_not_kept_nor_guessed_at(client: TestClient) -> None:
    headers = client.get("/info/").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("image", "status", "told"),
    [
        ("trouble-bug", 500, "its log says where"),
        ("trouble-study", 422, "… has three phases; add the fourth"),
        ("trouble-busy", 503, "try again in a moment"),
        ("trouble-label", 500, "failed in …"),
    ],
)
def test_failure_tells_no_path_and_no_patient(
    client: TestClient, caplog: pytest.LogCaptureFixture, image: str, status: int, told: str
) -> None:
    with caplog.at_level(logging.INFO):
        answer = client.post(f"/infer/mtinet?image={image}", data={"params": "{}"})

    assert answer.status_code == status
    assert told in answer.json()["detail"]
    assert set(answer.json()) == {"detail"}
    for text in (answer.text, caplog.text):
        assert SECRET not in text
        assert "/srv/" not in text
    assert "main.py" not in answer.text


def test_log_names_the_address_and_not_the_study(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lib"):
        client.post("/infer/mtinet?image=liver-01", data={"params": '{"client_id": "reader-of-livers"}'})
        client.put("/datastore/label?image=liver-01", files={"label": ("liver-01.nii.gz", b"no mask")})

    assert "POST /infer/{task} 200" in caplog.text
    assert "PUT /datastore/label 415" in caplog.text
    assert "liver-01" not in caplog.text
    assert "reader-of-livers" not in caplog.text


def test_fault_in_a_request_is_told_without_its_values(client: TestClient) -> None:
    answer = client.put("/mtinet/studies/liver-01/label", data={"note": SECRET.replace("^", "-")})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "body.mask: Field required"


def test_label_of_an_inference_arrives_under_a_name_of_ours(client: TestClient, nifti_bytes: bytes) -> None:
    files = {"label": ("/home/jane/doe jane.nii.gz", nifti_bytes)}
    answer = client.post("/infer/mtinet?image=liver-01", data={"params": '{"label": "hcc"}'}, files=files)

    assert answer.json()["endings"] == [".nii", ".gz"]
    assert answer.json()["bytes"] == len(nifti_bytes)


def test_options_that_a_task_offers_are_taken(client: TestClient) -> None:
    asked = client.post("/infer/mtinet?image=liver-01", data={"params": '{"threshold": 0.4}'}).json()["asked"]
    assert "threshold" in asked


def test_own_routes_get_what_was_sent(client: TestClient) -> None:
    said = {"diagnosis": "hcc", "reader": "Dr. Müller", "note": "arterial rim (?)"}
    answer = client.put("/mtinet/studies/liver-01/diagnosis", json=said)
    assert answer.json() == {"said": said, "user": None}


def test_request_without_a_body_is_taken(client: TestClient) -> None:
    assert client.post("/mtinet/training").json() == {"started": True}
    assert client.post("/mtinet/training", headers={"Content-Type": "application/json"}).json() == {"started": True}


def test_raw_voxels_of_a_browser_are_taken(client: TestClient) -> None:
    form = {"reader": "Dr. Müller", "classes": '{"1": "hcc"}'}
    answer = client.put("/mtinet/studies/liver-01/label", data=form, files={"mask": ("blob", bytes(120))})
    assert answer.json() == {"name": "mask.bin", "bytes": 120, "reader": "Dr. Müller", "classes": '{"1": "hcc"}'}


def test_large_upload_goes_through_whole(client: TestClient) -> None:
    content = bytes(range(256)) * 3800
    answer = client.put("/mtinet/studies/liver-01/label", files={"mask": ("mask.bin", content)})
    assert answer.json()["bytes"] == len(content)


def test_upload_that_hides_its_length_is_stopped_at_the_limit(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        start = '--b\r\nContent-Disposition: form-data; name="mask"; filename="mask.bin"\r\n\r\n'
        yield start.encode()
        while sent < 64 << 20:
            sent += 1 << 16
            yield bytes(1 << 16)

    answer = client.put(
        "/mtinet/studies/liver-01/label",
        content=endless(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code == 413


def test_websocket_is_refused(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("ws://127.0.0.1:8000/info/"):
        pass
    assert refused.value.code == 1008


# These start a server of other settings: the last ones of the module.


def test_other_machine_is_answered_where_it_was_allowed(guarded_app: Callable[..., Any]) -> None:
    with called_from(guarded_app(allow_remote="true"), "192.0.2.7", "192.0.2.1:8000") as remote:
        assert remote.get("/info/").status_code == 200
        assert called_from(remote.app, "192.0.2.7", "rebound.example").get("/info/").status_code == 421


def test_second_protection_replaces_the_first(guarded_app: Callable[..., Any]) -> None:
    server = guarded_app()
    for _ in range(2):
        apps.clear_cache()
        with called_from(server, "127.0.0.1"):
            names = [one.cls.__name__ for one in server.user_middleware]
    assert names == ["Door", "CORSMiddleware", "Guard"]
