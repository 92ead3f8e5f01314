from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from lib.routes import dicom_web

STUDY = "studies/1.2.3"
INSTANCE = f"{STUDY}/series/1.2.4/instances/1.2.5"
Get = Callable[..., requests.Response]


@pytest.fixture
def proxy(serve: Callable[..., str], fake_pacs: Any) -> str:
    """Address of the reads."""
    return serve(dicom_web.router(fake_pacs.address, auth=("reader", "word"))) + dicom_web.BASE


@pytest.mark.parametrize(
    "what",
    [
        "",
        "instances",
        "../instances",
        "..%2finstances",
        "studies/..%2f..%2fsystem",
        "studies/%2e%2e/%2e%2e/system",
        "studies/1.2.3/../../../system",
        "studies/1.2.3%00",
        "studies/1.2.3%0d%0aX: y",
        "studies/1.2.3%3fx=1",
        "studies/a.b",
        "studies/\uff11.2.3",
        "studies//etc/hostname",
        "studies/http:%2f%2fother.example",
        "@other.example/studies",
        f"{INSTANCE}/frames/1/../..",
        f"{INSTANCE}/frames/-1",
        f"{INSTANCE}/bulk/../../..",
        "tools/execute-script",
        "studies/" + "1." * 600 + "1",
    ],
)
def test_nothing_but_reads_of_studies_reaches_the_pacs(proxy: str, fake_pacs: Any, get: Get, what: str) -> None:
    answer = get(f"{proxy}/{what}")

    assert answer.status_code == 404
    assert fake_pacs.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_is_written(proxy: str, fake_pacs: Any, method: str) -> None:
    session = requests.Session()
    session.trust_env = False

    answer = session.request(method, f"{proxy}/studies", data=b"x", timeout=30)

    assert answer.status_code == 405
    assert fake_pacs.asked == []


@pytest.mark.parametrize("query", ["a/b=1", "a%00=1", "%3Cx%3E=1", "PatientName=" + "x" * 5000])
def test_a_search_key_is_a_keyword_or_a_tag(proxy: str, fake_pacs: Any, get: Get, query: str) -> None:
    assert get(f"{proxy}/studies?{query}").status_code == 400
    assert fake_pacs.asked == []


def test_a_server_of_a_folder_has_no_pacs(serve: Callable[..., str], get: Get) -> None:
    answer = get(serve(dicom_web.router(None)) + f"{dicom_web.BASE}/studies")

    assert answer.status_code == 404
    assert "folder" in answer.json()["detail"]


def test_a_pacs_that_does_not_answer(serve: Callable[..., str], get: Get) -> None:
    answer = get(serve(dicom_web.router("http://127.0.0.1:9/dicom-web")) + f"{dicom_web.BASE}/studies")

    assert answer.status_code == 502
    assert answer.json() == {"detail": "the PACS does not answer"}


@pytest.mark.parametrize(("status", "headers"), [(500, {}), (302, {"Location": "http://other.example/"})])
def test_what_the_pacs_should_not_say_is_not_passed_on(
    proxy: str, fake_pacs: Any, get: Get, status: int, headers: dict[str, str]
) -> None:
    fake_pacs.status, fake_pacs.answer_headers, fake_pacs.body = status, headers, b"Traceback /var/lib"

    answer = get(f"{proxy}/{STUDY}")

    assert answer.status_code == 502
    assert "location" not in answer.headers
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "what",
    [
        "studies",
        STUDY,
        f"{STUDY}/series",
        f"{STUDY}/metadata",
        f"{STUDY}/series/1.2.4/metadata",
        f"{STUDY}/series/1.2.4/instances",
        f"{STUDY}/series/1.2.4/rendered",
        f"{INSTANCE}/frames/1",
        f"{INSTANCE}/frames/1,2,3",
        f"{INSTANCE}/frames/1/rendered",
        f"{INSTANCE}/bulk/7fe00010",
    ],
)
def test_reads_are_passed_on(proxy: str, fake_pacs: Any, get: Get, what: str) -> None:
    answer = get(f"{proxy}/{what}")

    assert answer.status_code == 200
    assert answer.content == fake_pacs.body
    assert fake_pacs.asked == [f"/dicom-web/{what}"]


def test_the_search_is_passed_on_and_the_content_type_comes_back(proxy: str, fake_pacs: Any, get: Get) -> None:
    answer = get(f"{proxy}/studies", params={"00100020": "A B&c", "limit": "5", "includefield": "00081030"})

    assert fake_pacs.asked == ["/dicom-web/studies?00100020=A+B%26c&limit=5&includefield=00081030"]
    assert answer.headers["content-type"] == "application/dicom+json"


def test_the_pacs_gets_its_own_password_and_none_of_the_readers(proxy: str, fake_pacs: Any, get: Get) -> None:
    get(f"{proxy}/studies", headers={"Authorization": "Bearer theirs", "Cookie": "a=b", "Accept": "multipart/related"})

    sent = fake_pacs.headers[0]
    assert sent["authorization"].startswith("Basic ")
    assert "cookie" not in sent
    assert sent["accept"] == "multipart/related"


def test_nothing_found_is_passed_on(proxy: str, fake_pacs: Any, get: Get) -> None:
    fake_pacs.status = 404

    assert get(f"{proxy}/{STUDY}").status_code == 404


def test_a_connection_that_the_pacs_closed_is_opened_again(proxy: str, fake_pacs: Any, get: Get) -> None:
    fake_pacs.hang_up = 1

    assert get(f"{proxy}/{STUDY}").status_code == 200
    assert len(fake_pacs.asked) == 2
