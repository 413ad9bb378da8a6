"""A webhook route: what a person writes, and the rules that it comes to.

`WebhookRoute` holds the keys as they are written; `rules_of` reads them once. Every key that is wrong is told with its
name; a secret is never quoted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, TypeVar

from hive_daemon.durations import parse_duration
from hive_daemon.errors import ConfigError
from hive_daemon.runtime.webhook_filters import Filter, read_filter
from hive_daemon.runtime.webhook_payload import DELIVERY_HEADERS, KEPT_HEADERS
from hive_daemon.runtime.webhook_places import Part, Place, Template, check_header
from hive_daemon.runtime.webhook_rate import Rate
from hive_daemon.runtime.webhook_schemes import (
    Check,
    Digest,
    Encoding,
    HmacShape,
    Verify,
    key_of,
)

T = TypeVar("T")

MAX_BODY = 64 * 2**20
MOST_SECRETS = 8
MAX_SHOWN = 80
RESERVED_INPUTS = frozenset({"event"})
RESERVED = frozenset({"/livez", "/readyz", "/metrics"})
"""Paths that the daemon answers itself."""

_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_METHOD = re.compile(r"[A-Z]+")
_SIZE = re.compile(r"([1-9][0-9]{0,11})\s*(B|KiB|MiB|KB|MB)?")
_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "KB": 10**3, "MB": 10**6}

DEDUPE: dict[Verify, tuple[Place, ...]] = {
    Verify.GITHUB: (Place(Part.HEADER, ("x-github-delivery",)),),
    Verify.GITLAB: (Place(Part.HEADER, ("idempotency-key",)),),
    Verify.SLACK: (Place(Part.PAYLOAD, ("event_id",)),),
    Verify.STRIPE: (Place(Part.PAYLOAD, ("id",)),),
    Verify.STANDARD: (Place(Part.HEADER, ("webhook-id",)), Place(Part.HEADER, ("svix-id",))),
}
"""Where each preset names its deliveries."""
_ANY_NAME = tuple(Place(Part.HEADER, (name,)) for name in DELIVERY_HEADERS)


class Respond(StrEnum):
    """When a sender is answered: once the delivery is durable, or when the executions have ended."""

    ACK = "ack"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Coalesce:
    """Which deliveries become one, how long each one is waited after, and how long the first waits at most; seconds."""

    key: Template
    window: float
    max_wait: float


@dataclass(frozen=True, slots=True)
class WebhookRoute:
    """A path that takes deliveries. `source_id` becomes the event's stream; `secret` alone asks for GitHub's signature.

    `path` is compared with what a sender sends, character by character: nothing is decoded or tidied up. Durations,
    sizes, places and filters are as written in hive.yaml (docs/webhooks.md). Raises ValueError for a key that is wrong.
    """

    source_id: str
    path: str
    methods: Sequence[str] = ("POST",)
    secret: str | None = field(default=None, repr=False)
    verify: str | None = None
    secrets: Sequence[str] = field(default=(), repr=False)
    hmac: Mapping[str, str] | None = None
    tolerance: str = "300s"
    max_body: str | int | None = None
    read_timeout: str | None = None
    rate: str | None = None
    allow_ips: Sequence[str] = ()
    headers: Sequence[str] | None = None
    filters: Sequence[Mapping[str, Any]] = ()
    input: Mapping[str, Any] = field(default_factory=dict)
    dedupe: str | None = None
    coalesce: Mapping[str, Any] | None = None
    respond: str = Respond.ACK.value
    allow_insecure: bool = False

    def __post_init__(self) -> None:
        rules_of(self)

    @property
    def scheme(self) -> Verify:
        """How senders prove who they are; `none` for anybody."""
        if self.verify is not None:
            return Verify(self.verify)
        return Verify.GITHUB if self.secret is not None or self.secrets else Verify.NONE

    @property
    def is_open(self) -> bool:
        """Whether it takes what nobody signed."""
        return self.scheme is Verify.NONE


@dataclass(frozen=True, slots=True)
class Rules:
    """A route as a request meets it. `kept` are the headers that enter the event, in lower case.

    `dedupe` are the places that may name a delivery, the first that is there does; their headers need not be kept.
    """

    methods: frozenset[str]
    check: Check
    max_body: int | None
    read_timeout: float | None
    rate: Rate | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    kept: frozenset[str]
    filters: tuple[Filter, ...]
    input: Mapping[str, Template]
    dedupe: tuple[Place, ...]
    coalesce: Coalesce | None
    respond: Respond

    def lets_in(self, address: str | None) -> bool:
        """Say whether a peer of this address may send at all."""
        if not self.networks:
            return True
        if not address:
            return False
        peer = ip_address(address.partition("%")[0])
        plain = getattr(peer, "ipv4_mapped", None) or peer
        return any(plain in network for network in self.networks)


KEYS = tuple(each.name for each in fields(WebhookRoute))
"""Every key of a route, in the order of the documentation."""


def route_of(item: Mapping[str, Any]) -> WebhookRoute:
    """Read a route as programs and agent folders write it. Raises ConfigError; unknown keys are refused."""
    if missing := [key for key in ("source_id", "path") if not item.get(key)]:
        raise ConfigError(f"a webhook route must say its {' and its '.join(missing)}")
    where = f"webhook route {item['path']}"
    if unknown := [str(key) for key in item if key not in KEYS]:
        close = get_close_matches(unknown[0].replace("-", "_").lower(), KEYS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it may hold {', '.join(KEYS)}"
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}, {hint}")
    written = {key: value for key, value in item.items() if value is not None}
    methods = written.get("methods") or ("POST",)
    if not isinstance(methods, str | Iterable):
        raise ConfigError(f"{where}: methods must be a list of texts")
    written["methods"] = (methods,) if isinstance(methods, str) else tuple(map(str, methods))
    for key in {"source_id", "path", "secret"} & set(written):
        written[key] = str(written[key])
    if not isinstance(secrets := written.get("secrets", ()), str):
        written["secrets"] = tuple(map(str, secrets))
    try:
        return WebhookRoute(**written)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def rules_of(route: WebhookRoute) -> Rules:
    """Read the keys of a route. Raises ValueError: a sentence that names the route and the key."""
    _check_path(route)
    # A mistake elsewhere is told before one of a secret: it may be the reason.
    _read(route, "verify", read_verify)
    scheme = route.scheme
    coalesce = _read(route, "coalesce", read_coalesce)
    filters = _read_each(route, "filters", read_filter)
    inputs = _read(route, "input", read_input) or {}
    named = _read(route, "dedupe", Place.read)
    preset = _ANY_NAME if route.verify is None else DEDUPE.get(scheme, _ANY_NAME)
    shape = _read(route, "hmac", read_hmac) or HmacShape()
    if route.hmac is not None and scheme is not Verify.HMAC:
        raise ValueError(f"webhook route {route.path}: hmac is for verify: hmac, not {scheme}")
    used = [place for each in filters for place in each.places]
    used += [place for each in inputs.values() for place in each.places]
    used += coalesce.key.places if coalesce else ()
    return Rules(
        methods=_methods(route),
        check=Check(
            scheme, _keys(route, scheme), _read(route, "tolerance", read_duration) or 0, shape
        ),
        max_body=_read(route, "max_body", read_size),
        read_timeout=_read(route, "read_timeout", read_duration),
        rate=_read(route, "rate", Rate.read),
        networks=_read_each(route, "allow_ips", read_network),
        kept=_kept(route, used) - {shape.header.lower()},
        filters=filters,
        input=inputs,
        dedupe=preset if named is None else (named,),
        coalesce=coalesce,
        respond=_read(route, "respond", read_respond) or Respond.ACK,
    )


def _read(route: WebhookRoute, key: str, reader: Callable[[Any], T]) -> T | None:
    """Read one key, None if it is not written. Errors get the route, the key and the value for their subject."""
    value = getattr(route, key)
    return None if value is None else _told(route, key, value, reader)


def _read_each(route: WebhookRoute, key: str, reader: Callable[[Any], T]) -> tuple[T, ...]:
    written = getattr(route, key)
    if isinstance(written, str | Mapping) or not isinstance(written, Iterable):
        raise ValueError(f"webhook route {route.path}: {key} must be a list")
    return tuple(_told(route, f"{key}[{at}]", each, reader) for at, each in enumerate(written))


def _told(route: WebhookRoute, subject: str, value: object, reader: Callable[[Any], T]) -> T:
    try:
        return reader(value)
    except ValueError as error:
        shown = repr(value)[:MAX_SHOWN]
        raise ValueError(f"webhook route {route.path}: {subject}: {shown} {error}") from None


# --- single keys: each raises ValueError with the predicate of a sentence -----------------------


def read_duration(text: object) -> float:
    """Read `300s` as seconds, more than none."""
    if not isinstance(text, str):
        raise ValueError("has no unit, write for example 30s, 5m or 1h30m")
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise ValueError("is no duration, write for example 30s, 5m or 1h30m") from None
    if seconds <= 0:
        raise ValueError("is no time at all, write for example 30s")
    return seconds


def read_size(size: object) -> int:
    """Read `512KiB`, `1MiB` or a number of bytes, at most 64 MiB."""
    match = _SIZE.fullmatch(str(size)) if isinstance(size, int | str) else None
    if match is None or isinstance(size, bool):
        raise ValueError("is no size, write for example 512KiB or 1MiB")
    if (read := int(match[1]) * _UNITS[match[2] or ""]) > MAX_BODY:
        raise ValueError(f"is too large, the most is {MAX_BODY // 2**20}MiB")
    return read


def read_network(text: object) -> IPv4Network | IPv6Network:
    """Read an address or a network, `192.0.2.7` or `192.0.2.0/24`."""
    try:
        return ip_network(str(text), strict=False)
    except ValueError:
        raise ValueError("is no address or network, as in 192.0.2.0/24") from None


def read_header(name: object) -> str:
    """Read the name of a header that enters the event; those that carry credentials are refused."""
    if not isinstance(name, str):
        raise ValueError("is no name of a header")
    check_header(name)
    return name.lower()


def read_input(written: object) -> dict[str, Template]:
    """Read what a delivery puts into the input of its executions: templates by key."""
    if not isinstance(written, Mapping):
        raise ValueError("must be a mapping of keys to values")
    if taken := RESERVED_INPUTS & set(written):
        raise ValueError(f"may not set {min(taken)!r}, the whole delivery stands there")
    return {str(key): Template.read(value) for key, value in written.items()}


def read_coalesce(written: object) -> Coalesce:
    """Read `{key, window, max_wait}`."""
    values = _mapping(written, ("key", "window", "max_wait"), required=("key", "window"))
    key = values["key"]
    if not isinstance(key, str):
        raise ValueError("needs a place as its key, as in $.pull_request.number")
    template = Template.read(key) if "{" in key else Template((Place.read(key),))
    window = read_duration(values["window"])
    max_wait = read_duration(values["max_wait"]) if "max_wait" in values else 10 * window
    if max_wait < window:
        raise ValueError("has a max_wait that is shorter than its window")
    return Coalesce(template, window, max_wait)


def read_hmac(written: object) -> HmacShape:
    """Read `{header, digest, encoding, prefix}`."""
    names = tuple(each.name for each in fields(HmacShape))
    values = _mapping(written, names)
    if not all(isinstance(value, str) for value in values.values()):
        raise ValueError("must hold texts")
    try:
        return HmacShape(
            header=values.get("header", HmacShape().header),
            digest=Digest(values.get("digest", "sha256")),
            encoding=Encoding(values.get("encoding", "hex")),
            prefix=values.get("prefix", ""),
        )
    except ValueError as error:
        raise ValueError(f"is not known: {error}") from None


def _mapping(
    written: object, known: Sequence[str], required: Sequence[str] = ()
) -> Mapping[str, Any]:
    if not isinstance(written, Mapping):
        raise ValueError(f"must be a mapping of {', '.join(known)}")
    if unknown := [str(key) for key in written if key not in known]:
        close = get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it may hold {', '.join(known)}"
        raise ValueError(f"has the unknown key {unknown[0]!r}, {hint}")
    if missing := [key for key in required if written.get(key) is None]:
        raise ValueError(f"needs {' and '.join(missing)}")
    return {key: value for key, value in written.items() if value is not None}


def read_respond(text: object) -> Respond:
    """Read when a sender is answered."""
    if text not in set(Respond):
        raise ValueError("is unknown, write ack or wait")
    return Respond(str(text))


def read_verify(verify: object) -> Verify:
    """Read the name of a scheme."""
    if verify not in set(Verify):
        close = get_close_matches(str(verify).lower(), list(Verify), n=1)
        hint = f"did you mean {close[0]}?" if close else f"write one of {', '.join(Verify)}"
        raise ValueError(f"is unknown, {hint}")
    return Verify(str(verify))


def _check_path(route: WebhookRoute) -> None:
    if route.path in RESERVED:
        raise ValueError(f"webhook path {route.path!r} is Hive's own, choose another one")
    if not _PATH.fullmatch(route.path):
        raise ValueError(
            f"webhook path {route.path!r} must begin with '/' and hold only what stands for itself in a URL"
        )


def _methods(route: WebhookRoute) -> frozenset[str]:
    if isinstance(route.methods, str) or not route.methods:
        raise ValueError(f"webhook route {route.path}: methods must be a list, as in ['POST']")
    if not all(_METHOD.fullmatch(method.upper()) for method in route.methods):
        raise ValueError(f"webhook route {route.path}: {list(route.methods)} are no HTTP methods")
    return frozenset(method.upper() for method in route.methods)


def _keys(route: WebhookRoute, scheme: Verify) -> tuple[bytes, ...]:
    where = f"webhook route {route.path}"
    if isinstance(route.secrets, str):
        raise ValueError(f"{where}: secrets must be a list, use secret for a single one")
    if route.secret is not None and route.secrets:
        raise ValueError(f"{where}: write secret or secrets, not both")
    given = list(route.secrets) if route.secret is None else [route.secret]
    if len(given) > MOST_SECRETS:
        raise ValueError(f"{where}: secrets may hold {MOST_SECRETS} at most")
    if not all(each.strip() for each in given):
        raise ValueError(
            f"{where}: the secret is empty; set one, or leave it out for an open route"
        )
    if bool(given) == (scheme is Verify.NONE):
        wants = "takes no secret" if given else "needs a secret or secrets"
        raise ValueError(f"{where}: verify: {scheme} {wants}")
    try:
        return tuple(key_of(scheme, each) for each in given)
    except ValueError as error:
        raise ValueError(f"{where}: the secret {error}") from None


def _kept(route: WebhookRoute, used: Sequence[Place]) -> frozenset[str]:
    """Return the headers that enter the event; a list that is written must hold those that other keys use."""
    needed = {place.steps[0] for place in used if place.part is Part.HEADER}
    if route.headers is None:
        return KEPT_HEADERS | needed
    kept = frozenset(_read_each(route, "headers", read_header))
    if missing := sorted(needed - kept):
        raise ValueError(
            f"webhook route {route.path}: headers must hold {missing[0]}, another key of the route uses it"
        )
    return kept
