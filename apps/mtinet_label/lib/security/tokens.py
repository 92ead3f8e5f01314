"""Checks the bearer tokens of MONAI Label's realm (Keycloak): RS256, issuer, audience, life time, and roles."""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from monailabel.config import Settings as LabelSettings
from monailabel.endpoints.user.auth import User

from lib.security.refusals import RefusedError
from scripts.domain.errors import ConfigurationError

logger = logging.getLogger(__name__)

_ALGORITHM = "RS256"
_CLAIMS = ("exp", "iat", "iss", "aud")
_LEEWAY_S = 10
_KEY_LIFE_S = 600
# A realm that changes its key is asked again, but not by every forged token.
_KEY_REST_S = 30
# One that does not answer holds up whoever asks; the others are told so at once.
_FAILED_REST_S = 5
_FEWEST_BITS = 2048
_NO_REALM = "logins cannot be checked now: the realm does not answer"


@dataclass(frozen=True)
class Realm:
    """Who signs the tokens, and where a token says what.

    Args:
        uri: of the realm; also the tokens' issuer.
        audience: the tokens' ``aud`` must hold it.
        timeout_s: of asking the realm.
        username: claim.
        email: claim.
        name: claim.
        roles: claims from the outside in.
    """

    uri: str
    audience: str
    timeout_s: float
    username: str
    email: str
    name: str
    roles: tuple[str, ...]

    @classmethod
    def of(cls, settings: LabelSettings) -> Realm:
        """The realm of MONAI Label's own settings (``MONAI_LABEL_AUTH_…``).

        Raises:
            ConfigurationError: its address is neither https nor on this machine: its key could be exchanged on the way.
        """
        uri = settings.MONAI_LABEL_AUTH_REALM_URI.rstrip("/")
        parts = urlsplit(uri)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname or "")):
            msg = "MONAI_LABEL_AUTH_REALM_URI must be an https address, or http on this machine"
            raise ConfigurationError(msg)
        return cls(
            uri=uri,
            audience=settings.MONAI_LABEL_AUTH_CLIENT_ID,
            timeout_s=settings.MONAI_LABEL_AUTH_TIMEOUT,
            username=settings.MONAI_LABEL_AUTH_TOKEN_USERNAME,
            email=settings.MONAI_LABEL_AUTH_TOKEN_EMAIL,
            name=settings.MONAI_LABEL_AUTH_TOKEN_NAME,
            roles=tuple(settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#")),
        )


class Tokens:
    """The users of tokens; the realm's key is fetched once, kept for ten minutes, and fetched anew when it changes.

    Args:
        realm: whose tokens.
        fetch: gives the realm's JSON, with ``public_key``; for tests.
        clock: seconds; for tests.
    """

    def __init__(
        self,
        realm: Realm,
        *,
        fetch: Callable[[Realm], Mapping[str, object]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._realm = realm
        self._fetch = fetch or _fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._key: RSAPublicKey | None = None
        self._fetched_s = 0.0
        self._failed_s: float | None = None

    def user(self, token: str) -> User:
        """Whose token it is.

        Args:
            token: without ``Bearer``.

        Raises:
            jwt.InvalidTokenError: it is forged, of another algorithm, realm or audience, expired, or no access token.
            RefusedError: 503, the realm does not tell its key.
        """
        key = self._current_key(older_than_s=_KEY_LIFE_S)
        try:
            claims = self._claims(token, key)
        except jwt.InvalidSignatureError:
            changed = self._current_key(older_than_s=_KEY_REST_S)
            if changed is key:
                raise
            claims = self._claims(token, changed)
        username = claims.get(self._realm.username)
        if not isinstance(username, str) or not username:
            msg = "the token names no user"
            raise jwt.InvalidTokenError(msg)
        return User(
            username=username,
            email=_text(claims.get(self._realm.email)),
            name=_text(claims.get(self._realm.name)),
            roles=self._roles(claims),
        )

    def _claims(self, token: str, key: RSAPublicKey) -> Mapping[str, object]:
        claims = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=self._realm.audience,
            issuer=self._realm.uri,
            leeway=_LEEWAY_S,
            options={"require": list(_CLAIMS)},
        )
        # Keycloak signs identity tokens with the same key and for the same audience; they are no permission.
        if claims.get("typ", "Bearer") != "Bearer":
            msg = "the token is no access token"
            raise jwt.InvalidTokenError(msg)
        return claims

    def _roles(self, claims: Mapping[str, object]) -> list[str]:
        found: object = claims
        for name in self._realm.roles:
            found = found.get(name) if isinstance(found, Mapping) else None
        return [role for role in found if isinstance(role, str)] if isinstance(found, list) else []

    def _current_key(self, *, older_than_s: float) -> RSAPublicKey:
        with self._lock:
            now_s = self._clock()
            if self._key is not None and now_s - self._fetched_s <= older_than_s:
                return self._key
            if self._key is None and self._failed_s is not None and now_s - self._failed_s <= _FAILED_REST_S:
                raise RefusedError(503, _NO_REALM)
            try:
                self._key = _key_of(self._fetch(self._realm))
            except (requests.RequestException, ValueError, TypeError, KeyError) as error:
                logger.warning("The realm does not tell its key: %s", type(error).__name__)
                if self._key is None:
                    self._failed_s = self._clock()
                    raise RefusedError(503, _NO_REALM) from error
            self._fetched_s = now_s
            return self._key


def _key_of(told: Mapping[str, object]) -> RSAPublicKey:
    pem = f"-----BEGIN PUBLIC KEY-----\n{told['public_key']}\n-----END PUBLIC KEY-----"
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPublicKey) or key.key_size < _FEWEST_BITS:
        msg = "no RSA key of 2048 bits"
        raise ValueError(msg)
    return key


def _fetch(realm: Realm) -> Mapping[str, object]:
    answer = requests.get(realm.uri, timeout=realm.timeout_s, allow_redirects=False)
    answer.raise_for_status()
    return answer.json()


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
