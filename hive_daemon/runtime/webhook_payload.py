"""What of a webhook enters an event: its payload, a few headers, its query. Pure.

Laws: whatever arrives becomes JSON that can be stored and read back; credentials and signatures stay outside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from typing import Any
from urllib.parse import parse_qsl

import orjson

from hive_daemon.observability.secret_patterns import is_secret_name
from hive_daemon.runtime.webhook_schemes import Verify

KEPT_HEADERS = frozenset(
    {
        "content-type",
        "user-agent",
        "x-github-event",
        "x-github-delivery",
        "x-gitlab-event",
        "x-request-id",
        "webhook-id",
        "webhook-timestamp",
        "idempotency-key",
        "x-slack-request-timestamp",
        "x-slack-retry-num",
        "traceparent",
    }
)
DELIVERY_HEADERS = ("x-github-delivery", "webhook-id", "idempotency-key")
"""Headers that name a delivery, so that it is taken once however often it is sent.

`X-Request-Id` is none: proxies make a new one for each attempt.
"""

MAX_CHALLENGE = 1_024
MAX_NESTING = 100
"""Deeper JSON is kept as text: it still has to fit into events, inputs and checkpoints, which are nested in turn."""

_CONTAINERS = (dict, list)
_SECRET_PARAMETER = re.compile(
    r"(?:\A|[^a-z])(?:auth|key|pass|pw|sig)\Z|(?:hmac|jwt|password|secret|signature|token)\Z"
)


def payload_of(body: bytes) -> Any:
    """Read a body: its JSON value, `{}` when it is empty, else `{"raw_body": text}`.

    JSON is what RFC 8259 says, in UTF-8. No JSON, hence text, are: NaN and Infinity, numbers too large for a double,
    lone surrogates, a byte order mark, other encodings, and what is nested deeper than 100 levels. Of a key that stands
    twice the last value counts; an integer of more than 64 bits becomes a double, as in JavaScript. In text, bytes that
    are not UTF-8 become U+FFFD.
    """
    if not body:
        return {}
    try:
        payload = orjson.loads(body)
    except ValueError:
        return _as_text(body)
    # As many brackets at least as levels: most bodies need no closer look.
    if body.count(b"[") + body.count(b"{") > MAX_NESTING and _is_deep(payload):
        return _as_text(body)
    return payload


def _as_text(body: bytes) -> dict[str, str]:
    return {"raw_body": body.decode("utf-8", "replace")}


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_NESTING + 1):
        level = [inner for inner in level if type(inner) in _CONTAINERS]
        if not level:
            return False
        level = [
            inner for outer in level for inner in (outer.values() if type(outer) is dict else outer)
        ]
    return True


def kept_headers(
    headers: Iterable[tuple[str, str]], wanted: Set[str] = KEPT_HEADERS
) -> dict[str, str]:
    """Return the headers that enter an event, by lower-case name; of a repeated one the first."""
    kept: dict[str, str] = {}
    for name, value in headers:
        lowered = name.lower()
        if lowered in wanted:
            kept.setdefault(lowered, _clean(value))
    return kept


def query_of(query: str) -> dict[str, str]:
    """Return the parameters of a query but those whose names look secret; of a repeated one the first.

    >>> query_of("team=ops&token=x&Signature=y&a=1&a=2")
    {'team': 'ops', 'a': '1'}
    """
    kept: dict[str, str] = {}
    for name, value in parse_qsl(_clean(query), keep_blank_values=True) if query else ():
        if not is_secret_parameter(name):
            kept.setdefault(name, value)
    return kept


def is_secret_parameter(name: str) -> bool:
    """Say whether a query parameter of this name is kept out of events.

    >>> is_secret_parameter("hub.verify_token"), is_secret_parameter("key"), is_secret_parameter("monkey")
    (True, True, False)
    """
    return is_secret_name(name) or _SECRET_PARAMETER.search(name.lower()) is not None


def handshake(scheme: Verify, headers: Mapping[str, str], payload: Any) -> dict[str, str] | None:
    """Return the answer to a provider that only tries the address out, None for a delivery.

    Source: Slack, "url_verification"; GitHub, "Webhook events and payloads", ping.
    """
    match scheme, payload:
        case Verify.SLACK, {"type": "url_verification", "challenge": str(challenge)}:
            return {"challenge": challenge[:MAX_CHALLENGE]}
        case Verify.GITHUB, _ if headers.get("x-github-event") == "ping":
            return {"status": "ignored", "reason": "ping"}
        case _:
            return None


def _clean(text: str) -> str:
    """Return text that can be written as UTF-8: bytes that aiohttp could not decode become U+FFFD."""
    return (
        text if text.isascii() else text.encode(errors="surrogateescape").decode(errors="replace")
    )
