"""The prebuilt OHIF viewer (npm's ``@ohif/app``), moved from the server's root to ``/viewer/``."""

from __future__ import annotations

import mimetypes
import re
from functools import cached_property
from pathlib import Path

from lib.errors import UnknownError

BASE = "/viewer/"

# The package addresses its own files from the server's root, in these places.
_BUNDLE_BASE = '__webpack_require__.p = "/"'
_PAGE_BASE = 'window.PUBLIC_URL="/"'
_PAGE_LINK = re.compile(r'((?:href|src)=")/(?!/)')
_STYLE_LINK = re.compile(r"(url\()/(?!/)")

_MEDIA_TYPES = {
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
}


class OhifPackage:
    """The files of an unpacked package, each by its name in it.

    Args:
        folder: its ``dist``; may not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _files(self) -> dict[str, Path]:
        if not (self._folder / "index.html").is_file():
            return {}
        return {
            file.relative_to(self._folder).as_posix(): file
            for file in self._folder.rglob("*")
            if file.is_file() and not file.is_symlink() and file.suffix != ".map"
        }

    @property
    def installed(self) -> bool:
        """Whether there is a package; looked up again until there is one."""
        if not self._files:
            del self._files
        return bool(self._files)

    def __contains__(self, name: str) -> bool:
        return self.installed and name in self._files

    def file(self, name: str) -> Path:
        """Where a file lies.

        Raises:
            UnknownError: the package has none of that name.
        """
        if name not in self:
            msg = "the viewer has no such file"
            raise UnknownError(msg)
        return self._files[name]

    @staticmethod
    def media_type(name: str) -> str:
        """By the name's suffix, whatever the machine's own table says."""
        return _MEDIA_TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"

    @cached_property
    def _moved(self) -> frozenset[str]:
        """Names of the files that address others from the root."""
        bundles = {name for name in self._files if ".bundle." in name and name.endswith(".js")}
        return frozenset(
            {"index.html"}
            | {name for name in self._files if name.endswith(".css")}
            | {name for name in bundles if _BUNDLE_BASE.encode() in self._files[name].read_bytes()}
        )

    def is_moved(self, name: str) -> bool:
        """Whether a file addresses others from the root, so that ``moved`` must be served in its place."""
        return name in self and name in self._moved

    def moved(self, name: str) -> bytes:
        """A file with its addresses below ``BASE``.

        Raises:
            UnknownError: the package has none of that name.
        """
        text = self.file(name).read_text(encoding="utf-8")
        for old in (_BUNDLE_BASE, _PAGE_BASE):
            text = text.replace(old, old.replace('"/"', f'"{BASE}"'))
        if name == "index.html":
            text = _PAGE_LINK.sub(rf"\g<1>{BASE}", text)
        if name.endswith(".css"):
            text = _STYLE_LINK.sub(rf"\g<1>{BASE}", text)
        return text.encode()
