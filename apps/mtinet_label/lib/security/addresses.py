"""The addresses that the server answers, and what each of them takes; whatever is not listed here is not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

from lib.routes.dicom_web import READS
from lib.security import names
from lib.security import parameters as takes
from lib.security.parameters import Check


class Role(Enum):
    """Who may ask, by MONAI Label's four roles; a role is needed only where authentication is on."""

    ANYONE = "anyone"
    USER = "user"
    ANNOTATOR = "annotator"
    ADMIN = "admin"


@dataclass(frozen=True)
class Known:
    """What a request may name; asked anew for each, because tasks are made after the guard.

    Args:
        infers: options of each model, by name.
        trainers: of each trainer.
        strategies: of each strategy.
    """

    infers: Callable[[], Mapping[str, Mapping[str, object]]]
    trainers: Callable[[], Mapping[str, Mapping[str, object]]]
    strategies: Callable[[], Mapping[str, Mapping[str, object]]]


@dataclass(frozen=True)
class Body:
    """What an address takes in a request's body.

    Args:
        json: check of a JSON body; None where none is taken.
        fields: of a form, each with its check; None where no form is taken.
        any_field: check of a form's fields that ``fields`` does not name.
        files: names of a form's files; None for any.
        as_it_is: the body is not looked into, only its size (a login's name and password).
    """

    json: Check | None = None
    fields: Mapping[str, Check] | None = None
    any_field: Check | None = None
    files: frozenset[str] | None = frozenset()
    as_it_is: bool = False


@dataclass(frozen=True)
class Address:
    """One line of the table.

    Args:
        methods: of HTTP.
        template: the path; ``{name}`` stands for one of ``_PLACES``.
        role: who may.
        query: checks by parameter; ``any_query`` for the rest.
        any_query: check of parameters that ``query`` does not name; None refuses them.
        repeated_query: whether a parameter may come more than once.
        body: None where a body is not read.
        images: parameters of path and query that must name an image that there is.
        tasks: by path parameter, what the server knows by such a name.
        signed: a login's name replaces what the body says the reader is.
        login_only: closed where authentication is off.
        closed: why nobody may; ``""`` where it is open.
    """

    methods: tuple[str, ...]
    template: str
    role: Role
    query: Mapping[str, Check] = field(default_factory=dict)
    any_query: Check | None = None
    repeated_query: bool = False
    body: Body | None = None
    images: tuple[str, ...] = ()
    tasks: Mapping[str, Callable[[], Mapping[str, object]]] = field(default_factory=dict)
    signed: bool = False
    login_only: bool = False
    closed: str = ""

    def match(self, path: str) -> Mapping[str, str] | None:
        """The parameters of a path; None where it is another's."""
        found = _compiled(self.template).fullmatch(path)
        return None if found is None else found.groupdict()


_SEGMENT = r"[A-Za-z0-9_](?:[A-Za-z0-9_~@+-]|\.(?!\.)){0,127}"
_PLACES = {
    "task": r"[A-Za-z][A-Za-z0-9_-]{0,63}",
    "file": rf"(?:{_SEGMENT}(?:/{_SEGMENT}){{0,15}}/?)?",
    "below": rf"{_SEGMENT}(?:/{_SEGMENT}){{0,7}}/?",
    "id": _SEGMENT,
    "reads": READS.pattern,
    "anything": r".*",
}

_NO_SESSION = "sessions bring images of their own, and a study of four phases is not one; put it among the studies"
_NO_SLIDES = "pathology is not what this server is for"
_NO_IMAGE_WRITES = "images are added and removed where the studies are kept, not through this server"
_NO_WEIGHTS = "weights change by training and by the rollback command only"
_NO_BATCH = "studies are analysed one at a time, when a reader opens them"
_NO_SCORING = "scores are kept by the strategies themselves"
_NO_PACS_WRITES = "of the PACS, this server passes on reads of studies, series, instances, frames and metadata only"

_TASK_STATUS: dict[str, Check] = {"all": takes.switch, "check_if_running": takes.switch}
# A request that waits for its training would keep every other one waiting too.
_TASK_RUN: dict[str, Check] = {"run_sync": takes.one_of("false", "False", "0"), "enqueue": takes.switch}
_ID: dict[str, Check] = {"image": lambda what, value: names.image_id(value, what=what)}
_TAG: dict[str, Check] = {"tag": lambda what, value: names.tag(value, what=what)}
_LABEL: dict[str, Check] = {"label": _ID["image"], **_TAG}
# Viewers keep their state in the query of their own pages; the server never reads it.
_PAGE_STATE: Check = lambda what, value: value  # noqa: E731


def addresses(known: Known) -> tuple[Address, ...]:
    """The table; the first line whose path and method fit counts.

    Args:
        known: what the app serves.
    """

    def infer_params() -> Mapping[str, Check]:
        offered = {key: value for config in known.infers().values() for key, value in config.items()}
        return {**takes.configured(offered), **takes.INFER}

    def train_params() -> Mapping[str, Check]:
        offered = {key: value for config in known.trainers().values() for key, value in config.items()}
        options = {**takes.configured(offered), **takes.CLIENT}
        return {**options, **{name: takes.keyed(options) for name in known.trainers()}}

    def strategy_params() -> Mapping[str, Check]:
        offered = {key: value for config in known.strategies().values() for key, value in config.items()}
        return {**takes.configured(offered), **takes.CLIENT}

    infer = Body(
        fields={"params": takes.in_json(takes.keyed(infer_params)), "file": takes.empty, "label": takes.empty},
        files=frozenset({"label"}),
    )
    train = Body(json=takes.optional(takes.keyed(train_params)))
    saved = takes.in_json(takes.keyed(takes.SAVED_LABEL))
    image_info = takes.in_json(takes.keyed(takes.IMAGE_INFO))
    own = Body(json=takes.plain, fields={}, any_field=_own_field, files=None)
    login = Body(as_it_is=True)
    return (
        # Pages and their files: nothing about a patient.
        Address(("GET", "HEAD"), "/", Role.ANYONE),
        Address(("GET",), "/favicon.ico", Role.ANYONE),
        Address(("GET",), "/docs", Role.ANYONE),
        Address(("GET",), "/openapi.json", Role.ANYONE),
        Address(("GET", "HEAD"), "/static/{file}", Role.ANYONE),
        Address(("GET", "HEAD"), "/viewer", Role.ANYONE, any_query=_PAGE_STATE, repeated_query=True),
        Address(("GET", "HEAD"), "/viewer/{file}", Role.ANYONE, any_query=_PAGE_STATE, repeated_query=True),
        Address(("GET",), "/ohif/{file}", Role.ANYONE, any_query=_PAGE_STATE, repeated_query=True),
        Address(("GET",), "/auth/", Role.ANYONE),
        Address(("POST",), "/auth/token", Role.ANYONE, body=login),
        Address(("GET",), "/auth/token/valid", Role.USER),
        # The PACS, to be read.
        Address(("GET",), "/proxy/dicom/{reads}", Role.USER, any_query=_search, repeated_query=True),
        Address(("GET",), "/proxy/dicom/wado/{reads}", Role.USER, any_query=_search, repeated_query=True),
        Address(("GET",), "/proxy/dicom/qido/{reads}", Role.USER, any_query=_search, repeated_query=True),
        Address(("GET", "POST", "PUT", "DELETE"), "/proxy/{anything}", Role.ADMIN, closed=_NO_PACS_WRITES),
        Address(("GET", "HEAD"), "/mtinet/dicom-web/{reads}", Role.USER, any_query=_search, repeated_query=True),
        Address(("GET", "POST", "PUT", "DELETE"), "/mtinet/dicom-web/{anything}", Role.ADMIN, closed=_NO_PACS_WRITES),
        # Our own routes; their handlers name what they take, and the guard keeps paths and expressions out.
        Address(("GET", "HEAD"), "/mtinet/{below}", Role.USER, any_query=_own_query),
        Address(("POST", "PUT", "DELETE"), "/mtinet/training", Role.ADMIN, any_query=_own_query, body=own),
        Address(("POST", "PUT", "DELETE"), "/mtinet/training/{below}", Role.ADMIN, any_query=_own_query, body=own),
        Address(("POST",), "/mtinet/studies/{id}/{task}", Role.USER, any_query=_own_query, body=own, signed=True),
        Address(
            ("POST", "PUT", "DELETE"), "/mtinet/{below}", Role.ANNOTATOR, any_query=_own_query, body=own, signed=True
        ),
        # MONAI Label's.
        Address(("GET",), "/info/?", Role.USER),
        Address(("GET", "POST", "PUT"), "/infer/wsi{anything}", Role.ADMIN, closed=_NO_SLIDES),
        Address(
            ("POST",),
            "/infer/{task}",
            Role.USER,
            query={
                **_ID,
                "session_id": takes.empty,
                "output": takes.one_of("image", "json", "all"),
            },
            body=infer,
            images=("image",),
            tasks={"task": known.infers},
        ),
        Address(("GET", "POST", "DELETE"), "/batch/{anything}", Role.ADMIN, closed=_NO_BATCH),
        Address(
            ("POST",),
            "/activelearning/{task}",
            Role.USER,
            body=Body(json=takes.optional(takes.keyed(strategy_params))),
            tasks={"task": known.strategies},
        ),
        Address(("GET",), "/train/?", Role.USER, query=_TASK_STATUS),
        Address(("POST",), "/train/?", Role.ADMIN, query=_TASK_RUN, body=train),
        Address(("DELETE",), "/train/?", Role.ADMIN),
        Address(("POST",), "/train/{task}", Role.ADMIN, query=_TASK_RUN, body=train, tasks={"task": known.trainers}),
        Address(("GET",), "/scoring/?", Role.USER, query=_TASK_STATUS),
        Address(("POST", "DELETE"), "/scoring/{anything}", Role.ANNOTATOR, closed=_NO_SCORING),
        Address(("GET",), "/datastore/?", Role.USER, query={"output": takes.one_of("stats", "all")}),
        Address(("PUT", "DELETE"), "/datastore/?", Role.ADMIN, closed=_NO_IMAGE_WRITES),
        Address(("PUT", "DELETE"), "/datastore/image", Role.ADMIN, closed=_NO_IMAGE_WRITES),
        Address(
            ("GET", "HEAD"),
            "/datastore/image",
            Role.USER,
            query={**_ID, "check_sum": _check_sum},
            images=("image",),
        ),
        Address(("GET",), "/datastore/image/info", Role.USER, query=_ID, images=("image",)),
        Address(
            ("PUT",),
            "/datastore/image/info",
            Role.ANNOTATOR,
            query=_ID,
            images=("image",),
            body=Body(fields={"info": image_info}),
        ),
        Address(
            ("PUT",),
            "/datastore/label",
            Role.ANNOTATOR,
            query={**_ID, **_TAG},
            images=("image",),
            body=Body(fields={"params": saved}, files=frozenset({"label"})),
            signed=True,
        ),
        Address(("DELETE",), "/datastore/label", Role.ADMIN, query={"id": _ID["image"], **_TAG}, images=("id",)),
        Address(("HEAD",), "/datastore/label", Role.USER, query={**_ID, **_LABEL}, images=("image", "label")),
        Address(("GET",), "/datastore/label", Role.USER, query=_LABEL, images=("label",)),
        Address(("GET",), "/datastore/label/info", Role.USER, query=_LABEL, images=("label",)),
        Address(
            ("PUT",),
            "/datastore/label/info",
            Role.ANNOTATOR,
            query=_LABEL,
            images=("label",),
            body=Body(fields={"info": saved}),
            signed=True,
        ),
        Address(
            ("PUT",),
            "/datastore/updatelabelinfo",
            Role.ANNOTATOR,
            query=_LABEL,
            images=("label",),
            body=Body(fields={"params": saved}),
            signed=True,
        ),
        Address(
            ("GET",),
            "/datastore/dataset",
            Role.ANNOTATOR,
            query={"limit_cases": takes.number(1, 1000)},
            login_only=True,
        ),
        Address(
            ("GET",),
            "/logs/?",
            Role.ADMIN,
            query={
                "lines": takes.number(1, 10_000),
                "html": takes.switch,
                "text": takes.switch,
                "refresh": takes.number(0, 3600),
            },
            login_only=True,
        ),
        Address(("GET",), "/logs/gpu", Role.ADMIN, login_only=True),
        Address(("GET",), "/model/info/{task}", Role.ADMIN, tasks={"task": known.infers}, login_only=True),
        Address(("GET",), "/model/{task}", Role.ADMIN, tasks={"task": known.infers}, login_only=True),
        Address(("PUT", "DELETE"), "/model/{anything}", Role.ADMIN, closed=_NO_WEIGHTS),
        Address(("POST",), "/reload", Role.ADMIN, login_only=True),
        Address(("GET", "PUT", "DELETE"), "/session/{anything}", Role.ADMIN, closed=_NO_SESSION),
    )


def _own_field(what: str, value: object) -> object:
    """A form field of our own routes: JSON or words."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return takes.in_json(takes.plain)(what, value)
    takes.plain("", {what: value})
    return value


def _own_query(what: str, value: object) -> object:
    """A parameter of our own routes: an ordinary name, a number or words."""
    takes.plain("", {what: value})
    return value


def _search(what: str, value: object) -> object:
    """A search of the PACS: a DICOM keyword or tag, and any short printable value."""
    if not re.fullmatch(r"[A-Za-z0-9.]{1,120}", what, re.ASCII) or len(str(value)) > 1024:
        return takes.one_of()(what, value)
    return value if str(value).isprintable() else takes.one_of()(what, value)


def _check_sum(what: str, value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"(?:(?:SHA256|SHA512|MD5):)?[0-9a-fA-F]{32,128}", value, re.ASCII):
        return value
    return takes.one_of("SHA256:<hexadecimal digits>")(what, value)


@cache
def _compiled(template: str) -> re.Pattern[str]:
    pattern = re.escape(template.removesuffix("/?"))
    for place, allowed in _PLACES.items():
        pattern = pattern.replace(rf"\{{{place}\}}", f"(?P<{place}>{allowed})")
    return re.compile(pattern + ("/?" if template.endswith("/?") else ""), re.ASCII | re.DOTALL)
