"""What a request's parameters may hold."""

from __future__ import annotations

import pytest

from lib.errors import BadRequestError
from lib.security import parameters as takes


@pytest.mark.parametrize("key", sorted(takes.RESERVED))
def test_reserved_options_are_never_taken(key: str) -> None:
    assert takes.configured({key: 1}) == {}
    with pytest.raises(BadRequestError, match=key):
        takes.plain("", {key: 1})


@pytest.mark.parametrize("key", ["_target_", "net#_target_", "$x", "a.b", "a/b", "A", "", "a" * 41, "x__y", "é"])
def test_keys_that_are_none(key: str) -> None:
    with pytest.raises(BadRequestError, match=r"a key must be|does not take"):
        takes.plain("", {"outer": {key: 1}})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e400, 10**40, "../x", "$x", [["a/b"]], {"k": "/"}])
def test_values_that_are_not_plain(value: object) -> None:
    with pytest.raises(BadRequestError):
        takes.plain("", {"key": value})


def test_deep_nesting_is_refused() -> None:
    value: object = 1
    for _ in range(6):
        value = {"key": value}
    with pytest.raises(BadRequestError, match="nested too deeply"):
        takes.plain("", value)


def test_plain_value_stays_what_it_is() -> None:
    value = {"classes": {"1": "hcc"}, "epochs": 2, "rate": 1e-3, "on": True, "none": None, "list": ["a", 1]}
    assert takes.plain("", value) == value


@pytest.mark.parametrize(
    "text", ["{", "[1,]", '{"a": 1, "a": 2}', "NaN", "-Infinity", "[" * 100_000, b"\xff", '"\ud800']
)
def test_ambiguous_json(text: str | bytes) -> None:
    with pytest.raises(BadRequestError, match="not JSON, or not unambiguous"):
        takes.parsed("params", text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("foreground", "[[1, 2, 3]]"),
        ("foreground", [[1, 2, "3/"]]),
        ("foreground", [[1, 2, 3]] * 257),
        ("hcc", [{"x": 1}]),
        ("roi", list(range(7))),
        ("slice", True),
        ("result_compress", "perhaps"),
        ("label_info", {"name": "hcc"}),
        ("label_info", [{"name": "../hcc"}]),
        ("series", "../1.2.3"),
    ],
)
def test_inference_parameter_that_is_none(key: str, value: object) -> None:
    with pytest.raises(BadRequestError, match=f"params.{key}"):
        takes.keyed(takes.INFER)("params", {key: value})


def test_name_of_the_segment_does_not_arrive_as_a_file() -> None:
    checked = takes.keyed(takes.INFER)("params", {"label": "/etc/passwd", "foreground": [[1, 2, 3]]})
    assert checked == {"foreground": [[1, 2, 3]]}


def test_json_text_is_written_anew() -> None:
    check = takes.in_json(takes.keyed(takes.CLIENT))
    assert check("params", ' {"client_id" : "a"}\n') == '{"client_id": "a"}'
    assert check("params", "") == "{}"


def test_options_are_asked_anew_each_time() -> None:
    options: dict[str, object] = {}
    check = takes.keyed(lambda: takes.configured(options))
    with pytest.raises(BadRequestError, match="does not take: rate"):
        check("body", {"rate": 1})
    options["rate"] = 2
    assert check("body", {"rate": 1}) == {"rate": 1}


@pytest.mark.parametrize("value", ["0x10", "1e5", "", " 1", "1_000", "\u0661", None, True, [1], 11, "11"])
def test_number_that_is_none(value: object) -> None:
    with pytest.raises(BadRequestError, match="from 0 to 10"):
        takes.number(0, 10)("lines", value)
