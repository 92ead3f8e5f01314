from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lib.errors import UnknownError
from lib.ohif import OhifPackage


def test_a_package_that_is_not_there(tmp_path: Path) -> None:
    package = OhifPackage(tmp_path / "nothing")

    assert not package.installed
    assert "index.html" not in package
    with pytest.raises(UnknownError, match="no such file"):
        package.file("index.html")


def test_a_package_that_is_unpacked_later_is_found(ohif_dist: Path, tmp_path: Path) -> None:
    package = OhifPackage(tmp_path / "later")
    assert not package.installed

    shutil.move(ohif_dist, tmp_path / "later")

    assert package.installed
    assert "index.html" in package


@pytest.mark.parametrize("name", ["../secret.txt", "assets/../../secret.txt", "/etc/hostname", "assets", ""])
def test_only_files_of_the_package_are_given(ohif_dist: Path, name: str) -> None:
    (ohif_dist.parent / "secret.txt").write_text("secret")

    with pytest.raises(UnknownError):
        OhifPackage(ohif_dist).file(name)


def test_links_and_source_maps_are_not_given(ohif_dist: Path) -> None:
    (ohif_dist.parent / "secret.txt").write_text("secret")
    (ohif_dist / "link.js").symlink_to(ohif_dist.parent / "secret.txt")
    (ohif_dist / "app.bundle.0f.js.map").write_text("{}")

    package = OhifPackage(ohif_dist)

    assert "link.js" not in package
    assert "app.bundle.0f.js.map" not in package


def test_the_page_is_moved(ohif_dist: Path) -> None:
    page = OhifPackage(ohif_dist).moved("index.html").decode()

    assert 'window.PUBLIC_URL="/viewer/"' in page
    assert 'src="/viewer/app-config.js"' in page
    assert 'href="/viewer/app.bundle.css"' in page
    assert 'href="//other.example/"' in page


def test_bundles_and_styles_are_moved(ohif_dist: Path) -> None:
    package = OhifPackage(ohif_dist)

    assert package.moved("app.bundle.0f.js") == b'x;__webpack_require__.p = "/viewer/";y'
    assert package.moved("worker.bundle.cd.js") == b'x;__webpack_require__.p = "/viewer/";y'
    assert package.moved("app.bundle.css") == b"a{background:url(/viewer/f.woff2)} b{background:url(data:x)}"


def test_what_needs_no_move_is_served_as_it_is(ohif_dist: Path) -> None:
    package = OhifPackage(ohif_dist)

    moved = {file.name for file in ohif_dist.rglob("*") if package.is_moved(file.relative_to(ohif_dist).as_posix())}

    assert moved == {"index.html", "app.bundle.0f.js", "worker.bundle.cd.js", "app.bundle.css"}
