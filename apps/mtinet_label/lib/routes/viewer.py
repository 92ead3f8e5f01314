"""``/viewer/``: OHIF with the MTI-Net mode, from the server's own address."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from lib.ohif import BASE, OhifPackage
from lib.security.tokens import Realm
from lib.settings import Settings

OWN_FILES = Path(__file__).resolve().parents[2] / "viewer"

_CONFIG = "app-config.js"
# Everything comes from this server; OHIF compiles WebAssembly decoders and starts workers from blobs.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:{}; frame-ancestors 'self'; object-src 'none'; base-uri 'self'"
)
_NO_STUDIES = "The viewer shows studies of a DICOMweb server, and this server's studies are a folder."
_NO_STUDIES_HINT = "Start it with <code>--studies http://…/dicom-web</code>, or try <code>make serve-dicom</code>."
_NO_OHIF = "The OHIF viewer is not unpacked on this server."
_NO_OHIF_HINT = "Run <code>make ohif</code> there; it takes a minute, and the server need not be started again."


def router(settings: Settings, *, has_dicomweb: bool, realm: Realm | None = None) -> APIRouter:
    """The viewer's routes.

    Args:
        settings: ``ohif`` is used.
        has_dicomweb: whether the studies come from a DICOMweb server: OHIF cannot show others.
        realm: where readers log in; None where logins are off.
    """
    page_headers = _page_headers(realm)
    config = (OWN_FILES / _CONFIG).read_text(encoding="utf-8") + _login(realm)
    package = OhifPackage(Path(settings.ohif))
    own = {file.name: file for file in OWN_FILES.iterdir() if file.suffix in (".js", ".css")}
    moved = lru_cache(maxsize=16)(package.moved)
    routes = APIRouter(include_in_schema=False)

    @routes.get("/viewer")
    def without_slash() -> Response:
        return RedirectResponse(BASE)

    @routes.get(BASE + "mtinet/{name}")
    def own_file(name: str) -> Response:
        if name not in own:
            return _plain(404, "the viewer has no such file")
        if name == _CONFIG:
            return Response(config, media_type=package.media_type(name), headers={"Cache-Control": "no-cache"})
        return FileResponse(own[name], media_type=package.media_type(name), headers={"Cache-Control": "no-cache"})

    @routes.get(BASE + "{name:path}")
    def file(name: str) -> Response:
        if not has_dicomweb:
            return _sorry(404, _NO_STUDIES, _NO_STUDIES_HINT)
        if not package.installed:
            return _sorry(503, _NO_OHIF, _NO_OHIF_HINT)
        if name == _CONFIG:
            return own_file(name)
        if name not in package:
            # OHIF's own addresses are pages of the one page; a missing file is missing.
            if "." in name.rpartition("/")[2]:
                return _plain(404, "the viewer has no such file")
            name = "index.html"
        if package.is_moved(name):
            headers = page_headers if name == "index.html" else _kept(name)
            return Response(moved(name), media_type=package.media_type(name), headers=headers)
        return FileResponse(package.file(name), media_type=package.media_type(name), headers=_kept(name))

    return routes


def _page_headers(realm: Realm | None) -> dict[str, str]:
    parts = urlsplit(realm.uri) if realm is not None else None
    # OHIF asks the realm for its addresses and exchanges the login's code for a token there.
    also = f" {parts.scheme}://{parts.netloc}" if parts is not None else ""
    return {
        "Content-Security-Policy": _POLICY.format(also),
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _login(realm: Realm | None) -> str:
    """What OHIF's settings need besides, so that a reader is sent to the realm and comes back with a token."""
    if realm is None:
        return ""
    client = {
        "authority": realm.uri,
        "client_id": realm.audience,
        "redirect_uri": "/callback",
        "post_logout_redirect_uri": "/",
        "response_type": "code",
        "scope": "openid",
    }
    # OHIF takes the base's length off the address that it comes back to, which must then begin with a slash.
    base = BASE.rstrip("/")
    return f"window.config.routerBasename = {json.dumps(base)};\nwindow.config.oidc = [{json.dumps(client)}];\n"


def _kept(name: str) -> dict[str, str]:
    """Files whose names carry a hash of their content never change."""
    hashed = ".bundle." in name or name.endswith((".wasm", ".woff2"))
    return {"Cache-Control": "public, max-age=604800, immutable" if hashed else "no-cache"}


def _plain(status: int, text: str) -> Response:
    return Response(text, status_code=status, media_type="text/plain")


def _sorry(status: int, what: str, hint: str) -> Response:
    page = f'<!doctype html><meta charset="utf-8"><title>MTI-Net</title><p>{what}</p><p>{hint}</p>'
    return HTMLResponse(page, status_code=status)
