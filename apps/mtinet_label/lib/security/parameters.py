"""What a request's parameters may be called and may hold; a check returns the value or says what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from lib.errors import BadRequestError
from lib.labels.label import DIAGNOSES
from lib.security import names
from scripts.domain.classes import CLASSES

Check = Callable[[str, object], object]

_FILES = frozenset({"image", "images", "file", "files", "path", "paths", "dir", "folder", "url", "uri", "session"})
_CODE = frozenset({"config", "config_file", "run_id", "script", "cmd", "bundle", "bundle_path", "network", "user"})
_WEIGHTS = frozenset({"model_file", "pretrained", "checkpoint", "ckpt", "save_label", "label_tag"})
_HARDWARE = frozenset({"device", "devices", "gpus", "multi_gpu"})
RESERVED = _FILES | _CODE | _WEIGHTS | _HARDWARE
"""Never taken from a request, whatever a task's own configuration lists."""

DROPPED = object()
"""What a check returns for a parameter that clients send and that nothing here may read."""

# A name, or the value of a mask's voxels.
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}|[0-9]{1,5}", re.ASCII)
_MOST_NUMBER = 1e9
_MOST_CLICKS = 256
_MOST_ITEMS = 1000
_DEEPEST = 4


def words(longest: int = 500) -> Check:
    """Text of at most so many characters that holds no path and no expression."""
    return lambda what, value: names.plain_text(value, what=what, longest=longest)


def one_of(*choices: object) -> Check:
    """One of the choices."""

    def check(what: str, value: object) -> object:
        if isinstance(value, dict | list) or value not in choices:
            msg = f"{what}: must be one of {', '.join(map(str, choices))}"
            raise BadRequestError(msg)
        return value

    return check


def number(low: float = -_MOST_NUMBER, high: float = _MOST_NUMBER) -> Check:
    """A finite number in a range, or its text, as a query brings it."""

    def check(what: str, value: object) -> object:
        try:
            if isinstance(value, str) and not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", value, re.ASCII):
                raise ValueError
            if isinstance(value, bool) or not low <= float(value) <= high:  # type: ignore[arg-type]
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            msg = f"{what}: must be a number from {low:g} to {high:g}"
            raise BadRequestError(msg) from None
        return value

    return check


def switch(what: str, value: object) -> object:
    """True or false, or the word for it."""
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false", "1", "0", "")):
        return value
    msg = f"{what}: must be true or false"
    raise BadRequestError(msg)


def empty(what: str, value: object) -> object:
    """Nothing: the parameter is known to clients, and what it does is not offered here."""
    if value in (None, "", [], {}):
        return value
    msg = f"{what}: is not offered by this server"
    raise BadRequestError(msg)


def optional(check: Check) -> Check:
    """The check, or null."""
    return lambda what, value: None if value is None else check(what, value)


def numbers(most: int) -> Check:
    """A flat list of at most so many numbers."""
    one = number()

    def check(what: str, value: object) -> object:
        return [one(what, item) for item in _list(what, value, most)]

    return check


def clicks(what: str, value: object) -> object:
    """Points ``[i, j, k]``, at most 256; Slicer and OHIF send them as lists of numbers."""
    point = numbers(4)
    return [point(what, item) for item in _list(what, value, _MOST_CLICKS)]


def plain(what: str, value: object, *, depth: int = 0) -> object:
    """A value of numbers, switches and words, nested at most four deep, with ordinary names as keys."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return number()(what, value)
    if isinstance(value, str):
        return names.plain_text(value, what=what)
    if depth >= _DEEPEST:
        msg = f"{what}: is nested too deeply"
        raise BadRequestError(msg)
    if isinstance(value, list):
        return [plain(what, item, depth=depth + 1) for item in _list(what, value, _MOST_ITEMS)]
    return {
        _key(what, key): plain(f"{what}.{key}" if what else key, item, depth=depth + 1)
        for key, item in _dict(what, value).items()
    }


def keyed(checks: Mapping[str, Check] | Callable[[], Mapping[str, Check]]) -> Check:
    """An object that holds only these keys, each with its own check; a callable is asked anew each time."""

    def check(what: str, value: object) -> object:
        allowed = checks() if callable(checks) else checks
        checked = {}
        for key, item in _dict(what, value).items():
            if key not in allowed:
                msg = f"{what}: brings a parameter that this server does not take{_shown(key)}"
                raise BadRequestError(msg)
            value = allowed[key](f"{what}.{key}", item)
            if value is not DROPPED:
                checked[key] = value
        return checked

    return check


def in_json(check: Check) -> Check:
    """The text of a JSON value that passes the check; returned as text again, written anew from what was checked."""

    def checked(what: str, value: object) -> object:
        if not isinstance(value, str):
            msg = f"{what}: must be JSON text"
            raise BadRequestError(msg)
        return json.dumps(check(what, parsed(what, value or "{}")))

    return checked


def parsed(what: str, text: str | bytes) -> object:
    """The JSON value of a text that has one meaning only.

    Raises:
        BadRequestError: it is no JSON, names a key twice, or holds a number that JSON does not have.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        msg = f"{what}: is not JSON, or not unambiguous JSON"
        raise BadRequestError(msg) from None


def configured(config: Mapping[str, object]) -> dict[str, Check]:
    """Checks for the options that a task offers in ``/info/``: viewers send them back with each request."""
    return {key: plain for key in config if is_key(key) and key not in RESERVED and "__" not in key}


_CLIENT = {"client_id": optional(words(64))}
_SEGMENT = {"name": words(64), "idx": number(0, 255), "color": numbers(4), "model_name": words(64), "id": words(64)}
_SEGMENTS: Check = lambda what, value: [keyed(_SEGMENT)(what, item) for item in _list(what, value, 32)]  # noqa: E731

INFER: dict[str, Check] = {
    **_CLIENT,
    "result_extension": one_of(".nrrd", ".nii.gz", ".nii"),
    "result_dtype": one_of("uint8"),
    "result_compress": switch,
    "restore_label_idx": switch,
    "series": optional(lambda what, value: names.image_id(value, what=what)),
    # Slicer names the segment that a reader works on by the word that stands for a mask's file behind this point.
    "label": lambda what, value: DROPPED,
    "foreground": clicks,
    "background": clicks,
    **dict.fromkeys(CLASSES, clicks),
    "points_in": one_of("voxels", "mm"),
    "slice": optional(number(-1, 10_000)),
    "roi": numbers(6),
    "reset_state": switch,
    "label_info": _SEGMENTS,
    "selected_label_name": words(64),
}
SAVED_LABEL: dict[str, Check] = {
    **_CLIENT,
    "label_info": _SEGMENTS,
    "diagnosis": optional(one_of("", *DIAGNOSES)),
    "classes": plain,
    "reader": optional(words(64)),
    "note": optional(words(500)),
    "series": INFER["series"],
}
IMAGE_INFO: dict[str, Check] = {**_CLIENT, "strategy": plain}
CLIENT = dict(_CLIENT)


def is_key(text: str) -> bool:
    """Whether a parameter, or a form's file, may be called so."""
    return _KEY.fullmatch(text) is not None


def _key(what: str, key: str) -> str:
    if not is_key(key):
        msg = f"{what or 'body'}: a key must be lower-case letters, digits and '_', or a number"
        raise BadRequestError(msg)
    if key in RESERVED or "__" in key:
        msg = f"{what or 'body'}: brings a parameter that this server does not take{_shown(key)}"
        raise BadRequestError(msg)
    return key


def _shown(key: str) -> str:
    """The key for a message, where it is a plain name."""
    return f": {key}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,39}", key, re.ASCII) else ""


def _list(what: str, value: object, most: int) -> list:
    if not isinstance(value, list) or len(value) > most:
        msg = f"{what}: must be a list of at most {most}"
        raise BadRequestError(msg)
    return value


def _dict(what: str, value: object) -> dict:
    if not isinstance(value, dict) or len(value) > _MOST_ITEMS:
        msg = f"{what or 'body'}: must be an object of at most {_MOST_ITEMS} keys"
        raise BadRequestError(msg)
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_constant(_: str) -> float:
    raise ValueError
