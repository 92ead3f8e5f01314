"""Tokens of a realm: its key's life, and what is no token is tried against a server in ``test_attacks``."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from monailabel.config import Settings

from lib.errors import AppError
from lib.security.tokens import Realm as RealmSettings
from lib.security.tokens import Tokens
from scripts.domain.errors import ConfigurationError


def settings_of(uri: str) -> RealmSettings:
    return RealmSettings.of(Settings(MONAI_LABEL_AUTH_REALM_URI=uri))


class Clock:
    """A clock that a test sets."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Told:
    """A realm's answers, counted; an error is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, _: object) -> Any:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def public(key: Any) -> dict[str, str]:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return {"public_key": "".join(pem.splitlines()[1:-1])}


@pytest.mark.parametrize("uri", ["http://realm.example/realms/x", "ftp://127.0.0.1/x", "", "realm"])
def test_realm_whose_key_could_be_exchanged(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="MONAI_LABEL_AUTH_REALM_URI"):
        settings_of(uri)


@pytest.mark.parametrize("uri", ["https://realm.example/realms/x", "http://localhost:8080/realms/x", "http://[::1]/x"])
def test_realm(uri: str) -> None:
    assert settings_of(f"{uri}/").uri == uri


@pytest.mark.parametrize(
    "answer",
    [
        requests.ConnectionError(),
        ValueError("no JSON"),
        {},
        [],
        {"public_key": "no key"},
        public(ec.generate_private_key(ec.SECP256R1())),
        public(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    ],
)
def test_realm_that_tells_no_key(realm: Any, answer: object) -> None:
    tokens = Tokens(settings_of(realm.uri), fetch=Told(answer))
    with pytest.raises(AppError, match="the realm does not answer") as refused:
        tokens.user(realm.token("user"))
    assert refused.value.status == 503


def test_user_of_a_token(realm: Any) -> None:
    user = Tokens(settings_of(realm.uri)).user(realm.token("user", "admin", name="Jane", email=5))
    assert (user.username, user.name, user.email) == ("reader-1", "Jane", None)
    assert user.roles == ["monailabel-user", "monailabel-admin"]


@pytest.mark.parametrize("held", [None, "monailabel-admin", {"roles": "monailabel-admin"}, {"roles": [{}, 5]}, [1]])
def test_roles_that_are_none(realm: Any, held: object) -> None:
    assert Tokens(settings_of(realm.uri)).user(realm.token(realm_access=held)).roles == []


def test_key_is_asked_for_once_and_again_after_ten_minutes(realm: Any) -> None:
    told, clock = Told(public(realm.key)), Clock()
    tokens = Tokens(settings_of(realm.uri), fetch=told, clock=clock)
    for _ in range(3):
        tokens.user(realm.token("user"))
    assert told.asked == 1
    clock.now_s += 601
    tokens.user(realm.token("user"))
    assert told.asked == 2


def test_changed_key_is_noticed_by_a_token_of_the_new_one(realm: Any) -> None:
    before = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    told, clock = Told(public(before), public(realm.key)), Clock()
    tokens = Tokens(settings_of(realm.uri), fetch=told, clock=clock)
    tokens.user(jwt.encode(realm.claims("user"), before, algorithm="RS256"))
    clock.now_s += 31

    assert tokens.user(realm.token("user")).username == "reader-1"
    with pytest.raises(jwt.InvalidSignatureError):
        tokens.user(jwt.encode(realm.claims("user"), before, algorithm="RS256"))


def test_forged_tokens_do_not_make_the_realm_be_asked_each_time(realm: Any) -> None:
    told, clock = Told(public(realm.key)), Clock()
    tokens = Tokens(settings_of(realm.uri), fetch=told, clock=clock)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for _ in range(5):
        with pytest.raises(jwt.InvalidSignatureError):
            tokens.user(jwt.encode(realm.claims("user"), other, algorithm="RS256"))
    assert told.asked == 1


def test_realm_that_stops_answering_keeps_its_key(realm: Any) -> None:
    told, clock = Told(public(realm.key), requests.ConnectionError()), Clock()
    tokens = Tokens(settings_of(realm.uri), fetch=told, clock=clock)
    tokens.user(realm.token("user"))
    clock.now_s += 601
    assert tokens.user(realm.token("user")).username == "reader-1"


def test_realm_that_does_not_answer_holds_up_few(realm: Any) -> None:
    told, clock = Told(requests.ConnectionError(), requests.ConnectionError(), public(realm.key)), Clock()
    tokens = Tokens(settings_of(realm.uri), fetch=told, clock=clock)
    for _ in range(20):
        with pytest.raises(AppError, match="the realm does not answer"):
            tokens.user(realm.token("user"))
    assert told.asked == 1
    clock.now_s += 6
    with pytest.raises(AppError):
        tokens.user(realm.token("user"))
    clock.now_s += 6
    assert tokens.user(realm.token("user")).username == "reader-1"
