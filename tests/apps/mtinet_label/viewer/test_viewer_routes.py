from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from lib.routes import viewer
from lib.security.tokens import Realm
from lib.settings import Settings

Get = Callable[..., requests.Response]


@pytest.fixture
def site(serve: Callable[..., str], ohif_dist: Path) -> str:
    """The viewer's routes over the small package."""
    return serve(viewer.router(Settings(ohif=str(ohif_dist)), has_dicomweb=True))


@pytest.mark.parametrize(
    "path",
    [
        "/viewer/../secret.txt",
        "/viewer/%2e%2e/secret.txt",
        "/viewer/..%2fsecret.txt",
        "/viewer/assets/..%2f..%2fsecret.txt",
        "/viewer/%252e%252e%252fsecret.txt",
        "/viewer/..%5csecret.txt",
        "/viewer//etc/hostname.txt",
        "/viewer/secret.txt%00.js",
        "/viewer/mtinet/../../lib/settings.py",
        "/viewer/mtinet/..%2f..%2flib%2fsettings.py",
        "/viewer/mtinet/settings.py",
    ],
)
def test_nothing_else_can_be_read(site: str, ohif_dist: Path, get: Get, path: str) -> None:
    (ohif_dist.parent / "secret.txt").write_text("secret")

    answer = get(site + path)

    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert "class Settings" not in answer.text


def test_a_folder_of_studies_has_no_viewer_but_says_why(serve: Callable[..., str], ohif_dist: Path, get: Get) -> None:
    site = serve(viewer.router(Settings(ohif=str(ohif_dist)), has_dicomweb=False))

    answer = get(f"{site}/viewer/")

    assert answer.status_code == 404
    assert "make serve-dicom" in answer.text


def test_a_server_without_ohif_says_how_to_get_it(serve: Callable[..., str], tmp_path: Path, get: Get) -> None:
    site = serve(viewer.router(Settings(ohif=str(tmp_path / "nothing")), has_dicomweb=True))

    answer = get(f"{site}/viewer/")

    assert answer.status_code == 503
    assert "make ohif" in answer.text
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize("path", ["/viewer/", "/viewer/annotate?StudyInstanceUIDs=1.2.3", "/viewer/index.html"])
def test_every_page_of_ohif_is_its_one_page(site: str, get: Get, path: str) -> None:
    answer = get(site + path)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert 'src="/viewer/app.bundle.0f.js"' in answer.text


def test_the_page_may_load_from_this_server_only(site: str, get: Get) -> None:
    policy = get(f"{site}/viewer/").headers["content-security-policy"]

    assert "default-src 'self'" in policy
    assert "http" not in policy


def test_with_logins_on_readers_are_sent_to_the_realm(serve: Callable[..., str], ohif_dist: Path, get: Get) -> None:
    uri = "https://login.hospital.example:8443/realms/liver"
    realm = Realm(uri, "monailabel-app", 5, "preferred_username", "email", "name", ("realm_access", "roles"))
    site = serve(viewer.router(Settings(ohif=str(ohif_dist)), has_dicomweb=True, realm=realm))

    config = get(f"{site}/viewer/app-config.js").text
    client = json.loads(re.search(r"^window\.config\.oidc = (.*);$", config, re.MULTILINE)[1])[0]
    policy = get(f"{site}/viewer/callback?code=x&state=y").headers["content-security-policy"]

    assert (client["authority"], client["client_id"]) == (uri, "monailabel-app")
    # OHIF 3.13: by a code, with PKCE; it comes back below the address of its pages.
    assert (client["response_type"], client["redirect_uri"]) == ("code", "/callback")
    assert config.rindex('routerBasename = "/viewer";') > config.index("routerBasename: '/viewer/'")
    assert "connect-src 'self' data: blob: https://login.hospital.example:8443;" in policy


def test_without_logins_there_is_no_realm(site: str, get: Get) -> None:
    assert "oidc" not in get(f"{site}/viewer/app-config.js").text


def test_without_its_slash_it_is_found_too(site: str, get: Get) -> None:
    answer = get(f"{site}/viewer")

    assert answer.is_redirect
    assert answer.headers["location"] == "/viewer/"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("app.bundle.0f.js", "text/javascript"),
        ("12.bundle.ab.js", "text/javascript"),
        ("app.bundle.css", "text/css"),
        ("codec.wasm", "application/wasm"),
        ("f.woff2", "font/woff2"),
    ],
)
def test_files_come_with_their_type(site: str, get: Get, name: str, media_type: str) -> None:
    answer = get(f"{site}/viewer/{name}")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(media_type)


def test_files_named_by_their_content_are_kept_and_the_rest_is_asked_again(site: str, get: Get) -> None:
    assert "immutable" in get(f"{site}/viewer/12.bundle.ab.js").headers["cache-control"]
    assert get(f"{site}/viewer/").headers["cache-control"] == "no-cache"
    assert get(f"{site}/viewer/mtinet/extension.js").headers["cache-control"] == "no-cache"


def test_the_settings_are_ours(site: str, get: Get) -> None:
    settings = get(f"{site}/viewer/app-config.js").text

    assert "/viewer/mtinet/extension.js" in settings
    assert "/mtinet/dicom-web" in settings
    # Neither another server's studies nor settings from an address.
    assert not re.findall(r"https?://|dangerouslyUseDynamicConfig|customizationUrlPrefixes", settings)


def test_every_module_that_ours_import_is_served(site: str, get: Get) -> None:
    seen, waiting = set(), ["extension.js", "mode.js"]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        answer = get(f"{site}/viewer/mtinet/{name}")
        assert answer.status_code == 200, name
        waiting += re.findall(r"from '\./([\w.]+)'", answer.text)

    assert {"panel.js", "overlay.js", "server.js", "nrrd.js"} <= seen
    own = {file.name for file in viewer.OWN_FILES.glob("*.js")}
    assert own - seen == {"app-config.js"}
