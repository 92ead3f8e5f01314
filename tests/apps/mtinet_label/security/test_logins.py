"""Logins on: a valid token opens what its role allows, and its name is the reader's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

JSON = {"Content-Type": "application/json"}


def bearer(token: str) -> dict[str, str]:
    """The header of a token."""
    return {"Authorization": f"Bearer {token}"}


def test_wrong_password_is_told_as_such(login_server: Any) -> None:
    client = MONAILabelClient(f"http://127.0.0.1:{login_server.port}")
    with pytest.raises(MONAILabelClientException) as refused:
        client.auth_token("reader-1", "guessed")
    assert refused.value.status_code == 401


def test_client_logs_in_and_reads(login_server: Any) -> None:
    client = MONAILabelClient(f"http://127.0.0.1:{login_server.port}")
    assert client.auth_enabled()
    client.update_auth(client.auth_token("reader-1", "of-reader-1"))
    assert client.auth_valid_token()
    assert client.info()["name"] == "guarded"


def test_user_reads(login_server: Any, realm: Any) -> None:
    answer = login_server.ask("GET", "/datastore/?output=all", headers=bearer(realm.token("user")))
    assert answer.status == 200


def test_reader_is_who_logged_in(login_server: Any, realm: Any, form: Callable[..., tuple[bytes, str]]) -> None:
    headers = bearer(realm.token("user", "annotator"))
    said = b'{"diagnosis": "hcc", "reader": "somebody else"}'
    diagnosis = login_server.ask("PUT", "/mtinet/studies/liver-01/diagnosis", said, headers | JSON)
    body, content_type = form({"reader": "somebody else"}, {"mask": ("mask.bin", bytes(120))})
    label = login_server.ask("PUT", "/mtinet/studies/liver-01/label", body, headers | {"Content-Type": content_type})

    assert diagnosis.json == {"said": {"diagnosis": "hcc", "reader": "reader-1"}, "user": "reader-1"}
    assert label.json["reader"] == "reader-1"


def test_saved_label_names_who_logged_in(
    login_server: Any, realm: Any, form: Callable[..., tuple[bytes, str]], nifti_bytes: bytes
) -> None:
    headers = bearer(realm.token("user", "annotator"))
    body, content_type = form({"params": '{"reader": "somebody else"}'}, {"label": ("x.nii.gz", nifti_bytes)})
    saved = login_server.ask(
        "PUT", "/datastore/label?image=liver-01&tag=final", body, headers | {"Content-Type": content_type}
    )
    info = login_server.ask("GET", "/datastore/label/info?label=liver-01&tag=final", headers=headers)

    assert saved.status == 200
    assert info.json["reader"] == "reader-1"


def test_administrator_sees_the_log(login_server: Any, realm: Any) -> None:
    answer = login_server.ask("GET", "/logs/?lines=5&html=false", headers=bearer(realm.token("user", "admin")))
    assert answer.status == 200


def test_pages_are_for_everybody(login_server: Any) -> None:
    assert login_server.ask("GET", "/").status == 200
    assert login_server.ask("GET", "/auth/").json["enabled"] is True
