"""From a request to a delivery: which of its headers enter the event, and what names it. Pure.

Law: only the headers that a route keeps, and those that name its deliveries, are looked at; of these only the kept
ones enter the event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hive_daemon.runtime.webhook_delivery import Delivery, Door, event_of, inputs_of, name_of
from hive_daemon.runtime.webhook_payload import kept_headers, query_of
from hive_daemon.runtime.webhook_places import Part


@dataclass(frozen=True, slots=True)
class Sent:
    """A request without its body. `query` is what stands behind the question mark."""

    method: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: str = field(default="", repr=False)


def delivery_read(door: Door, sent: Sent, payload: Any, body_hash: str) -> Delivery:
    """Return the delivery that a request to a door is."""
    rules = door.rules
    naming = {place.steps[0] for place in rules.dedupe if place.part is Part.HEADER}
    seen = kept_headers(sent.headers, rules.kept | naming)
    data: dict[str, Any] = {
        "path": door.route.path,
        "method": sent.method,
        "headers": {name: value for name, value in seen.items() if name in rules.kept},
        "payload": payload,
        "query_params": query_of(sent.query),
    }
    name = name_of(rules.dedupe, {**data, "headers": seen})
    return Delivery(event_of(door.route.source_id, data), name, body_hash, inputs_of(rules, data))


def headers_as_sent(headers: Iterable[tuple[str, str]]) -> dict[str, list[bytes]]:
    """Return headers by lower-case name with the bytes that came: they were decoded on the way."""
    found: dict[str, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.encode(errors="surrogateescape"))
    return found
