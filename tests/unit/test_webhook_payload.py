"""What of a webhook enters an event."""

import json

import orjson
import pytest

from hive_daemon.runtime.webhook_delivery import name_of
from hive_daemon.runtime.webhook_payload import (
    MAX_NESTING,
    is_secret_parameter,
    kept_headers,
    payload_of,
    query_of,
)
from hive_daemon.runtime.webhook_route import WebhookRoute, rules_of


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        (b"", {}),
        (b"{}", {}),
        (b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}', {"a": [1, 2.5, None, True, "é"]}),
        (b" \r\n[]\t ", []),
        (b'"text"', "text"),
        (b"17", 17),
        (b"null", None),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 1.8446744073709552e19),
        (b"-9223372036854775808", -(2**63)),
        (b"1e-500", 0.0),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\u0000"', "\x00"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (
            b'{"__proto__": {"x": 1}, "session_state": 1}',
            {"__proto__": {"x": 1}, "session_state": 1},
        ),
    ],
)
def test_json_becomes_its_value(body: bytes, payload: object) -> None:
    assert payload_of(body) == payload


@pytest.mark.parametrize(
    "body",
    [
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b"1e400",
        b"-1e400",
        b"9" * 100_000,
        b'"\\ud800"',
        b'["\\udc00\\ud800"]',
        b'{"a": 1,}',
        b"{'a': 1}",
        b"{} {}",
        b"// comment\n{}",
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        b'"\xff\xfe"',
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b'"raw \x00 nul"',
        b"\x00" * 100,
        b"payload=%7B%7D&x=1",
        b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"!!python/object/apply:os.system ['true']",
        b"\x80\x04\x95\x10\x00\x00\x00",
        b"{",
        b'{"a"',
        b" ",
        nested(MAX_NESTING + 1),
        nested(1024),
        nested(100_000),
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'[{"a":' * 60 + b"1" + b"}]" * 60,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_everything_else_becomes_text(body: bytes) -> None:
    assert payload_of(body) == {"raw_body": body.decode("utf-8", "replace")}


def test_nesting_is_kept_up_to_the_limit() -> None:
    body = nested(MAX_NESTING)
    assert orjson.dumps(payload_of(body)) == body


def test_many_brackets_are_not_taken_for_depth() -> None:
    body = orjson.dumps([{"a": []}] * 1000)
    assert payload_of(body) == json.loads(body)


def test_brackets_in_text_are_not_taken_for_depth() -> None:
    assert payload_of(b'"' + b"[" * 5000 + b'"') == "[" * 5000


def test_only_listed_headers_are_kept() -> None:
    came = [
        ("X-GitHub-Event", "push"),
        ("Authorization", "Bearer secret"),
        ("Cookie", "id=secret"),
        ("X-Api-Key", "secret"),
        ("X-Hub-Signature-256", "sha256=secret"),
        ("X-Gitlab-Token", "secret"),
        ("Stripe-Signature", "secret"),
        ("CONTENT-TYPE", "application/json"),
    ]
    assert kept_headers(came) == {"x-github-event": "push", "content-type": "application/json"}


def test_of_a_repeated_header_the_first_is_kept() -> None:
    assert kept_headers([("User-Agent", "one"), ("user-agent", "two")]) == {"user-agent": "one"}


def test_a_header_that_is_not_utf8_can_still_be_stored() -> None:
    came = b"caf\xe9 \xe2\x82\xac".decode("utf-8", "surrogateescape")
    assert kept_headers([("User-Agent", came)]) == {"user-agent": "caf\ufffd €"}


@pytest.mark.parametrize(
    ("kept", "named"),
    [
        ({}, ""),
        ({"x-github-delivery": "d1", "webhook-id": "w1"}, "d1"),
        ({"webhook-id": "w1"}, "w1"),
        ({"idempotency-key": "k1"}, "k1"),
        ({"x-github-delivery": "", "idempotency-key": "k1"}, "k1"),
        ({"x-request-id": "r1"}, ""),
    ],
)
def test_a_delivery_is_named_by_its_sender_and_not_by_a_proxy(
    kept: dict[str, str], named: str
) -> None:
    places = rules_of(WebhookRoute("x", "/hook")).dedupe
    assert name_of(places, {"headers": kept, "payload": {}, "query_params": {}}) == named


@pytest.mark.parametrize(
    "name",
    ["token", "TOKEN", "access_token", "hub.verify_token", "api_key", "apikey", "key", "X-Amz-Signature", "signature",
     "sig", "my-sig", "secret", "clientSecret", "password", "pw", "pass", "auth", "hmac", "jwt"],
)  # fmt: skip
def test_a_parameter_that_looks_secret_is_dropped(name: str) -> None:
    assert is_secret_parameter(name)
    assert query_of(f"team=ops&{name}=hidden") == {"team": "ops"}


@pytest.mark.parametrize(
    "name", ["team", "monkey", "bypass", "design", "author", "page", "tokens_used", "keys"]
)
def test_an_ordinary_parameter_is_kept(name: str) -> None:
    assert query_of(f"{name}=shown") == {name: "shown"}


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("", {}),
        ("a=1&b=two+words&c=%C3%A9", {"a": "1", "b": "two words", "c": "é"}),
        ("a=1&a=2", {"a": "1"}),
        ("a=&b", {"a": "", "b": ""}),
        ("a=%FF%ED%A0%80", {"a": "\ufffd\ufffd\ufffd\ufffd"}),
        ("a=%zz&&=&;", {"a": "%zz", "": "", ";": ""}),
        ("%74oken=hidden&t%6Fken=hidden", {}),
    ],
)
def test_a_query_becomes_text(query: str, parameters: dict[str, str]) -> None:
    assert query_of(query) == parameters
