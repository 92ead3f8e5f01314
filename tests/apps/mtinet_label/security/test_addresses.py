"""The table of addresses against the routes that there are."""

from __future__ import annotations

import importlib
import pkgutil

import monailabel.endpoints
import pytest
from fastapi.routing import APIRoute

from lib.security.addresses import Address, Known, Role, addresses

# What stands for a path's parameters.
SAMPLES = {
    "{path:path}": "studies",
    "{model}": "mtinet",
    "{strategy}": "first",
    "{method}": "dice",
    "{session_id}": "a",
}
WITHOUT_ROLE = {"/ohif/studies", "/auth/", "/auth/token"}


@pytest.fixture(scope="module")
def table() -> tuple[Address, ...]:
    nothing: dict[str, dict[str, object]] = {}
    return addresses(Known(lambda: nothing, lambda: nothing, lambda: nothing))


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str]]:
    """Method and a path of every route that MONAI Label brings, those that it switches off included."""
    found = []
    for module in pkgutil.iter_modules(monailabel.endpoints.__path__, "monailabel.endpoints."):
        router = getattr(importlib.import_module(module.name), "router", None)
        for route in router.routes if router is not None else ():
            assert isinstance(route, APIRoute)
            path = route.path
            for place, sample in SAMPLES.items():
                path = path.replace(place, sample)
            found += [(method, path) for method in route.methods]
    assert len(found) > 50
    return found


def first(table: tuple[Address, ...], method: str, path: str) -> Address | None:
    """The line that counts."""
    fitting = (line for line in table if method in line.methods and line.match(path) is not None)
    return next(fitting, None)


def test_every_route_is_in_the_table(table: tuple[Address, ...], routes: list[tuple[str, str]]) -> None:
    """A version of MONAI Label that brings others fails here; until then the guard keeps them closed."""
    assert [(method, path) for method, path in routes if first(table, method, path) is None] == []


def test_only_pages_and_the_login_need_no_role(table: tuple[Address, ...], routes: list[tuple[str, str]]) -> None:
    lines = [(path, first(table, method, path)) for method, path in routes]
    assert {path for path, line in lines if line is not None and line.role is Role.ANYONE} == WITHOUT_ROLE


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("PUT", "/datastore/label", Role.ANNOTATOR),
        ("DELETE", "/datastore/label", Role.ADMIN),
        ("POST", "/train/mtinet", Role.ADMIN),
        ("DELETE", "/train/", Role.ADMIN),
        ("POST", "/reload", Role.ADMIN),
        ("GET", "/logs/", Role.ADMIN),
        ("POST", "/infer/mtinet", Role.USER),
        ("GET", "/mtinet/studies/liver-01/result", Role.USER),
        ("POST", "/mtinet/studies/liver-01/region", Role.USER),
        ("PUT", "/mtinet/studies/liver-01/label", Role.ANNOTATOR),
        ("POST", "/mtinet/training", Role.ADMIN),
        ("POST", "/mtinet/training/rollback", Role.ADMIN),
        ("DELETE", "/mtinet/training", Role.ADMIN),
        ("GET", "/mtinet/training", Role.USER),
        ("GET", "/mtinet/dicom-web/studies/1.2.3/series", Role.USER),
    ],
)
def test_role_of_an_address(table: tuple[Address, ...], method: str, path: str, role: Role) -> None:
    line = first(table, method, path)
    assert line is not None
    assert (line.role, line.closed) == (role, "")
